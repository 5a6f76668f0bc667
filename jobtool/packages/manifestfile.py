"""The manifest of a package that lies in a store."""

from __future__ import annotations

from functools import partial

from jobtool.errors import PackageError
from jobtool.names import quote
from jobtool.packages.manifest import (
    MAX_MANIFEST_BYTES,
    Manifest,
    decode_manifest,
    manifest_name,
)
from jobtool.packages.storefile import buffered
from jobtool.stores.store import Store, entry_of
from jobtool.transfer.retry import Retry


def read_manifest(store: Store, package: str, retry: Retry) -> Manifest:
    """Return the manifest of a package in a store.

    Raises ``NotFoundError``; ``PackageError`` for what isn't a manifest or is that of another
    package; and the errors of reading.
    """
    name = manifest_name(package)
    entry = retry.call(partial(entry_of, store, name))
    data = buffered(store, entry, retry).read(min(entry.size, MAX_MANIFEST_BYTES + 1))
    found = decode_manifest(data, where=store.url_of(name))
    if found.name != package:
        raise PackageError(
            f"{quote(store.url_of(name))}: expected the manifest of {quote(package)}; found that "
            f"of {quote(found.name)}. A package's files can't be renamed: have it copied there "
            "again under its own name"
        )
    return found
