"""One file against its receipt: by what its store tells of it, and by reading it."""

from __future__ import annotations

from dataclasses import dataclass

from jobtool.audit.evidence import has_other_etag, has_other_time, is_proof
from jobtool.audit.findings import Discrepancy
from jobtool.errors import FileError, NotFoundError
from jobtool.jobs.records import Receipt
from jobtool.stores.store import Store, entry_of

HOLLOW = "its receipt names two digests, that of the source and another"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What was found out about one file; ``what`` is None if it is as its receipt says.

    ``was_doubted_by_time`` tells that it was read only because its time differs.
    """

    url: str
    what: Discrepancy | None = None
    detail: str = ""
    was_doubted_by_time: bool = False


def look(
    store: Store, path: str, receipt: Receipt, *, deep: bool, times_tell_something: bool
) -> Verdict:
    """Look at a file, and read it if ``deep`` or if its ETag or its time is a reason to."""
    url = receipt.dst_path
    if not is_proof(receipt):
        return Verdict(url=url, what="unproven", detail=HOLLOW)
    try:
        found = entry_of(store, path)
    except FileError as error:
        return failure(url, error)
    if found.size != receipt.size:
        detail = f"{receipt.size} -> {found.size} bytes"
        return Verdict(url=url, what="changed", detail=detail)
    if deep or has_other_etag(receipt, found):
        return read(store, path, receipt)
    if times_tell_something and has_other_time(receipt, found):
        return read(store, path, receipt, was_doubted_by_time=True)
    return Verdict(url=url)


def read(
    store: Store, path: str, receipt: Receipt, *, was_doubted_by_time: bool = False
) -> Verdict:
    """Read a file and compare its MD5."""
    try:
        found = store.digest(path)
    except FileError as error:
        return failure(receipt.dst_path, error)
    if found != receipt.hashsum_dst:
        detail = f"MD5 {receipt.hashsum_dst} -> {found}"
        return Verdict(url=receipt.dst_path, what="changed", detail=detail)
    return Verdict(url=receipt.dst_path, was_doubted_by_time=was_doubted_by_time)


def failure(url: str, error: FileError) -> Verdict:
    """Return what a store's error says of a file: it isn't there, or it can't be read."""
    if isinstance(error, NotFoundError):
        return Verdict(url=url, what="missing")
    return Verdict(url=url, what="unreadable", detail=str(error))
