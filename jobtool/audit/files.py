"""One file compared with its receipt."""

from __future__ import annotations

import msgspec

from jobtool.audit.events import Discrepancy
from jobtool.audit.evidence import has_other_etag, has_other_time, is_proof
from jobtool.errors import FileError, NotFoundError, reason_of
from jobtool.jobs.records import Receipt
from jobtool.stores.store import Store, entry_of

HOLLOW = "the two digests of its receipt differ"


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The result for one file; ``what`` is None if it matches its receipt.

    ``was_doubted_by_time`` is True if the file was read only because its time differs.
    """

    url: str
    what: Discrepancy | None = None
    detail: str = ""
    was_doubted_by_time: bool = False


def check(
    store: Store, path: str, receipt: Receipt, *, deep: bool, are_times_reliable: bool
) -> Verdict:
    """Compare a file's size, then its MD5 if ``deep`` or if its ETag or its time differs."""
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
    if are_times_reliable and has_other_time(receipt, found):
        return read(store, path, receipt, was_doubted_by_time=True)
    return Verdict(url=url)


def read(
    store: Store, path: str, receipt: Receipt, *, was_doubted_by_time: bool = False
) -> Verdict:
    """Compare a file's MD5."""
    try:
        found = store.digest(path)
    except FileError as error:
        return failure(receipt.dst_path, error)
    if found != receipt.hashsum_dst:
        detail = f"MD5 {receipt.hashsum_dst} -> {found}"
        return Verdict(url=receipt.dst_path, what="changed", detail=detail)
    return Verdict(url=receipt.dst_path, was_doubted_by_time=was_doubted_by_time)


def failure(url: str, error: FileError) -> Verdict:
    """Return the verdict that follows from a store's error: missing, or unreadable."""
    if isinstance(error, NotFoundError):
        return Verdict(url=url, what="missing")
    return unreadable(url, error)


def unreadable(url: str, error: Exception) -> Verdict:
    """Return the verdict for what can't be read."""
    return Verdict(url=url, what="unreadable", detail=reason_of(error))
