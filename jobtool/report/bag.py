"""Receipts as a bag, which programs for BagIt check.

Sources: "The BagIt File Packaging Format", version 0.97, as ``jobtool.packages.bags``; RFC 8493,
2.2.3, for fetch.txt. If the files are in the folder ``data`` beside the tag files, the bag is
complete. Elsewhere fetch.txt says where each file is.
"""

from __future__ import annotations

import os
from typing import BinaryIO
from urllib.parse import quote as percent_encode

from jobtool.errors import FileError, UsageError
from jobtool.names import quote
from jobtool.packages.bags import (
    DATA,
    fits_bag,
    manifest_line,
    put_tags,
    require_only,
    written,
)
from jobtool.packages.putting import put_file, temporary_file
from jobtool.report.checksums import Sums
from jobtool.stores.location import is_local
from jobtool.stores.registry import StoreRegistry
from jobtool.transfer.retry import Retry


def write_bag_of(sums: Sums, folder: str, *, now_ns: int) -> int:
    """Write the tag files into a folder; return how many files the bag has.

    ``now_ns`` is the time that they get, in nanoseconds since 1970. Tag files that are there are
    replaced, but for those of a bag whose fetch.txt isn't needed any more. Raises ``FileError`` for
    a name that a bag can't have, or for other files below ``data``; and what ``Sums`` raises.
    """
    sums.require_known()
    is_here = sums.base == os.path.join(folder, DATA)
    store = StoreRegistry().open(folder, "destination")
    count = size = 0

    def put(name: str, file: BinaryIO) -> str:
        return put_file(store, name, file, mtime_ns=now_ns, retry=Retry.never())[1]

    with temporary_file() as manifest, temporary_file() as fetch:
        for one in sums:
            if one.path.startswith("/"):
                raise UsageError(
                    f"{quote(one.path)}: expected a file below {quote(sums.base or '')}, since a "
                    "bag has relative paths. Name their folder: --relative-to URL"
                )
            if not fits_bag(one.path):
                raise FileError(
                    f"{quote(one.receipt.dst_path)}: expected a name in UTF-8 without %0A and %0D "
                    "and without a blank at its end, as BagIt writes names; found another one. "
                    "Use --format md5sum."
                )
            count += 1
            size += one.receipt.stored_size
            manifest.write(manifest_line(one.digest, one.path))
            if not is_here:
                place = f"{_url_of(one.receipt.dst_path)} {one.receipt.stored_size}"
                fetch.write(f"{place} {written(one.path)}\n".encode())
        files = {"manifest-md5.txt": manifest}
        if is_here:
            require_only(store, count)
            store.delete("fetch.txt")  # of an earlier bag
        else:
            files["fetch.txt"] = fetch
        put_tags(put, files, size=size, count=count)
    store.sync()
    return count


def _url_of(place: str) -> str:
    """Return a file's URL. That of a path of this machine names the host, as readers expect."""
    if is_local(place):
        return f"file://localhost{percent_encode(os.fsencode(place))}"
    scheme, _, rest = place.partition("://")
    name, slash, path = rest.partition("/")
    return f"{scheme}://{name}{slash}{percent_encode(path, errors='surrogateescape')}"
