"""The files beside a package's tar: its index and its manifest, made once the tar was sent."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable

import msgspec

from jobtool.errors import StoreUnavailableError, reason_of
from jobtool.jobs.atomic_write import replace_file, sync_folder
from jobtool.md5 import hasher_for
from jobtool.names import quote
from jobtool.packages.index import rows_of, write_index
from jobtool.packages.manifest import (
    Manifest,
    encode_manifest,
    index_name,
    manifest_name,
    manifest_of,
)
from jobtool.packages.store import PackageStore
from jobtool.stores.store import READ_BYTES


class Sidecars(msgspec.Struct, frozen=True, kw_only=True):
    """The paths of an index and a manifest, and what the manifest says."""

    index: str
    manifest: str
    content: Manifest


def write_sidecars(
    folder: str,
    package: PackageStore,
    *,
    tar_md5: str,
    require_going: Callable[[], None] | None = None,
) -> Sidecars:
    """Write the index and the manifest of a package that was read, into an existing folder.

    ``tar_md5`` is the MD5 of the tar in hex, as its receipt has it. Members whose MD5s aren't known
    are read first. Both files are replaced atomically and durably, the manifest last. The same
    package gives the same files. Raises ``StoreUnavailableError``, and the errors of
    ``PackageStore.finish_index``.
    """
    package.finish_index(require_going)
    index = os.path.join(folder, index_name(package.name))
    manifest = os.path.join(folder, manifest_name(package.name))
    try:
        size, md5 = _write_index(index, package)
        content = manifest_of(
            package.name,
            package.members,
            tar_size=package.layout.total_size,
            tar_md5=tar_md5,
            index_size=size,
            index_md5=md5,
        )
        replace_file(manifest, encode_manifest(content))
    except OSError as error:
        raise StoreUnavailableError(
            f"can't write the index of package {quote(package.name)} into {quote(folder)}: "
            f"{reason_of(error)}"
        ) from None
    return Sidecars(index=index, manifest=manifest, content=content)


def _write_index(path: str, package: PackageStore) -> tuple[int, str]:
    """Write the index; return its size in bytes and its MD5 in hex."""
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f".{name}.{secrets.token_hex(6)}.tmp")
    try:
        with open(temporary, "x+b") as file:
            write_index(file, rows_of(package.layout, package.digests))
            file.flush()
            os.fsync(file.fileno())
            size = file.tell()
            file.seek(0)
            digest = hasher_for(size)
            while data := file.read(READ_BYTES):
                digest.update(data)
        os.rename(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    sync_folder(folder)
    return size, digest.hexdigest()
