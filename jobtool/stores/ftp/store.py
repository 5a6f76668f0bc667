"""The store of FTP servers: MLSD for folders, MLST or SIZE and MDTM for files, REST for parts.

FTP can't pin a file. So each read is followed by a look at the file: if it has another size or time
than listed, the bytes are dropped.
"""

from __future__ import annotations

import contextlib
import ftplib
from collections.abc import Callable, Iterator, Sequence

from jobtool.errors import (
    FileError,
    NotFoundError,
    ServerError,
    SourceChangedError,
    SourceError,
)
from jobtool.names import quote
from jobtool.stores.ftp.connections import Connections, as_named, as_sent
from jobtool.stores.ftp.facts import Facts, parse_facts, time_ns
from jobtool.stores.location import unfit_reason
from jobtool.stores.sourceonly import SourceOnly
from jobtool.stores.store import (
    Attributes,
    Capabilities,
    Child,
    Content,
    Entry,
    Special,
    StatResult,
    Unlisted,
    digest_by_reading,
)
from jobtool.stores.subfolders import listed_or_not

_BLOCK_BYTES = 256 * 1024

_ADVICE = "Name its files in a table and use --layout manifest."


class FtpStore(SourceOnly):
    """What is below a folder of an FTP server. ``root`` is ``ftp://HOST`` or ``ftps://HOST``.

    Paths begin in the folder that the server puts a reader in after the login (RFC 1738, 3.2.2).
    """

    capabilities = Capabilities()

    def __init__(self, connections: Connections, root: str, path: str = "") -> None:
        self.url = f"{root}/{path}" if path else root
        self._connections = connections
        self._prefix = path

    def stat(self, path: str, *, file_only: bool = False) -> StatResult:
        """Return what is at ``path``, by MLST; by SIZE and MDTM if the server lacks that."""
        with self._connections.one(self.url_of(path)) as ftp:
            return self._look(ftp, path)

    def children(self, path: str) -> Iterator[Child | Unlisted]:
        """Yield what is directly inside ``path``, by MLSD."""
        for found in self._names(path):
            unlisted = self._unlisted(path, found)
            yield unlisted or Child(found.name, found.kind == "folder")

    def list(self) -> Iterator[Entry | Special | Unlisted]:
        """Yield every file below the root, by MLSD of each folder."""
        return self._below("")

    def list_without(self, excludes: Callable[[str], bool]) -> Iterator[Entry | Special | Unlisted]:
        """Yield everything below the root, without opening folders that are left out."""
        return self._below("", excludes)

    def read(self, entry: Entry, offset: int, length: int) -> Content:
        """Return bytes of a file by RETR, and look at the file again."""
        url = self.url_of(entry.path)
        with self._connections.one(url) as ftp:
            data = self._retrieve(ftp, entry, offset, length)
            now = self._look(ftp, entry.path)
        if not isinstance(now, Entry):
            raise NotFoundError(f"expected a file at {quote(url)}; found none any more")
        if (now.size, now.mtime_ns) != (entry.size, entry.mtime_ns):
            raise SourceChangedError(
                f"{quote(url)} was changed meanwhile: listed with {entry.size} bytes, now "
                f"{now.size} bytes, or with another time"
            )
        if len(data) != length:
            raise ServerError(f"{quote(url)}: expected {length} bytes; received {len(data)}")
        return Content(data=memoryview(data), attributes=Attributes(mtime_ns=entry.mtime_ns))

    def digest(self, path: str) -> str:
        """Return a file's MD5, by reading it."""
        return digest_by_reading(self, path)

    def _sent(self, path: str) -> str:
        """Return the full path as a command holds it. Raises ``FileError`` for a line's end."""
        full = "/".join(filter(None, (self._prefix, path)))
        if "\r" in full or "\n" in full:
            raise FileError(
                f"{quote(self.url_of(path))}: FTP can't name a file with a newline in its name"
            )
        return as_sent(f"{self._connections.home}/{full}")

    def _look(self, ftp: ftplib.FTP, path: str) -> StatResult:
        name = self._sent(path)
        try:
            answer = ftp.sendcmd(f"MLST {name}")
        except ftplib.error_perm as error:
            if str(error)[:3] == "550":
                return "missing"
            if str(error)[:3] not in ("500", "501", "502", "504"):
                raise
            return self._look_by_size(ftp, path, name)
        lines = (as_named(line.removeprefix(" ")) for line in answer.splitlines()[1:-1])
        facts = next(filter(None, map(parse_facts, lines)), None)
        if facts is None:
            raise ServerError(f"{quote(self.url_of(path))}: the answer to MLST has no facts")
        if facts.kind in ("folder", "itself"):
            return "folder"
        if facts.kind == "other" or facts.size is None:
            raise SourceError(
                f"expected a file or folder at {quote(self.url_of(path))}; found neither"
            )
        return Entry(path, facts.size, facts.mtime_ns or 0)

    def _look_by_size(self, ftp: ftplib.FTP, path: str, name: str) -> StatResult:
        """Ask as servers without MLST can answer: a folder has no size, and can be entered."""
        try:
            size = ftp.size(name)
        except ftplib.error_perm as error:
            if str(error)[:3] != "550":
                raise
            with contextlib.suppress(ftplib.error_perm):
                ftp.cwd(name)
                ftp.cwd(as_sent(self._connections.home or "/"))
                return "folder"
            return "missing"
        modified_ns = None
        with contextlib.suppress(ftplib.error_perm):
            modified_ns = time_ns(ftp.sendcmd(f"MDTM {name}").partition(" ")[2])
        if size is None:
            raise ServerError(f"{quote(self.url_of(path))}: the answer to SIZE has no size")
        return Entry(path, size, modified_ns or 0)

    def _retrieve(self, ftp: ftplib.FTP, entry: Entry, offset: int, length: int) -> bytearray:
        """Return bytes of a file. More than ``length`` if it goes on after its listed size."""
        data = bytearray()
        if not length:
            return data
        is_to_end = offset + length == entry.size
        wanted = length + is_to_end  # one more shows the end, or that the file has grown
        transfer = ftp.transfercmd(f"RETR {self._sent(entry.path)}", rest=offset or None)
        with transfer:
            while len(data) < wanted:
                block = transfer.recv(min(_BLOCK_BYTES, wanted - len(data)))
                if not block:
                    break
                data += block
        try:
            ftp.voidresp()
        except (ftplib.error_perm, ftplib.error_temp):
            if is_to_end and len(data) == length:
                raise  # the server says that it didn't send all
        return data

    def _names(self, path: str) -> Sequence[Facts]:
        """Return what is in a folder, in byte order of its names."""
        url = self.url_of(path)
        lines: list[bytes] = []
        with self._connections.one(url) as ftp:
            try:
                with (
                    ftp.transfercmd(f"MLSD {self._sent(path)}") as transfer,
                    transfer.makefile("rb") as file,
                ):
                    lines += file
                ftp.voidresp()
            except ftplib.error_perm as error:
                if str(error)[:3] in ("500", "502", "504"):
                    raise SourceError(
                        f"{quote(url)}: the server can't list folders exactly (it has no MLSD). "
                        f"{_ADVICE}"
                    ) from None
                if str(error)[:3] in ("501", "550") and isinstance(self._look(ftp, path), Entry):
                    raise SourceError(f"expected a folder at {quote(url)}; found a file") from None
                if str(error)[:3] == "501":
                    raise NotFoundError(f"expected a folder at {quote(url)}; found none") from None
                raise
        found = []
        for line in lines:
            facts = parse_facts(line.rstrip(b"\r\n").decode("utf-8", "surrogateescape"))
            if facts is None:
                raise SourceError(
                    f"{quote(url)}: its listing has a line that isn't an entry, so a name in it "
                    f"may have a newline. {_ADVICE}"
                )
            if facts.kind != "itself":
                found.append(facts)
        return sorted(found, key=lambda facts: _bytes(facts.name))

    def _below(
        self, path: str, excludes: Callable[[str], bool] | None = None
    ) -> Iterator[Entry | Special | Unlisted]:
        found = self._names(path)
        if not found and path:
            yield Special(path, "empty-folder")
        for facts in sorted(found, key=lambda facts: _bytes(facts.name, facts.kind == "folder")):
            full = _join(path, facts.name)
            unlisted = self._unlisted(path, facts)
            if unlisted is not None:
                yield unlisted
            elif facts.kind == "file":
                assert facts.size is not None, "it would be unlisted"
                yield Entry(full, facts.size, facts.mtime_ns or 0)
            elif excludes is not None and excludes(full):
                yield Special(full, "excluded-folder")
            else:
                yield from listed_or_not(full, self._below(full, excludes))

    def _unlisted(self, path: str, facts: Facts) -> Unlisted | None:
        full = _join(path, facts.name)
        where = quote(self.url_of(full))
        reason = "a slash" if "/" in facts.name else unfit_reason(facts.name)
        if reason is not None:
            why = f"expected a name that can be transferred; found {reason}"
        elif facts.kind == "other" or (facts.kind == "file" and facts.size is None):
            why = "expected a file with a size, or a folder; found neither"
        else:
            return None
        return Unlisted(full, SourceError(f"{where}: {why}"), is_folder=facts.kind == "folder")


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _bytes(name: str, is_folder: bool = False) -> bytes:
    return (name + "/" * is_folder).encode("utf-8", "surrogateescape")
