"""Digests of a source file, read before sending it or to compare it with the destination."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

import msgspec
from msgspec.structs import replace

from jobtool.errors import (
    ClaimLostError,
    DamagedSourceError,
    SourceChangedError,
    SourceDigestError,
    StoppedError,
)
from jobtool.md5 import md5_of
from jobtool.names import quote
from jobtool.stop import Stop
from jobtool.stores.optional import KnowsMd5s, supports
from jobtool.stores.store import Attributes, Content, Entry
from jobtool.transfer.capacity import Capacity
from jobtool.transfer.ledger.digests import KnownDigests
from jobtool.transfer.ledger.uploadlog import UploadLog
from jobtool.transfer.partranges import ranges
from jobtool.transfer.plan import Item
from jobtool.transfer.throttle import Throttle


class Digests(msgspec.Struct, frozen=True, kw_only=True):
    """The MD5 of the ``whole`` file in hex, the MD5s of its ``parts``, and its ``attributes``."""

    whole: str
    parts: KnownDigests
    attributes: Attributes


def read_digests(
    item: Item, part_size: int, capacity: Capacity, stop: Stop, log: UploadLog
) -> Digests:
    """Read a file once for the digests of the whole and of its parts.

    Parts that earlier tries and attempts have read aren't read again. Raises the errors of the
    source's store, ``DamagedSourceError``, and ``StoppedError`` between two parts.
    """
    size = item.entry.size
    known = log.digests(part_size) if size > part_size else fresh_digests(item, part_size)
    # What is read from a folder, only to be hashed, isn't moved anywhere.
    is_moved = not item.route.source.capabilities.cheap_reads
    paced = Paced(capacity.throttle, item, stop) if is_moved else None
    attributes = None
    try:
        for number, offset, length in islice(ranges(size, part_size), len(known), None):
            require_going(stop, item)
            with capacity.budget.holding(length):
                content = read_part(item, known, offset, length, paced)
                attributes = attributes or content.attributes
                add_part(known, number, content.data, capacity)
            if known.is_worth_noting:
                log.hashed(known)
        attributes = attributes or read_attributes(item, known)
    except SourceChangedError:
        log.forget_digests()
        raise
    finally:
        if size > part_size:
            log.hashed(known)
    assert known.whole is not None, "the file was read to its end"
    try:
        require_known(item, known.whole)
    except DamagedSourceError:
        log.forget_digests()
        raise
    return Digests(whole=known.whole, parts=known, attributes=attributes)


class Paced:
    """Reads and requests for one file, as the limits of the worker allow.

    Their methods raise ``StoppedError`` and ``ClaimLostError`` while they wait for that.
    """

    __slots__ = ("_item", "_stop", "_throttle")

    def __init__(self, throttle: Throttle, item: Item, stop: Stop) -> None:
        self._throttle, self._item, self._stop = throttle, item, stop

    def read(self, entry: Entry, offset: int, length: int) -> Content:
        """Read from the source. Raises the store's errors."""
        source = self._item.route.source
        if not self._throttle.is_on:
            return source.read(entry, offset, length)
        return self._throttle.read(source, entry, offset, length, self._require_going)

    def request(self) -> None:
        """Wait until a request to the destination is allowed. Call it before each."""
        if self._throttle.is_on:
            self._throttle.request(self._item.route.destination, self._require_going)

    def owe_request(self) -> None:
        """Count a request that mustn't wait: the file is there, and isn't proven yet."""
        if self._throttle.is_on:
            self._throttle.owe_request(self._item.route.destination)

    def _require_going(self) -> None:
        require_held(self._stop, self._item)
        require_going(self._stop, self._item)


