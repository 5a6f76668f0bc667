"""HDFS by the NameNode's own protocol (hdfs-native)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import hdfs_native

from jobtool.errors import (
    CredentialsError,
    FileError,
    JobtoolError,
    NotFoundError,
    ServerError,
    StoreError,
    StoreSettingsError,
)
from jobtool.names import quote
from jobtool.stores.hdfs.client import Status, Usage
from jobtool.stores.hdfs.errors import ExistsError, InTheWayError, brief, judge, unreachable

T = TypeVar("T")

#: jobtool repeats what fails. By itself hdfs-native would for minutes.
_CONFIG = {
    "dfs.client.failover.max.attempts": "3",
    "dfs.client.failover.sleep.base.millis": "100",
    "dfs.client.failover.sleep.max.millis": "1000",
}

_RPC_ERROR = re.compile(r'(?:Fatal)?RPCError\("([^"]*)", "(.*)"\)', re.DOTALL)
_UNCHANGED = 2**64 - 1  # -1 of 64 bits: an access time that isn't set
_PIECE_BYTES = 1024 * 1024  # passed to hdfs-native at a time, which keeps a copy until it is sent


class NativeClient:
    """One cluster's client. ``address`` is ``HOST:PORT``, or a nameservice's name."""

    def __init__(
        self, address: str, *, replication: int | None = None, block_bytes: int | None = None
    ) -> None:
        self._root = f"hdfs://{address}"
        self._replication = replication
        self._block_bytes = block_bytes
        self._client = self._asking("", lambda: hdfs_native.Client(self._root, dict(_CONFIG)))

    def status(self, path: str) -> Status | None:
        """Return what is at a path, or None if nothing is."""
        try:
            found = self._asking(path, lambda: self._client.get_file_info(path))
        except (NotFoundError, InTheWayError):
            return None
        return _status(found)

    def list(self, path: str) -> Iterator[Status]:
        """Yield what is in a folder, a page at a time."""
        pages = self._asking(path, lambda: iter(self._client.list_status(path)))
        while True:
            found = self._asking(path, lambda: next(pages, None))
            if found is None:
                return
            yield _status(found)

    def read(self, path: str, offset: int, length: int) -> bytes | None:
        """Return bytes of a file; None if it is shorter. hdfs-native checks their checksums."""
        reader = self._asking(path, lambda: self._client.read(path))
        if offset + length > len(reader):
            return None
        return self._asking(path, lambda: reader.read_range(offset, length), is_data=True)

    def create(
        self, path: str, chunks: Iterable[bytes | memoryview], *, mode: int, parents: bool
    ) -> None:
        """Write a file and replace the one that is there."""
        options = hdfs_native.WriteOptions(
            overwrite=True,
            create_parent=parents,
            permission=mode,
            replication=self._replication,
            block_size=self._block_bytes,
        )
        writer = self._asking(path, lambda: self._client.create(path, options))
        for chunk in chunks:
            for at in range(0, len(chunk), _PIECE_BYTES):
                piece = bytes(memoryview(chunk)[at : at + _PIECE_BYTES])
                self._asking(path, lambda piece=piece: writer.write(piece), is_data=True)  # type: ignore[misc]
        self._asking(path, writer.close, is_data=True)

    def rename(self, path: str, target: str, *, replace: bool) -> None:
        """Rename a file in one step."""
        self._asking(target, lambda: self._client.rename(path, target, replace))

    def set_time(self, path: str, mtime_ms: int) -> None:
        """Set a file's time, 1970 or later."""
        self._asking(path, lambda: self._client.set_times(path, mtime_ms, _UNCHANGED))

    def set_mode(self, path: str, mode: int) -> None:
        """Set a file's permissions."""
        self._asking(path, lambda: self._client.set_permission(path, mode))

    def delete(self, path: str, *, recursive: bool = False) -> None:
        """Remove a file or folder, if it is there."""
        self._asking(path, lambda: self._client.delete(path, recursive))

    def usage(self, path: str) -> Usage:
        """Return a folder's own quotas, and how much of them is used."""
        found = self._asking(path, lambda: self._client.get_content_summary(path))
        return Usage(
            names=found.file_count + found.directory_count,
            names_quota=_signed(found.quota),
            space_bytes=found.space_consumed,
            space_quota_bytes=_signed(found.space_quota),
        )

    def make_folder(self, path: str) -> None:
        """Make a folder and those above it."""
        self._asking(path, lambda: self._client.mkdirs(path, 0o755, True))

    def _asking(self, path: str, call: Callable[[], T], *, is_data: bool = False) -> T:
        try:
            return call()
        except JobtoolError:
            raise
        except Exception as error:
            raise self._judge(error, path, is_data=is_data) from None
        except BaseException as error:
            if type(error).__name__ != "PanicException":  # that of Rust isn't an Exception
                raise
            raise StoreError(f"{quote(self._root + path)}: hdfs-native fails: {error}") from None

    def _judge(self, error: Exception, path: str, *, is_data: bool) -> JobtoolError:
        url, text = self._root + path, str(error)
        told = _RPC_ERROR.fullmatch(text)
        if told is not None:
            return judge(told[1], told[2], url, self._root)
        if isinstance(error, FileNotFoundError):
            return NotFoundError(f"expected something at {quote(url)}; found nothing")
        if isinstance(error, FileExistsError):
            return ExistsError(f"{quote(url)} exists already: {brief(text)}")
        if isinstance(error, UnicodeError):
            return FileError(f"{quote(url)}: names in HDFS are UTF-8, but this name isn't")
        if isinstance(error, OSError):
            if is_data:
                return ServerError(f"{quote(url)}: a DataNode fails: {brief(text)}")
            return unreachable(self._root, brief(text))
        if text.startswith(("GSSAPIError", "SASLError", "NoSASLMechanism")):
            return CredentialsError(
                f"{self._root}: Kerberos can't log in ({text.partition('(')[0]}). Is there a "
                "ticket (klist), and is libgssapi-krb5 installed?"
            )
        if "No NameNode hosts found" in text:
            return StoreSettingsError(
                f"{self._root}: expected HOST:PORT, or a nameservice of hdfs-site.xml in the "
                "folder HADOOP_CONF_DIR; found neither"
            )
        return StoreError(f"{quote(url)}: {brief(text)}")


def _signed(number: int) -> int:
    """Return a number that hdfs-native takes for one without a sign."""
    return number - 2**64 if number >= 2**63 else number


def _status(found: hdfs_native.FileStatus) -> Status:
    return Status(
        name=found.path.rpartition("/")[2],
        size=found.length,
        mtime_ms=found.modification_time,
        is_folder=found.isdir,
        mode=found.permission & 0o777,
        block_bytes=found.blocksize or 0,
    )
