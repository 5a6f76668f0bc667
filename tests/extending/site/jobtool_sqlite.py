"""A store in one file: the rows of a SQLite database are files, ``sqlite://NAME/PATH``."""

import os
import secrets
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing

import msgspec

from jobtool.errors import NotFoundError, SourceChangedError, StoreError
from jobtool.stores import store as api
from jobtool.stores.location import Location
from jobtool.stores.storetype import Opening, StoreType

_TABLES = """
PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;
PRAGMA recursive_triggers = ON;  -- so that REPLACE sets off the trigger
CREATE TABLE IF NOT EXISTS files (path BLOB PRIMARY KEY, size INTEGER, mtime_ns INTEGER, id TEXT);
CREATE TABLE IF NOT EXISTS pieces (id TEXT, start INTEGER, data BLOB, PRIMARY KEY (id, start));
CREATE TRIGGER IF NOT EXISTS gone AFTER DELETE ON files
BEGIN DELETE FROM pieces WHERE id = old.id; END;
"""
_READ = """
SELECT size, mtime_ns, start, data FROM files LEFT JOIN pieces
ON pieces.id = files.id AND start < ? AND start + length(data) > ? WHERE path = ? ORDER BY start
"""
_CONNECTION = {"timeout": 60, "isolation_level": None, "check_same_thread": False}
_BELOW = "SELECT * FROM files WHERE substr(path, 1, ?) = ? ORDER BY path"


class SqliteStore:
    """The files of a database whose paths begin with ``prefix``."""

    capabilities = api.Capabilities(keeps=frozenset({"times"}))

    def __init__(self, database: str, url: str, prefix: str) -> None:
        self.url, self._database, self._prefix = url, database, prefix

    def url_of(self, path: str) -> str:
        return f"{self.url}/{path}" if path else self.url

    def stat(self, path: str, *, file_only: bool = False) -> api.StatResult:
        for row in self._run("SELECT size, mtime_ns FROM files WHERE path = ?", self._key(path)):
            return api.Entry(path, *row)
        return "folder" if next(self._below(path), None) else "missing"

    def children(self, path: str) -> Iterator[api.Child]:
        if self.stat(path) != "folder":
            raise NotFoundError(f"expected a folder at {self.url_of(path)}; found none")
        names = {entry.path.partition("/")[:2] for entry in self._below(path)}
        yield from (api.Child(name, bool(slash)) for name, slash in sorted(names))

    def list(self) -> Iterator[api.Entry]:
        return self._below("")

    def read(self, entry: api.Entry, offset: int, length: int) -> api.Content:
        end = offset + length
        rows = self._run(_READ, end, offset, self._key(entry.path))
        if not rows:
            raise NotFoundError(f"expected a file at {self.url_of(entry.path)}; found none")
        if rows[0][:2] != (entry.size, entry.mtime_ns):
            raise SourceChangedError(f"{self.url_of(entry.path)} isn't as listed")
        parts = (data[max(offset - at, 0) : end - at] for _, _, at, data in rows if data)
        return api.Content(data=b"".join(parts), attributes=api.Attributes(mtime_ns=entry.mtime_ns))

    def write(self, path: str, chunks: Iterable[bytes], attributes: api.Attributes) -> None:
        key, token, size = self._key(api.check_path(path)), secrets.token_hex(8), 0
        try:
            for chunk in filter(len, chunks):
                self._run("INSERT INTO pieces VALUES (?,?,?)", token, size, chunk)
                size += len(chunk)
            self._run("REPLACE INTO files VALUES (?,?,?,?)", key, size, attributes.mtime_ns, token)
        except BaseException:
            self._run("DELETE FROM pieces WHERE id = ? AND id NOT IN (SELECT id FROM files)", token)
            raise

    def digest(self, path: str) -> str:
        return api.digest_by_reading(self, path)

    def delete(self, path: str) -> None:
        self._run("DELETE FROM files WHERE path = ?", self._key(api.check_path(path)))

    def sync(self) -> None:
        self._run("PRAGMA wal_checkpoint(FULL)")  # brings commits to their medium

    def _key(self, path: str) -> bytes:
        return os.fsencode(f"{self._prefix}/{path}".strip("/"))

    def _below(self, path: str) -> Iterator[api.Entry]:
        start = (self._key(path) + b"/").lstrip(b"/")
        for key, size, mtime_ns, _ in self._rows(_BELOW, len(start), start):
            yield api.Entry(os.fsdecode(key[len(start) :]), size, mtime_ns)

    def _run(self, statement: str, *values: object) -> tuple[tuple, ...]:
        return tuple(self._rows(statement, *values))

    def _rows(self, statement: str, *values: object) -> Iterator[tuple]:
        """Yield the rows of a statement, a transaction of its own. Any thread may go on."""
        try:
            with closing(sqlite3.connect(self._database, **_CONNECTION)) as made:
                made.executescript(_TABLES)
                yield from made.execute(statement, values)
        except sqlite3.Error as error:
            raise StoreError(f"{self.url}: {error}") from None


class SqliteSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The table ``[sqlite]`` of joblist.toml: the folder that the databases are in."""

    folder: str


def _open(location: Location, opening: Opening) -> SqliteStore:
    database = os.path.join(opening.settings.folder, location.name + ".sqlite")
    return SqliteStore(database, location.url, location.path)


STORE_TYPE = StoreType(open=_open, settings=SqliteSettings)
