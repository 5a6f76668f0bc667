"""A package unpacked as a bag, which programs for BagIt check.

Source: "The BagIt File Packaging Format", version 0.97, which ``bagit.py`` writes and reads. The
members are below ``data``. In manifests line ends in names are ``%0D`` and ``%0A``.
"""

from __future__ import annotations

import hashlib
import io
import re
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
        is_stripped = path == path.rstrip()  # readers of BagIt strip its lines
        if not is_text(path) or re.search(r"%0[AaDd]", path) or not is_stripped:
            raise PackageError(
                f"{quote(package.url)}, member {quote(path)}: expected a name in UTF-8 without "
                "%0A and %0D and without a blank at its end, as BagIt writes names; found another "
                "one. Unpack without --bag."
            )


def write_bag(package: Package, destination: Store, selection: Selection) -> None:
    """Write the files that make an unpacked package a bag; ``bagit.txt`` comes last.

    ``destination`` is the bag; its members were proven. The same package has the same files. Raises
    ``FileError`` if there are other files below ``data``, which would make the bag invalid.
    """
    tags: list[tuple[str, str]] = []

    def put(name: str, file: BinaryIO) -> None:
        mtime_ns = package.entry.mtime_ns
        _, md5 = put_file(destination, name, file, mtime_ns=mtime_ns, retry=package.retry)
        tags.append((md5, name))

    count = size = 0
    with temporary_file() as manifest:
        for placed in package.members(are_distinct=True):
            row = placed.row
            if selection.matches(row.path):
                count += 1
                size += row.size
                manifest.write(f"{row.md5}  {DATA}/{_written(row.path)}\n".encode())
        _require_only(destination, count)
        put("manifest-md5.txt", manifest)
    put("bag-info.txt", io.BytesIO(f"Payload-Oxum: {size}.{count}\n".encode()))
    declared = hashlib.md5(_DECLARATION, usedforsecurity=False).hexdigest()
    lines = [f"{md5}  {name}\n" for md5, name in sorted([*tags, (declared, "bagit.txt")])]
    put("tagmanifest-md5.txt", io.BytesIO("".join(lines).encode()))
    put("bagit.txt", io.BytesIO(_DECLARATION))
    destination.sync()


def _require_only(destination: Store, count: int) -> None:
    found = sum(
        isinstance(entry, Entry) and entry.path.startswith(f"{DATA}/")
        for entry in destination.list()
    )
    if found != count:
        raise FileError(
            f"{quote(destination.url_of(DATA))}: expected the {count} members that were unpacked, "
            f"since a bag names each file; found {found} files. Unpack into another folder."
        )


def _written(path: str) -> str:
    return path.replace("\r", "%0D").replace("\n", "%0A")
