"""Packages in a folder, as jobtool writes them, and tars of other programs."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import msgspec

from jobtool.md5 import md5_of
from jobtool.packages.index import read_index, write_index
from jobtool.packages.members import Member, MemberList
from jobtool.packages.package import open_package
from jobtool.packages.sidecars import write_sidecars
from jobtool.packages.store import PackageStore
from jobtool.stores.local import LocalStore
from jobtool.stores.registry import StoreRegistry
from jobtool.transfer.retry import Retry

MTIME_NS = 1_700_000_000_123_456_789


def make_package(
    folder: Path, files: dict[str, bytes], *, name: str = "p", mode=0o640, times=None, items=False
) -> Path:
    """Write NAME.tar, its index and its manifest; return the tar's path.

    With ``items``, the first parts of the paths are its items.
    """
    source = folder / f"source of {name}"
    members = MemberList()
    item = None
    for path, data in files.items():
        if items and path.partition("/")[0] != item:
            item = path.partition("/")[0]
            members.start_item(item)
        full = os.path.join(source, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        Path(full).write_bytes(data)
        mtime_ns = (times or {}).get(path, MTIME_NS)
        os.utime(full, ns=(mtime_ns, mtime_ns))
        members.add(Member(path=path, size=len(data), mtime_ns=mtime_ns, mode=mode))
    package = PackageStore(name, members, LocalStore(str(source)))
    tar = folder / f"{name}.tar"
    data = bytes(package.read(package.entry, 0, package.entry.size).data)
    tar.write_bytes(data)
    write_sidecars(str(folder), package, tar_md5=md5_of(data))
    package.close()
    return tar


def beside(tar: Path, suffix: str) -> Path:
    return tar.with_name(tar.name + suffix)


def index_of(tar: Path) -> Path:
    return beside(tar, ".index.parquet")


def manifest_of(tar: Path) -> Path:
    return beside(tar, ".manifest.json")


def opened(tar: Path, **changes):
    return open_package(str(tar), StoreRegistry(), retry=Retry.never(), **changes)


def rows(tar: Path):
    return list(read_index(str(index_of(tar)), name="x"))


def forge(tar: Path, changed) -> None:
    """Replace the index, without a manifest that could tell."""
    manifest_of(tar).unlink(missing_ok=True)
    with index_of(tar).open("wb") as file:
        write_index(file, changed)


def forged(tar: Path, number: int, **changes) -> None:
    """Replace values of one row of the index."""
    found = rows(tar)
    found[number] = msgspec.structs.replace(found[number], **changes)
    forge(tar, found)


def item(name: str, data: bytes = b"", **changes) -> tuple[tarfile.TarInfo, bytes]:
    """An item for ``make_tar``."""
    found = tarfile.TarInfo(name)
    found.size = len(data)
    for key, value in changes.items():
        setattr(found, key, value)
    return found, data


def make_tar(path: Path, items, *, form: int = tarfile.PAX_FORMAT) -> Path:
    """Write a tar by Python's tarfile."""
    with tarfile.open(path, "w", format=form, errors="surrogateescape") as file:
        for info, data in items:
            file.addfile(info, io.BytesIO(data))
    return path


def tree(folder: Path) -> dict[str, bytes]:
    """The files below a folder."""
    return {
        os.path.relpath(os.path.join(base, name), folder): Path(base, name).read_bytes()
        for base, _, names in os.walk(folder)
        for name in names
    }
