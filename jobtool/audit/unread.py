"""A file whose receipt has no MD5, since services compared it and nobody read it.

It is compared with the checksum that its receipt has or, if that can't be done any more, with its
source.
"""

from __future__ import annotations

from collections.abc import Callable

from jobtool.audit.verdict import Verdict, unreadable
from jobtool.errors import FileError, JobtoolError, SourceChangedError
from jobtool.jobs.records import Receipt
from jobtool.names import quote
from jobtool.stores.location import parent_of
from jobtool.stores.optional import ComparesInside, supports
from jobtool.stores.store import Store, entry_of

#: Opens the store of a source's folder.
OpenSource = Callable[[str], Store]


def compare_unread(store: Store, path: str, receipt: Receipt, open_source: OpenSource) -> Verdict:
    """Read a file and compare its checksum, or its MD5 with that of its source.

    A file for which neither can be done is unreadable: it may be good. Raises the errors of
    ``Store.digest``.
    """
    url, checksum = receipt.dst_path, receipt.checksum or ""
    is_still = store.is_still(path, checksum) if supports(store, ComparesInside) else None
    if is_still is not None:
        if is_still:
            return Verdict(url=url, compared="checksum")
        detail = f"expected {checksum}; its checksum is another"
        return Verdict(url=url, what="changed", detail=detail, compared="checksum")
    try:
        expected = _md5_of_source(receipt, open_source)
    except JobtoolError as error:
        reason = f"its receipt has no MD5, and {checksum} can't be found out here: {error}"
        return unreadable(url, FileError(reason))
    found = store.digest(path)
    if found == expected:
        return Verdict(url=url, compared="source")
    detail = f"MD5 {expected} of the source -> {found}"
    return Verdict(url=url, what="changed", detail=detail, compared="source")


def _md5_of_source(receipt: Receipt, open_source: OpenSource) -> str:
    """Read the source, which must be as it was. Raises ``JobtoolError``."""
    folder, name = parent_of(receipt.src_path)
    store = open_source(folder)
    entry = entry_of(store, name)
    if (entry.size, entry.mtime_ns) != (receipt.size, receipt.mtime_ns):
        raise SourceChangedError(f"{quote(receipt.src_path)} has changed since the receipt")
    return store.digest(name)
