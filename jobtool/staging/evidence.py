"""Whether another copy of staged files holds, looked at now."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from functools import partial
from typing import Protocol

import msgspec

from jobtool.catalog.copy import Copy
from jobtool.errors import JobtoolError
from jobtool.jobs.lastreceipts import digest_of
from jobtool.jobs.records import Receipt
from jobtool.names import quote
from jobtool.packages.manifest import Manifest
from jobtool.packages.memberkind import members_url
from jobtool.packages.membertable import MemberTable
from jobtool.packages.package import open_package
from jobtool.stores.location import is_local, join
from jobtool.stores.registry import StoreRegistry
from jobtool.stores.store import Entry
from jobtool.transfer.retry import Retry

_MD5 = re.compile(r"[0-9a-f]{32}")


class StagedFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that was staged. ``path`` is relative to its item, empty if the item is the file."""

    path: str
    receipt: Receipt


class Held(Protocol):
    """Returns why a copy doesn't hold the bytes of a staged file; None if it does."""

    def __call__(self, file: StagedFile) -> str | None:
        """Look at one file. Raises the errors of reading."""
        ...


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """A copy that was looked at now. ``how`` says what was compared."""

    url: str
    how: str
    lacks: Held


def evidence_of(
    copy: Copy, stores: StoreRegistry, *, staged_url: str, deep: bool, retry: Retry
) -> Evidence:
    """Look at a copy and return what tells whether it holds a file.

    Of a package the tar must be there with the size that its manifest says, the index must be the
    manifest's, and an MD5 that the store keeps of the tar must be the manifest's, too. From a
    store that keeps nothing of the kind, such as a filesystem, the members are read back: another
    tar may have that size. Objects without an MD5, such as those sent in parts, may be archived:
    their members are read back with ``deep`` only. With it a manifest isn't needed. Of open files
    each is read back. Raises ``JobtoolError`` if the copy isn't as it should be.
    """
    if copy.form == "package":
        return _package(copy, stores, deep=deep, retry=retry)
    return _open_files(copy, stores, staged_url=staged_url, retry=retry)


def _package(copy: Copy, stores: StoreRegistry, *, deep: bool, retry: Retry) -> Evidence:
    package = open_package(copy.url, stores, retry=retry)
    manifest = package.manifest
    if package.index_entry is None:
        raise JobtoolError(f"{quote(copy.url)}: expected its index beside it; found none")
    if manifest is None and not deep:
        raise JobtoolError(
            f"{quote(copy.url)}: expected its manifest beside it, which says that the tar is "
            "whole; found none. To have the members read back instead, use --deep."
        )
    how = "its index"
    if manifest is not None:
        package.require_index_digest()
        how = _require_as_packed(copy, manifest, package.entry.etag, deep=deep)
    table = MemberTable(package.members())
    read = None
    proven: set[bytes] = set()  # members that were read back in this pass
    if deep or package.entry.etag is None:
        members = stores.open(members_url(copy.url), "source")
        how = "its members, read back"
        read = members.digest

    def lacks(file: StagedFile) -> str | None:
        path = join(copy.item, file.path) if file.path else copy.item
        number = table.find(path)
        if number is None:
            return f"{quote(copy.url)} has no member {quote(path)}"
        row, receipt = table[number].row, file.receipt
        if (row.size, row.md5) != (receipt.stored_size, receipt.stored_md5):
            return f"{quote(copy.url)} has other bytes for {quote(path)}"
        if read is None or digest_of(path) in proven:
            return None
        if retry.call(partial(read, path)) != row.md5:
            return f"{quote(copy.url)}: its member {quote(path)} is damaged"
        proven.add(digest_of(path))
        return None

    return Evidence(url=copy.url, how=how, lacks=lacks)


def _require_as_packed(copy: Copy, manifest: Manifest, etag: str | None, *, deep: bool) -> str:
    """Return what was compared of a tar that is there with the size of its manifest."""
    if copy.digest is not None and copy.digest.partition(":")[2] != manifest.tar.md5:
        raise JobtoolError(
            f"{quote(copy.url)}: expected the package {copy.digest}, as the catalog says; its "
            f"manifest is of md5:{manifest.tar.md5}"
        )
    stored = (etag or "").strip('"').lower()
    if not _MD5.fullmatch(stored):
        return "size and index"
    if stored == manifest.tar.md5:
        return "size, index and the store's MD5"
    if not deep:
        raise JobtoolError(
            f"{quote(copy.url)}: expected the MD5 {manifest.tar.md5}; the store says {stored}. If "
            "it encrypts objects, its ETags aren't MD5s: use --deep."
        )
    return "size and index"


def _open_files(copy: Copy, stores: StoreRegistry, *, staged_url: str, retry: Retry) -> Evidence:
    root, _, name = copy.url.rpartition("/")
    store = stores.open(root or "/", "source")

    def lacks(file: StagedFile) -> str | None:
        path = join(name, file.path) if file.path else name
        where = store.url_of(path)
        found = retry.call(lambda: store.stat(path, file_only=True))
        if not isinstance(found, Entry) or found.size != file.receipt.stored_size:
            return f"{quote(where)} isn't there with {file.receipt.stored_size} bytes"
        if _is_same_file(where, file.receipt.dst_path):
            return f"{quote(where)} is the staged file itself"
        if retry.call(lambda: store.digest(path)) != file.receipt.stored_md5:
            return f"{quote(where)} has other bytes"
        return None

    return Evidence(url=copy.url, how="its files, read back", lacks=lacks)


def _is_same_file(one: str, other: str) -> bool:
    """Return True if two paths lead to one file, such as by a link or another mount."""
    if not (is_local(one) and is_local(other)):
        return one == other
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False


def find_evidence(
    copies: Iterable[Copy],
    files: Callable[[], Iterable[StagedFile]],
    stores: StoreRegistry,
    *,
    staged_url: str,
    deep: bool,
    retry: Retry,
) -> Evidence | str:
    """Return the first copy that holds all files, else why none does.

    Only present copies elsewhere than at ``staged_url`` are looked at, packages first.
    """
    reasons: list[str] = []
    candidates = [copy for copy in copies if copy.url != staged_url and copy.state == "present"]
    for copy in sorted(candidates, key=lambda copy: (copy.form != "package", quote(copy.url))):
        try:
            found = evidence_of(copy, stores, staged_url=staged_url, deep=deep, retry=retry)
            lack = next((why for file in files() if (why := found.lacks(file)) is not None), None)
        except JobtoolError as error:
            reasons.append(str(error))
            continue
        if lack is None:
            return found
        reasons.append(lack)
    return "; ".join(reasons) or "no other copy is present by the catalog"
