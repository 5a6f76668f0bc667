"""The digests of a source's file, read before it is sent or to compare it with what is there."""

from __future__ import annotations

import hashlib
from concurrent.futures import Future
from dataclasses import dataclass

from jobtool.errors import SourceDigestError, StoppedError
from jobtool.names import quote
from jobtool.stop import Stop
from jobtool.stores.store import Attributes, Part, composite_md5
from jobtool.transfer.capacity import Capacity
from jobtool.transfer.checksum import md5_of, ranges
from jobtool.transfer.plan import Item


@dataclass(frozen=True, slots=True, kw_only=True)
class Digests:
    """MD5s in hex: that of the whole file, and those of its ``parts`` in order.

    ``attributes`` are the source's.
    """

    whole: str
    parts: tuple[str, ...]
    attributes: Attributes

    def composite(self, part_size: int, size: int) -> str:
        """Return the ETag of the file as one of parts of ``part_size`` bytes."""
        numbered = zip(ranges(size, part_size), self.parts, strict=True)
        return composite_md5(
            [
                Part(number=number, offset=offset, size=length, md5=md5)
                for (number, offset, length), md5 in numbered
            ]
        )


def read_digests(item: Item, part_size: int, capacity: Capacity, stop: Stop) -> Digests:
    """Read a file once for the digests of the whole and of its parts, both at the same time.

    Raises the errors of the source's store, and ``StoppedError`` between two parts.
    """
    whole = hashlib.md5(usedforsecurity=False)
    parts = []
    for _, offset, length in ranges(item.entry.size, part_size):
        require_going(stop, item)
        with capacity.budget.holding(length):
            content = item.lane.source.read(item.entry, offset, length)
            if not offset:
                attributes = content.attributes
            part: Future[str] | None = None
            if length < item.entry.size:  # else the only part is the whole
                part = capacity.hashers.submit(md5_of, content.data)
            whole.update(content.data)
            parts.append(whole.hexdigest() if part is None else part.result())
    return Digests(whole=whole.hexdigest(), parts=tuple(parts), attributes=attributes)


def require_going(stop: Stop, item: Item) -> None:
    """Raise ``StoppedError`` once asked to stop."""
    if stop.is_set():
        raise StoppedError(f"stopped in the middle of {quote(item.source_url)}")


def require_recorded(item: Item, *, recorded: str | None, found: str) -> None:
    """Raise ``SourceDigestError`` if the source's metadata tells another MD5 than was read."""
    if recorded is not None and recorded != found:
        raise SourceDigestError(
            f"{quote(item.source_url)}: its metadata says MD5 {recorded}; what was read has {found}"
        )
