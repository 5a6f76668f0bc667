"""One file compared with its receipt."""

from __future__ import annotations

from msgspec.structs import replace

from jobtool.audit.evidence import has_other_etag, has_other_time
from jobtool.audit.unread import OpenSource, compare_unread
from jobtool.audit.verdict import Verdict, failure
from jobtool.errors import FileError, UsageError
from jobtool.jobs.forms import Form
from jobtool.jobs.records import Receipt
from jobtool.stores.store import Store, entry_of
from jobtool.transfer.packing.contents import contents_of, read_through

HOLLOW = "the two digests of its receipt differ"


def check(
    store: Store,
    path: str,
    receipt: Receipt,
    open_source: OpenSource,
    *,
    deep: bool,
    are_times_reliable: bool,
) -> Verdict:
    """Compare a file's size, then its MD5 if ``deep`` or if its ETag or its time differs."""
    url = receipt.dst_path
    if not receipt.is_proof:
        return Verdict(url=url, what="unproven", detail=HOLLOW)
    try:
        found = entry_of(store, path)
    except FileError as error:
        return failure(url, error)
    if found.size != receipt.stored_size:
        detail = f"{receipt.stored_size} -> {found.size} bytes"
        return Verdict(url=url, what="changed", detail=detail)
    if deep or has_other_etag(receipt, found):
        return read(store, path, receipt, open_source)
    if are_times_reliable and has_other_time(receipt, found):
        return read(store, path, receipt, open_source, was_doubted_by_time=True)
    return Verdict(url=url)


def read(
    store: Store,
    path: str,
    receipt: Receipt,
    open_source: OpenSource,
    *,
    was_doubted_by_time: bool = False,
) -> Verdict:
    """Compare a file's MD5, or what ``compare_unread`` compares if its receipt has none.

    A compressed file is opened as well, to compare the MD5 of its content.
    """
    url = receipt.dst_path
    try:
        if receipt.hashsum_dst is None:
            verdict = compare_unread(store, path, receipt, open_source)
            is_doubted = was_doubted_by_time and verdict.what is None
            return replace(verdict, was_doubted_by_time=is_doubted)
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
