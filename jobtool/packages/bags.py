"""A package unpacked as a bag, which programs for BagIt check.

Source: "The BagIt File Packaging Format", version 0.97, which ``bagit.py`` writes and reads. The
members are below ``data``. In manifests line ends in names are ``%0D`` and ``%0A``.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable
from typing import BinaryIO

from jobtool.errors import FileError, PackageError
from jobtool.names import is_text, quote
from jobtool.packages.package import Package
from jobtool.packages.putting import put_file, temporary_file
from jobtool.packages.selection import Selection
from jobtool.stores.store import Entry, Store

#: The folder of the members.
DATA = "data"

_DECLARATION = b"BagIt-Version: 0.97\nTag-File-Character-Encoding: UTF-8\n"


def require_bag(package: Package) -> None:
    """Raise an error unless a package can be a bag: it has an index, its names can be written."""
    package.require_index("a bag")
    for placed in package.members():
        path = placed.row.path
        if not fits_bag(path):
            raise PackageError(
                f"{quote(package.url)}, member {quote(path)}: expected a name in UTF-8 without "
                "%0A and %0D and without a blank at its end, as BagIt writes names; found another "
                "one. Unpack without --bag."
            )


def fits_bag(path: str) -> bool:
    """Return True if a manifest can name a file: as text, without what BagIt takes for escapes."""
    is_stripped = path == path.rstrip()  # readers of BagIt strip its lines
    return is_text(path) and not re.search(r"%0[AaDd]", path) and is_stripped


def write_bag(package: Package, destination: Store, selection: Selection) -> None:
    """Write the files that make an unpacked package a bag; ``bagit.txt`` comes last.

    ``destination`` is the bag; its members were proven. The same package has the same files. Raises
    ``FileError`` if there are other files below ``data``, which would make the bag invalid.
    """

    def put(name: str, file: BinaryIO) -> str:
        mtime_ns = package.entry.mtime_ns
        return put_file(destination, name, file, mtime_ns=mtime_ns, retry=package.retry)[1]

    count = size = 0
    with temporary_file() as manifest:
        for placed in package.members(are_distinct=True):
            row = placed.row
            if selection.matches(row.path):
                count += 1
                size += row.size
                manifest.write(manifest_line(row.md5, row.path))
        require_only(destination, count)
        put_tags(put, {"manifest-md5.txt": manifest}, size=size, count=count)
    destination.sync()


def manifest_line(md5: str, path: str) -> bytes:
    """Return the line of a file in a manifest."""
    return f"{md5}  {written(path)}\n".encode()


def put_tags(
    put: Callable[[str, BinaryIO], str], files: dict[str, BinaryIO], *, size: int, count: int
) -> None:
    """Write the tag files of a bag; ``bagit.txt``, which makes it one, comes last.

    ``put`` writes a file and returns its MD5. ``files`` are the tag files besides those that follow
    from the ``count`` of the payload's files and their ``size`` in bytes.
    """
    info = io.BytesIO(f"Payload-Oxum: {size}.{count}\n".encode())
    tags = [(put(name, file), name) for name, file in {**files, "bag-info.txt": info}.items()]
    declared = hashlib.md5(_DECLARATION, usedforsecurity=False).hexdigest()
    lines = [f"{md5}  {name}\n" for md5, name in sorted([*tags, (declared, "bagit.txt")])]
    put("tagmanifest-md5.txt", io.BytesIO("".join(lines).encode()))
    put("bagit.txt", io.BytesIO(_DECLARATION))


def require_only(destination: Store, count: int) -> None:
    """Raise ``FileError`` unless ``count`` files are below ``data``."""
    found = sum(
        isinstance(entry, Entry) and entry.path.startswith(f"{DATA}/")
        for entry in destination.list()
    )
    if found != count:
        raise FileError(
            f"{quote(destination.url_of(DATA))}: expected the {count} file(s) of the manifest and "
            f"no others, since a bag names each file; found {found} files. Use another folder."
        )


def written(path: str) -> str:
    """Return a payload's path as manifests name it, from its path below ``data``."""
    path = f"{DATA}/{path}"
    return path.replace("\r", "%0D").replace("\n", "%0A")
