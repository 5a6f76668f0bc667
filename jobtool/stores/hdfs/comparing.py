"""Files of HDFS compared by the checksums that their clusters keep: no byte is read.

Two files of one size have the same bytes if both clusters return the same checksum of them, of the
same algorithm. First WebHDFS is asked, for the MD5 of MD5s of CRCs. It differs for the same bytes,
too, if blocks or the pieces under a CRC have other sizes. Then the composite CRC decides, which is
that of the whole file.

Nothing is remembered: both sides are asked anew for each comparison. They are looked at before and
after it. Encrypted files aren't compared, since HDFS's checksums are those of the encrypted bytes.

A wrong ``webhdfs_url`` must not prove anything: with that of the source's cluster on both sides,
each file would be compared with itself. So WebHDFS must say the same of a file as the store's own
client, and the two files must be two.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterable
from typing import Literal, TypeVar

import google_crc32c

from jobtool.errors import FileError, InfrastructureError, ServerError
from jobtool.stores.hdfs.client import Checksummed, Client, Extras, Status
from jobtool.stores.hdfs.composites import COMPOSITE_BYTES, Composites
from jobtool.stores.hdfs.sums import CRC_BYTES, BlockSums, is_checksum_of
from jobtool.stores.store import Entry, VerifiedBy

#: Two smaller files are read in less time than asking for two checksums takes, and reading them
#: shows their MD5.
COMPARED_BYTES = 4 * 1024 * 1024

#: After so many failures in a row to answer a kind of question, clusters aren't asked it again.
_MOST_FAILURES = 3

_COMPOSITE = re.compile(r"COMPOSITE-CRC32C?")
_MD5_OF_CRCS = re.compile(r"MD5-of-\d+MD5-of-\d+CRC32C?")
_COMPUTED = re.compile(r"MD5-of-(\d{1,15})MD5-of-512CRC32C")

_ONE_BLOCK = 2**62  # the algorithm names no size if a file has one block

T = TypeVar("T")

Compared = Checksummed | Literal["different"] | None


class Cluster:
    """What one cluster says of its files, as one store sees it.

    ``client`` reads and writes its files, ``extras`` is its WebHDFS. ``composites`` returns
    composite CRCs of ``root`` and a path, if ``root`` is a URL that Hadoop's command understands.
    """

    def __init__(
        self, client: Client, extras: Extras, root: str, composites: Composites | None
    ) -> None:
        self._client = client
        self._extras = extras
        own: object = client
        self._has_own_client = own is not extras
        self._root = root
        self._composites = composites
        self._failures: dict[str, int] = {}  # in a row, by the question

    def holds_same(
        self,
        path: str,
        source: Cluster,
        source_path: str,
        entry: Entry,
        require_going: Callable[[], None],
    ) -> Compared:
        """Compare a file with one of a source, whose ``entry`` says what it was when listed.

        Returns the checksum that both have, or ``"different"`` if their bytes differ for certain.
        None if the answers don't tell. Raises only what ``require_going`` raises.
        """
        is_one_server = not {*self._extras.servers}.isdisjoint(source._extras.servers)
        if entry.size < COMPARED_BYTES or (is_one_server and self._root != source._root):
            return None

        def look() -> tuple[Status | None, Status | None]:
            return self._looked(path), source._looked(source_path)

        before = self._asked("status", look)
        if before is None or not _are_comparable(*before, entry):
            return None
        require_going()
        found = self._asked(
            "checksum",
            lambda: _judged(self.checksum(path), source.checksum(source_path)),
        )
        if found is None and entry.size >= COMPOSITE_BYTES:
            found = self._by_composites(path, source, source_path, require_going)
        return found if found is not None and self._asked("status", look) == before else None

    def _looked(self, path: str) -> Status | None:
        """Return what WebHDFS says of a file; None if the store's own client sees another."""
        found = self._extras.status(path)
        if found is None or not self._has_own_client:
            return found
        own = self._client.status(path)
        is_same = own is not None and (own.size, own.mtime_ms) == (found.size, found.mtime_ms)
        return found if is_same else None

    def checksum(self, path: str) -> Checksummed:
        """Return what WebHDFS says now of a file. Raises the errors of ``hdfs.errors``."""
        return self._extras.checksum(path)

    def _asked(self, what: str, ask: Callable[[], T]) -> T | None:
        """Return the clusters' answer; None if there is none, or was none too often in a row."""
        if self._failures.get(what, 0) >= _MOST_FAILURES:
            return None
        try:
            found = ask()
        except (FileError, InfrastructureError) as error:
            if isinstance(error, InfrastructureError | ServerError):
                self._failures[what] = self._failures.get(what, 0) + 1
            return None
        self._failures[what] = 0
        return found

    def _by_composites(
        self, path: str, source: Cluster, source_path: str, require_going: Callable[[], None]
    ) -> Compared:
        if self._composites is None or source._composites is None:
            return None
        urls = [self._root + path, source._root + source_path]
        ours, theirs = self._composites.of(urls, require_going)
        return None if ours is None or theirs is None else _judged(ours, theirs)


