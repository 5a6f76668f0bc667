"""The manifest of a package: what belongs to it, as JSON, so that others can receive it.

``NAME.tar.manifest.json`` is written last: a package with a manifest is complete. It has no clock
and no names of users or machines, so the same package has the same manifest.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator
from typing import Any

import msgspec

from jobtool import typed
from jobtool.errors import JobFileError, PackageError
from jobtool.names import quote, unquote
from jobtool.packages.index import INDEX_SUFFIX, IndexRow, read_index
from jobtool.packages.members import MemberList, PackedItem
from jobtool.packages.store import TAR_SUFFIX, require_package_name

MANIFEST_SUFFIX = ".manifest.json"

#: The version of this format. Readers refuse a later one.
FORMAT = 1

#: A longer manifest isn't read.
MAX_MANIFEST_BYTES = 256 * 1024 * 1024

_MD5 = re.compile(r"[0-9a-f]{32}")


class PackedFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a package: its name, its size in bytes, its MD5 in hex."""

    name: str
    size: int
    md5: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What belongs to a package.

    ``members`` is their number and ``bytes`` their size. ``tar`` and ``index`` lie in the
    manifest's folder. ``items`` are in the order of the tar.
    """

    name: str
    members: int
    bytes: int
    tar: PackedFile
    index: PackedFile
    items: tuple[PackedItem, ...] = ()


def tar_name(name: str) -> str:
    """Return the name of the tar of the package ``name``."""
    return name + TAR_SUFFIX


def index_name(name: str) -> str:
    """Return the name of its index."""
    return tar_name(name) + INDEX_SUFFIX


def manifest_name(name: str) -> str:
    """Return the name of its manifest."""
    return tar_name(name) + MANIFEST_SUFFIX


def manifest_of(
    name: str, members: MemberList, *, tar_size: int, tar_md5: str, index_size: int, index_md5: str
) -> Manifest:
    """Return the manifest of a package. MD5s are in hex, sizes in bytes."""
    require_package_name(name)
    return Manifest(
        name=name,
        members=len(members),
        bytes=members.total_bytes,
        tar=PackedFile(name=tar_name(name), size=tar_size, md5=tar_md5),
        index=PackedFile(name=index_name(name), size=index_size, md5=index_md5),
        items=tuple(members.items()),
    )


def encode_manifest(manifest: Manifest) -> bytes:
    """Return a manifest as JSON, a line for each value and for each item."""
    head = [
        ("format", FORMAT),
        ("name", quote(manifest.name)),
        ("members", manifest.members),
        ("bytes", manifest.bytes),
        ("tar", _quoted(manifest.tar)),
        ("index", _quoted(manifest.index)),
    ]
    lines = [b'"%b": %b' % (key.encode(), msgspec.json.encode(value)) for key, value in head]
    items = b",\n  ".join(msgspec.json.encode(_quoted(item)) for item in manifest.items)
    lines.append(b'"items": [\n  %b]' % items if items else b'"items": []')
    return b"{" + b",\n".join(lines) + b"}\n"


def decode_manifest(data: bytes, *, where: str) -> Manifest:
    """Read a manifest. ``where`` is its path or URL for messages.

    Raises ``PackageError`` for what isn't a manifest, is of a later version, or doesn't add up.
    """
    try:
        if len(data) > MAX_MANIFEST_BYTES:
            raise ValueError(f"expected at most {MAX_MANIFEST_BYTES} bytes; found {len(data)}")
        version = typed.decode(data, _Version).format
        if version != FORMAT:
            raise ValueError(
                f"expected the format {FORMAT}; found {version}, which another version of jobtool "
                "reads"
            )
        read = typed.decode(data, Manifest)
        found = msgspec.structs.replace(
            read,
            name=unquote(read.name),
            tar=_unquoted(read.tar),
            index=_unquoted(read.index),
            items=tuple(map(_unquoted, read.items)),
        )
        _require_sums(found)
    except (msgspec.DecodeError, ValueError, RecursionError, JobFileError, PackageError) as error:
        raise PackageError(
            f"{quote(where)} can't be read as the manifest of a package: {error}"
        ) from None
    return found


def read_package_index(file: Any, manifest: Manifest, *, name: str) -> Iterator[IndexRow]:
    """Yield the rows of the index of a package with a manifest; see ``read_index``.

    Raises ``PackageError``, at the latest after the last row, also for an index that has other
    members than the manifest says, or one outside its items.
    """
    items = {item.name for item in manifest.items}
    count = size = 0
    for row in read_index(file, name=name, tar_size=manifest.tar.size):
        if items and not _is_within(row.path, items):
            raise PackageError(
                f"{quote(name)}, member {quote(row.path)}: expected members of the items that the "
                "manifest names; found one outside them. Index and manifest are of two packages, "
                "or one was changed: don't unpack the package unless you know who made it."
            )
        count += 1
        size += row.size
        if count > manifest.members or size > manifest.bytes:
            break
        yield row
    if (count, size) != (manifest.members, manifest.bytes):
        raise PackageError(
            f"{quote(name)}: expected {manifest.members} members of {manifest.bytes} bytes, as the "
            f"manifest says; found {count} of {size} bytes or more. Index and manifest are of two "
            "packages, or one was changed."
        )


def _is_within(path: str, items: Container[str]) -> bool:
    """Return True if a member is an item, or lies in one."""
    while path not in items:
        path = path.rpartition("/")[0]
        if not path:
            return False
    return True


class _Version(msgspec.Struct):
    format: int


def _require_sums(found: Manifest) -> None:
    require_package_name(found.name)
    for file, expected in ((found.tar, tar_name), (found.index, index_name)):
        if file.name != expected(found.name):
            raise ValueError(f"expected the file {expected(found.name)!r}; found {file.name!r}")
        if file.size < 0 or not _MD5.fullmatch(file.md5):
            raise ValueError(
                f"{file.name!r}: expected a size and an MD5 of 32 hexadecimal digits; found "
                f"{file.size} and {file.md5[:40]!r}"
            )
    counts = [found.members, found.bytes]
    counts += [count for item in found.items for count in (item.members, item.bytes)]
    if min(counts) < 0:
        raise ValueError("expected numbers from 0 on; found a negative one")
    members, size = sum(i.members for i in found.items), sum(i.bytes for i in found.items)
    if found.items and (members > found.members or size > found.bytes):
        raise ValueError(
            f"expected items of {found.members} members and {found.bytes} bytes; found {members} "
            f"and {size}"
        )
    if found.bytes > found.tar.size:
        raise ValueError(
            f"expected members of at most the {found.tar.size} bytes of the tar; found "
            f"{found.bytes}"
        )


def _quoted(value: Any) -> Any:
    return msgspec.structs.replace(value, name=quote(value.name))


def _unquoted(value: Any) -> Any:
    return msgspec.structs.replace(value, name=unquote(value.name))
