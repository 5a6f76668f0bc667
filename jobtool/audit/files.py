"""One file compared with its receipt."""

from __future__ import annotations

from msgspec.structs import replace

from jobtool.audit.evidence import has_other_etag, has_other_time
from jobtool.audit.unread import OpenSource, compare_unread
from jobtool.audit.verdict import Verdict, failure
from jobtool.errors import FileError
from jobtool.jobs.records import Receipt
from jobtool.stores.store import Store, entry_of

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
    if found.size != receipt.size:
        detail = f"{receipt.size} -> {found.size} bytes"
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
    """Compare a file's MD5, or what ``compare_unread`` compares if its receipt has none."""
    try:
        if receipt.hashsum_dst is None:
            verdict = compare_unread(store, path, receipt, open_source)
            is_doubted = was_doubted_by_time and verdict.what is None
            return replace(verdict, was_doubted_by_time=is_doubted)
        found = store.digest(path)
    except FileError as error:
        return failure(receipt.dst_path, error)
    if found != receipt.hashsum_dst:
        detail = f"MD5 {receipt.hashsum_dst} -> {found}"
        return Verdict(url=receipt.dst_path, what="changed", detail=detail)
    return Verdict(url=receipt.dst_path, was_doubted_by_time=was_doubted_by_time)