def read_part(
    item: Item, known: KnownDigests, offset: int, length: int, paced: Paced | None = None
) -> Content:
    """Read a part of the file whose other parts are ``known``. Raises the store's errors.

    One of them is ``SourceChangedError`` if the file has another ETag than at the first read.
    ``paced`` reads as the limits allow; without it they don't apply.
    """
    entry = item.entry if known.etag is None else replace(item.entry, etag=known.etag)
    content = (paced or item.route.source).read(entry, offset, length)
    known.pin(content.etag, content.version)
    return content


def fresh_digests(item: Item, part_size: int) -> KnownDigests:
    """Return the empty digests of a file that wasn't read yet."""
    return KnownDigests(size=item.entry.size, mtime_ns=item.entry.mtime_ns, part_size=part_size)


def add_part(known: KnownDigests, number: int, data: bytes | memoryview, capacity: Capacity) -> str:
    """Return the MD5 of a part. Hash the part if it is the next whose MD5 isn't known.

    The part and the whole are hashed at the same time.
    """
    hashing = begin_part(known, number, data, capacity)
    if number > len(known):
        known.add_to_whole(data)
        known.add(hashing())
    return hashing()


def begin_part(
    known: KnownDigests, number: int, data: bytes | memoryview, capacity: Capacity
) -> Callable[[], str]:
    """Begin to hash a part, unless its MD5 is known. Return what waits for its MD5."""
    md5 = known.md5_of(number)
    if md5 is not None:
        return lambda: md5
    if len(data) == known.size:  # the only part is the whole, which is hashed next
        return known.digest_so_far
    return capacity.hashers.submit(md5_of, data).result


def end_part(
    known: KnownDigests, number: int, data: bytes | memoryview, hashing: Callable[[], str]
) -> str:
    """Return the MD5 of a part that ``begin_part`` has begun. Then hash it into the whole.

    In this order, and written only afterwards, bytes that change in memory are noticed: what
    arrives has another MD5 than the part had.
    """
    if number <= len(known):
        return hashing()
    assert number == len(known) + 1, "a file is hashed in order"
    if len(data) < known.size:
        hashing()
    known.add_to_whole(data)
    known.add(hashing())
    return hashing()


def read_attributes(item: Item, known: KnownDigests) -> Attributes:
    """Return a file's attributes, and read as little of its data as possible."""
    return read_part(item, known, 0, min(1, item.entry.size)).attributes


def known_md5_of(item: Item) -> str | None:
    """Return the MD5 that the source knows of a file; None if it knows none."""
    source = item.route.source
    return source.known_md5(item.entry.path) if supports(source, KnowsMd5s) else None


def is_hashed_first(item: Item) -> bool:
    """Whether a file in parts is read before it is sent: its MD5 goes with the first part."""
    return (
        item.route.destination.capabilities.attributes_first
        and item.route.source.capabilities.cheap_reads
        and known_md5_of(item) is None
    )


def require_known(item: Item, found: str) -> None:
    """Raise ``DamagedSourceError`` if the source knows another MD5 than that of the data read."""
    source = item.route.source
    if supports(source, KnowsMd5s) and known_md5_of(item) not in (None, found):
        raise source.damaged(item.entry.path, found)


def require_going(stop: Stop, item: Item) -> None:
    """Raise ``StoppedError`` once ``stop`` is set."""
    if stop.is_set():
        raise StoppedError(f"stopped in the middle of {quote(item.source_url)}")


def require_held(stop: Stop, item: Item) -> None:
    """Raise ``ClaimLostError`` if another worker may have the file. Call it before each write."""
    if stop.is_lost:
        raise ClaimLostError(f"{quote(item.destination_url)} was left to others: {stop.reason}")


def require_recorded(item: Item, *, recorded: str | None, found: str) -> None:
    """Raise ``SourceDigestError`` if the source's metadata has another MD5 than the data read.

    Raises ``DamagedSourceError`` if the source knows another one (``KnowsMd5s``).
    """
    require_known(item, found)
    if recorded is not None and recorded != found:
        raise SourceDigestError(
            f"{quote(item.source_url)}: expected MD5 {recorded} as in its metadata; found {found}"
        )
