"""The receipts that are in force: of each file, its last one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from hashlib import blake2b

from jobtool.jobs.records import Receipt, planned_dst_path


def last_of_each(receipts: Callable[[], Iterator[Receipt]]) -> Iterator[Receipt]:
    """Yield the last receipt of each file, the one in force; read the receipts twice."""
    last: dict[bytes, int] = {}
    for index, receipt in enumerate(receipts()):
        last[digest_of(planned_dst_path(receipt))] = index
    for index, receipt in enumerate(receipts()):
        if last.get(digest_of(planned_dst_path(receipt))) == index:
            yield receipt


def last_at(receipts: Iterable[Receipt], url: str) -> Receipt | None:
    """Return the last receipt of the file at a path or URL; None without any."""
    found = None
    for receipt in receipts:
        if receipt.dst_path == url:
            found = receipt
    return found


def digest_of(path: str) -> bytes:
    """Return a short key for a path, since a million of them may be held in memory."""
    return blake2b(path.encode("utf-8", "surrogateescape"), digest_size=16).digest()
