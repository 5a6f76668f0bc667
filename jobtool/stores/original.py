"""A file that its own service may copy, so that no byte of it passes through the worker."""

from __future__ import annotations

import msgspec

from jobtool.errors import FileError
from jobtool.names import quote
from jobtool.stores.store import Attributes


class NotCopiedError(FileError):
    """A service can't copy this one file, or couldn't prove the copy. Others it may copy."""


class Original(msgspec.Struct, frozen=True, kw_only=True):
    """What a service says of a file that it is to copy.

    ``path`` is relative to the source's root, ``size`` in bytes. ``etag`` names the version to
    copy. ``md5`` is that of the whole file in hex, as the service or the file's metadata has it;
    None if a copy will show it. ``composite`` is the ETag that S3 gives to the file in its own
    parts, if that is known. ``part_size`` is the size in bytes of the parts in which to copy the
    file; None if it is to be copied whole. ``part_md5s`` are the MD5s of these parts in hex, if
    they are known before. ``checksums`` are the service's other digests of the whole file, by the
    names that the store gives them. ``version`` is the name that the store keeps this version
    under, if it keeps any. ``attributes`` are the file's, with ``md5``.
    """

    path: str
    size: int
    etag: str
    md5: str | None
    composite: str | None = None
    part_size: int | None = None
    part_md5s: tuple[str, ...] = ()
    checksums: tuple[tuple[str, str], ...] = ()
    version: str | None = None
    attributes: Attributes


def require_may_replace(original: Original, url: str) -> None:
    """Raise ``NotCopiedError`` if a copy to ``url`` must not replace anything.

    For services that copy a whole file whatever is there.
    """
    if not original.attributes.may_replace:
        raise NotCopiedError(f"{quote(url)}: a copy might replace a file")
