"""One file compared with its receipt."""

from __future__ import annotations

import msgspec

from jobtool.audit.events import Discrepancy
from jobtool.audit.evidence import has_other_etag, has_other_time, is_proof
from jobtool.errors import FileError, JobtoolError, NotFoundError, UsageError, reason_of
from jobtool.jobs.forms import Form
from jobtool.jobs.records import Receipt
from jobtool.stores.store import Store, entry_of
from jobtool.transfer.packing.contents import contents_of, read_through

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
    if found.size != receipt.stored_size:
        detail = f"{receipt.stored_size} -> {found.size} bytes"
        return Verdict(url=url, what="changed", detail=detail)
    if deep or has_other_etag(receipt, found):
        return read(store, path, receipt)
    if are_times_reliable and has_other_time(receipt, found):
        return read(store, path, receipt, was_doubted_by_time=True)
    return Verdict(url=url)


def read(
    store: Store, path: str, receipt: Receipt, *, was_doubted_by_time: bool = False
) -> Verdict:
    """Compare a file's MD5. A compressed file is opened as well, to compare that of its content."""
    url = receipt.dst_path
    try:
        found = store.digest(path)
        if found != receipt.stored_md5:
            return Verdict(url=url, what="changed", detail=f"MD5 {receipt.stored_md5} -> {found}")
        if receipt.is_packed:
            content = content_md5(store, path, receipt)
            if content != receipt.hashsum_dst:
                detail = f"MD5 of its content {receipt.hashsum_dst} -> {content}"
                return Verdict(url=url, what="changed", detail=detail)
    except (FileError, UsageError) as error:
        return failure(url, error)
    return Verdict(url=receipt.dst_path, was_doubted_by_time=was_doubted_by_time)


def content_md5(store: Store, path: str, receipt: Receipt) -> str:
    """Return the MD5 of the content of a compressed file, by opening it.

    Raises the errors of stores, and ``UsageError`` if the library for it isn't installed.
    """
    form: Form = "gzip" if receipt.compression == "gzip" else "zstd"
    contents = contents_of(store, entry_of(store, path), form)
    read_through(contents, receipt.size, lambda: None)
    return contents.md5


def failure(url: str, error: JobtoolError) -> Verdict:
    """Return the verdict that follows from a store's error: missing, or unreadable."""
    if isinstance(error, NotFoundError):
        return Verdict(url=url, what="missing")
    return unreadable(url, error)


def unreadable(url: str, error: Exception) -> Verdict:
    """Return the verdict for what can't be read."""
    return Verdict(url=url, what="unreadable", detail=reason_of(error))
