"""A store in one file: the rows of a SQLite database are files, ``sqlite://NAME/PATH``."""

import os
import secrets
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from typing import Literal

import msgspec

from jobtool import errors
from jobtool.stores import store as api
from jobtool.stores.location import Location
from jobtool.stores.store import Attributes, Child, Content, Entry, check_path
from jobtool.stores.storetype import Opening, StoreType

_TABLES = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
CREATE TABLE IF NOT EXISTS files (path BLOB PRIMARY KEY, size INTEGER, mtime_ns INTEGER, id TEXT);
CREATE TABLE IF NOT EXISTS pieces (id TEXT, start INTEGER, data BLOB, PRIMARY KEY (id, start));
"""
_REPLACED = "DELETE FROM pieces WHERE id IN (SELECT id FROM files WHERE path = ?)"
_PIECES = "SELECT start, data FROM pieces WHERE id = ? AND start < ? AND start + length(data) > ?"


class SqliteStore:
    """The files of a database whose paths begin with ``prefix``."""

    capabilities = api.Capabilities(keeps=frozenset({"times"}))

    def __init__(self, database: str, url: str, prefix: str) -> None:
        self.url, self._database, self._prefix = url, database, prefix

    def url_of(self, path: str) -> str:
        return f"{self.url}/{path}" if path else self.url

    def stat(self, path: str, *, file_only: bool = False) -> Entry | Literal["folder", "missing"]:
        with self._connected() as database:
            row = self._row(database, path)
        if row is not None:
            return Entry(path, row[1], row[2])
        return "folder" if next(self._below(path), None) else "missing"

    def children(self, path: str) -> Iterator[Child]:
        found = self.stat(path)
        if found != "folder":
            error = errors.NotFoundError if found == "missing" else errors.SourceError
            raise error(f"expected a folder at {self.url_of(path)}")
        names = {entry.path.partition("/")[:2] for entry in self._below(path)}
        yield from (Child(name, bool(slash)) for name, slash in sorted(names))

    def list(self) -> Iterator[Entry]:
        return self._below("")

    def read(self, entry: Entry, offset: int, length: int) -> Content:
        with self._connected() as database:
            row = self._row(database, entry.path)
            if row is None:
                raise errors.NotFoundError(f"expected a file at {self.url_of(entry.path)}")
            if row[1:3] != (entry.size, entry.mtime_ns):
                raise errors.SourceChangedError(f"{self.url_of(entry.path)} isn't as listed")
            found = sorted(database.execute(_PIECES, (row[3], offset + length, offset)))
        pieces = (data[max(offset - start, 0) : offset + length - start] for start, data in found)
        return Content(data=b"".join(pieces), attributes=Attributes(mtime_ns=entry.mtime_ns))

    def write(self, path: str, chunks: Iterable[bytes], attributes: Attributes) -> None:
        key, token, size = self._key(check_path(path)), secrets.token_hex(8), 0
        with self._connected() as database:
            try:
                for chunk in filter(len, chunks):
                    database.execute("INSERT INTO pieces VALUES (?, ?, ?)", (token, size, chunk))
                    size += len(chunk)
                self._publish(database, key, (key, size, attributes.mtime_ns, token))
            except BaseException:
                database.execute("DELETE FROM pieces WHERE id = ?", (token,))
                raise

    def digest(self, path: str) -> str:
        return api.digest_by_reading(self, path)

    def delete(self, path: str) -> None:
        with self._connected() as database:
            self._publish(database, self._key(check_path(path)), None)

    def sync(self) -> None:
        with self._connected() as database:
            database.execute("PRAGMA wal_checkpoint(FULL)")  # brings commits to their medium

    def _publish(self, database: sqlite3.Connection, key: bytes, row: tuple | None) -> None:
        database.execute("BEGIN IMMEDIATE")
        with database:  # commits, or rolls back
            database.execute(_REPLACED, (key,))
            database.execute("DELETE FROM files WHERE path = ?", (key,))
            if row is not None:
                database.execute("INSERT INTO files VALUES (?, ?, ?, ?)", row)

    def _key(self, path: str) -> bytes:
        return os.fsencode(f"{self._prefix}/{path}".strip("/"))

    def _row(self, database: sqlite3.Connection, path: str) -> tuple | None:
        return database.execute("SELECT * FROM files WHERE path = ?", (self._key(path),)).fetchone()

    def _below(self, path: str) -> Iterator[Entry]:
        start = (self._key(path) + b"/").lstrip(b"/")
        query = "SELECT * FROM files WHERE substr(path, 1, ?) = ? ORDER BY path"
        with self._connected() as database:
            for key, size, mtime_ns, _ in database.execute(query, (len(start), start)):
                yield Entry(os.fsdecode(key[len(start) :]), size, mtime_ns)

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self._database, timeout=60, isolation_level=None)) as made:
                made.executescript(_TABLES)
                yield made
        except sqlite3.Error as error:
            raise errors.StoreError(f"{self.url}: {error}") from None


class SqliteSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The table ``[sqlite]`` of joblist.toml: the folder that the databases are in."""

    folder: str


def _open(location: Location, opening: Opening) -> SqliteStore:
    database = os.path.join(opening.settings.folder, location.name + ".sqlite")
    return SqliteStore(database, location.url, location.path)


STORE_TYPE = StoreType(open=_open, settings=SqliteSettings)