def verified_by(checksum: Checksummed) -> VerifiedBy:
    """Return how a file is proven that has the same checksum as its source."""
    is_composite = _COMPOSITE.fullmatch(checksum.algorithm)
    return "hdfs-composite-crc" if is_composite else "same-hdfs-checksum"


def text_of(checksum: Checksummed) -> str:
    """Return a checksum as receipts have it."""
    return f"{checksum.algorithm}:{checksum.value}"


def is_still(
    recorded: str, chunks: Iterable[bytes], ask: Callable[[], Checksummed] | None
) -> bool | None:
    """Return whether a file has the checksum that its receipt has; None if that can't be told.

    True only if it is that of ``chunks``, all the file's bytes. For an MD5 of CRCs that assumes
    blocks of one size. If it isn't the computed one, or can't be computed, ``ask`` returns what
    WebHDFS says: False if that is another one.
    """
    algorithm, _, value = recorded.partition(":")
    if _COMPOSITE.fullmatch(algorithm):
        extend = google_crc32c.extend if algorithm.endswith("C") else _extend_crc32
        crc = 0
        for data in chunks:
            crc = extend(crc, data)
        return value == f"{crc:08x}"
    match = _COMPUTED.fullmatch(algorithm)
    sums = BlockSums(int(match[1]) * CRC_BYTES or _ONE_BLOCK) if match else None
    for data in chunks:
        if sums is not None:
            sums.update(data)
    if sums is not None and is_checksum_of(Checksummed(algorithm, value), sums.blocks()):
        return True
    try:
        found = None if ask is None else ask()
    except (FileError, InfrastructureError):
        return None
    return False if found and found.algorithm == algorithm and found.value != value else None


def _extend_crc32(crc: int, data: bytes) -> int:
    return zlib.crc32(data, crc)


def _are_comparable(ours: Status | None, theirs: Status | None, entry: Entry) -> bool:
    """Return whether both are plain files of the entry's size, and the source is as listed."""
    if ours is None or theirs is None or theirs.mtime_ms * 1_000_000 != entry.mtime_ns:
        return False
    if ours.number == theirs.number:  # one file by two names, or, rarely, two of two clusters
        return False
    return all(
        status.size == entry.size and not status.is_folder and not status.is_encrypted
        for status in (ours, theirs)
    )


def _judged(ours: Checksummed, theirs: Checksummed) -> Compared:
    """Return what two checksums say.

    Unequal MD5s of CRCs say nothing: joined files have blocks of several sizes.
    """
    if ours.algorithm != theirs.algorithm:
        return None
    is_composite = _COMPOSITE.fullmatch(ours.algorithm) is not None
    is_md5 = _MD5_OF_CRCS.fullmatch(ours.algorithm) is not None
    digits = 8 if is_composite else 32
    if not (is_composite or is_md5) or {len(ours.value), len(theirs.value)} != {digits}:
        return None
    if ours.value == theirs.value:
        return ours
    return "different" if is_composite else None
