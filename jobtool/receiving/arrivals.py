"""Which packages lie in a folder: by their manifests, which senders write last."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from jobtool.errors import FileError, NotFoundError, PackageError, UsageError
from jobtool.names import quote
from jobtool.packages.manifest import MANIFEST_SUFFIX, Manifest, PackedFile, manifest_name
from jobtool.packages.manifestfile import read_manifest
from jobtool.packages.store import TAR_SUFFIX
from jobtool.stores.location import unfit_reason
from jobtool.stores.store import Child, Entry, Store, Unlisted, kind_of
from jobtool.transfer.parallel import in_parallel
from jobtool.transfer.retry import Retry

#: How many manifests are read at a time. Each may take as much memory as it is long.
_THREADS = 4

_SUFFIX = TAR_SUFFIX + MANIFEST_SUFFIX


class Arrived(msgspec.Struct, frozen=True, kw_only=True):
    """A package of which all files are there, with the sizes that its manifest says."""

    name: str
    manifest: Manifest


class Incomplete(msgspec.Struct, frozen=True, kw_only=True):
    """A package of which something isn't there yet."""

    name: str
    reason: str


class Unfit(msgspec.Struct, frozen=True, kw_only=True):
    """A package that can't be received as it is."""

    name: str
    reason: str


def arrivals(store: Store, retry: Retry) -> Iterator[Arrived | Incomplete | Unfit]:
    """Yield what is known of each package in a folder, in the order of their names.

    A package is known by its manifest or its tar. The tar isn't read. Raises the errors of stores
    that aren't about single files.
    """
    manifests: set[str] = set()
    tars: set[str] = set()
    odd: list[Unfit] = []
    for child in children_of(store, retry):
        if not isinstance(child, Child):
            if child.path.endswith(_SUFFIX):
                name = child.path.removesuffix(_SUFFIX)
                odd.append(Unfit(name=name, reason=str(child.error)))
        elif child.name.endswith(_SUFFIX) and child.name != _SUFFIX and not child.is_folder:
            manifests.add(child.name.removesuffix(_SUFFIX))
        elif child.name.endswith(TAR_SUFFIX) and child.name != TAR_SUFFIX and not child.is_folder:
            tars.add(child.name.removesuffix(TAR_SUFFIX))
    yield from odd
    names = sorted(manifests | tars)

    def look(name: str) -> Arrived | Incomplete | Unfit:
        if name not in manifests:
            return Incomplete(name=name, reason=f"there is no {quote(manifest_name(name))}")
        return _look(store, name, retry)

    yield from in_parallel(look, names, threads=_THREADS)


def children_of(store: Store, retry: Retry) -> list[Child | Unlisted]:
    """Return what is in a folder; nothing if there is none, as in a bucket before data arrives.

    Raises ``UsageError`` if it is a file.
    """
    try:
        found = retry.call(lambda: list(store.children("")))
    except NotFoundError:
        found = []
    if not found and retry.call(lambda: kind_of(store, "")) == "file":
        raise UsageError(
            f"expected a folder of packages at {quote(store.url)}; found a file. Name the folder "
            "that it lies in."
        )
    return found


def _look(store: Store, name: str, retry: Retry) -> Arrived | Incomplete | Unfit:
    try:
        manifest = read_manifest(store, name, retry)
        _require_items(manifest, store.url_of(manifest_name(name)))
        for file in (manifest.tar, manifest.index):
            lack = _lack(store, file, retry)
            if lack is not None:
                return Incomplete(name=name, reason=lack)
    except FileError as error:
        return Unfit(name=name, reason=str(error))
    return Arrived(name=name, manifest=manifest)


def _lack(store: Store, file: PackedFile, retry: Retry) -> str | None:
    """Return what a file of a package lacks, None if it is there.

    Raises ``PackageError`` for a file that is too large: it won't become complete.
    """
    found = retry.call(lambda: store.stat(file.name, file_only=True))
    if not isinstance(found, Entry):
        return f"there is no {quote(file.name)}"
    if found.size < file.size:
        return f"{quote(file.name)} has {found.size} of {file.size} bytes"
    if found.size > file.size:
        raise PackageError(
            f"{quote(store.url_of(file.name))}: expected {file.size} bytes, as its manifest says; "
            f"found {found.size}. The file or the manifest is that of another package: have both "
            "copied there again."
        )
    return None


def _require_items(manifest: Manifest, where: str) -> None:
    """Raise ``PackageError`` for names that can't be items, and for members in no item."""
    seen: set[str] = set()
    for item in manifest.items:
        reason = unfit_reason(item.name)
        if reason is None and item.name in seen:
            reason = "it twice"
        if reason is not None:
            raise PackageError(
                f"{quote(where)}, item {quote(item.name[:200])}: expected a relative path, once, "
                f"without empty parts, '.' or '..'; found {reason}. Don't unpack the package "
                "unless you know who made it."
            )
        seen.add(item.name)
    members = sum(item.members for item in manifest.items)
    size = sum(item.bytes for item in manifest.items)
    if (members, size) != (manifest.members, manifest.bytes):
        raise PackageError(
            f"{quote(where)}: expected items of all {manifest.members} members and "
            f"{manifest.bytes} bytes; found items of {members} and {size}. Use jobtool get for a "
            "package without items."
        )
