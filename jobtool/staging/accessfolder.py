"""The folder ``access`` beside a catalog's records: reading and adding access records."""

from __future__ import annotations

import getpass
import os
import secrets
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from tempfile import TemporaryDirectory

import msgspec

from jobtool.catalog.folder import CatalogFolder, files_in
from jobtool.errors import CatalogError
from jobtool.jobs.records import Receipt
from jobtool.jobs.table import read_table
from jobtool.md5 import hasher_for, md5_of
from jobtool.names import quote
from jobtool.packages.storefile import read_range
from jobtool.staging.accessrecord import MAX_RECORD_BYTES, AccessRecord, decode, encode, in_utc
from jobtool.stores.location import join
from jobtool.stores.registry import StoreRegistry
from jobtool.stores.store import READ_BYTES, Entry, entry_of
from jobtool.stores.storetype import Role
from jobtool.transfer.parallel import in_parallel

ACCESS = "access"
_SUFFIX = ".json"
_TABLE_SUFFIX = ".receipts.parquet"
_THREADS = 16


def _now() -> datetime:
    return datetime.now(UTC)


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks, and at which host."""

    who: str
    host: str


def this_person() -> Person:
    """Return the user of this process."""
    try:
        who = getpass.getuser()
    except (OSError, KeyError):
        who = "unknown"
    return Person(who=who, host=socket.gethostname())


def new_id() -> str:
    """Return an ID that no other record has."""
    return secrets.token_hex(8)


class AccessFolder:
    """The access records of a catalog. Contacts nothing yet. Raises as ``CatalogFolder``."""

    def __init__(
        self,
        folder: CatalogFolder,
        stores: StoreRegistry,
        *,
        role: Role = "source",
        clock: Callable[[], datetime] = _now,
    ) -> None:
        self.folder = folder
        self.url = join(folder.url, ACCESS)
        self._store = stores.open(self.url, role, owner=f"access records {self.url}")
        self._clock = clock

    def now(self) -> datetime:
        """Return the time by the clock, in UTC and whole seconds."""
        return in_utc(self._clock())

    def entries(self) -> list[Entry]:
        """Return the files of records, by name."""
        found = self.folder.retry.call(lambda: files_in(self._store))
        return [
            entry
            for entry in found
            if entry.path.endswith(_SUFFIX) and not entry.path.startswith(".")
        ]

    def announced(self) -> dict[str, Entry]:
        """Return the files of announced deletions, by name. Only lists."""
        return {entry.path: entry for entry in self.entries() if "-freeing-" in entry.path}

    def read(self, entries: Iterable[Entry]) -> list[AccessRecord]:
        """Return the records of some files. Raises ``CatalogError`` for one that isn't one."""
        return list(in_parallel(self._read, entries, threads=_THREADS))

    def records(self) -> list[AccessRecord]:
        """Return all records. Raises ``CatalogError`` for a file that isn't one."""
        return self.read(self.entries())

    def add(self, record: AccessRecord) -> None:
        """Write a record, proven and durable, unless it is there. Raises the errors of writing.

        A worker that does its job again records the same arrival.
        """
        kind = type(record).__struct_config__.tag
        name = f"{record.at:%Y%m%dT%H%M%SZ}-{kind}-{record.id}{_SUFFIX}"
        stat = partial(self._store.stat, name, file_only=True)
        if isinstance(self.folder.retry.call(stat), Entry):
            return
        data = encode(record)
        self.folder.publish(self._store, name, lambda: [data], md5_of(data))

    def add_table(self, record_id: str, path: str) -> str:
        """Store the table of receipts of a record, unless it is there; return its name here."""
        name = record_id + _TABLE_SUFFIX
        if isinstance(self._store.stat(name, file_only=True), Entry):
            return name

        def chunks() -> Iterator[bytes]:
            with open(path, "rb") as file:
                while data := file.read(READ_BYTES):
                    yield data

        self.folder.publish(self._store, name, chunks, file_md5(path))
        return name

    def receipts(self, name: str) -> Iterator[Receipt]:
        """Yield the receipts of a stored table. Raises ``CatalogError`` if there is none."""
        if "/" in name or not name.endswith(_TABLE_SUFFIX) or name.startswith("."):
            raise CatalogError(
                f"{quote(self.url)}: expected the name of a table of receipts; found {quote(name)}"
            )
        entry = self.folder.retry.call(lambda: entry_of(self._store, name))
        with TemporaryDirectory(prefix="jobtool-staging-") as temporary:
            path = f"{temporary}/receipts.parquet"
            with open(path, "wb") as file:
                for offset in range(0, entry.size, READ_BYTES):
                    length = min(READ_BYTES, entry.size - offset)
                    file.write(read_range(self._store, entry, offset, length, self.folder.retry))
            yield from read_table(path)

    def url_of(self, name: str) -> str:
        """Return the path or URL of a file here."""
        return self._store.url_of(name)

    def _read(self, entry: Entry) -> AccessRecord:
        where = self._store.url_of(entry.path)
        if entry.size > MAX_RECORD_BYTES:
            raise CatalogError(
                f"{quote(where)}: expected an access record of at most {MAX_RECORD_BYTES} bytes; "
                f"found {entry.size}. Find out who wrote it, and move it away."
            )
        data = read_range(self._store, entry, 0, entry.size, self.folder.retry)
        return decode(data, where=where)


def file_md5(path: str) -> str:
    """Return the MD5 of a file of this machine, in hex. Raises ``OSError``."""
    digest = hasher_for(os.path.getsize(path))
    with open(path, "rb") as file:
        while data := file.read(READ_BYTES):
            digest.update(data)
    return digest.hexdigest()


def written_at(folder: AccessFolder, entries: Sequence[Entry]) -> datetime | None:
    """Return the newest time that the store itself gives for these files; None without any."""
    newest = max((entry.mtime_ns for entry in entries), default=None)
    return None if newest is None else datetime.fromtimestamp(newest / 1e9, UTC)
