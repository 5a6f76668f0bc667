"""What a joblist knows of each package that it has received: a small file for each.

The file is written before the package's jobs, and never changed. So a run after a kill knows the
package, and makes the jobs that are missing.
"""

from __future__ import annotations

import os

import msgspec
from msgspec.structs import replace

from jobtool import typed
from jobtool.errors import JobFileError, JoblistError, JoblistUnavailableError, reason_of
from jobtool.jobs.atomic_write import create_file, sync_folder
from jobtool.jobs.joblist import JobList
from jobtool.jobs.safe_read import UnfitFileError, read_bounded
from jobtool.names import filename_of, quote, unquote
from jobtool.packages.manifest import MAX_MANIFEST_BYTES, Manifest

_SUFFIX = ".received.json"

#: The version of this format. Readers refuse a later one.
FORMAT = 1


class ReceivedPackage(msgspec.Struct, frozen=True, kw_only=True):
    """A package that was received. ``url`` is that of its folder, ``items`` are their names.

    ``tar_bytes`` is the size of its tar and ``tar_md5`` the tar's MD5 in hex, as its manifest says.
    ``bytes`` is the size of its ``members``.
    """

    format: int = FORMAT
    name: str
    url: str
    tar_bytes: int
    tar_md5: str
    members: int
    bytes: int
    items: tuple[str, ...]

    @classmethod
    def of(cls, manifest: Manifest, url: str) -> ReceivedPackage:
        """Return what is recorded of a package in the folder ``url``."""
        return cls(
            name=manifest.name,
            url=url,
            tar_bytes=manifest.tar.size,
            tar_md5=manifest.tar.md5,
            members=manifest.members,
            bytes=manifest.bytes,
            items=tuple(item.name for item in manifest.items),
        )

    def is_same(self, other: ReceivedPackage) -> bool:
        """Return True if two packages have the same content, wherever they lie."""
        return (self.tar_bytes, self.tar_md5) == (other.tar_bytes, other.tar_md5)


def write_received(joblist: JobList, package: ReceivedPackage) -> bool:
    """Record a package durably; return False and change nothing if one of its name is recorded.

    Raises ``JoblistUnavailableError``.
    """
    folder = joblist.packages_path
    quoted = replace(
        package,
        name=quote(package.name),
        url=quote(package.url),
        items=tuple(map(quote, package.items)),
    )
    path = os.path.join(folder, filename_of(package.name) + _SUFFIX)
    try:
        os.makedirs(folder, exist_ok=True)
        is_new = create_file(path, msgspec.json.encode(quoted) + b"\n")
        sync_folder(folder)
    except OSError as error:
        raise JoblistUnavailableError(f"can't write {quote(path)}: {reason_of(error)}") from None
    return is_new


def read_received(joblist: JobList) -> dict[str, ReceivedPackage]:
    """Return the packages that a joblist has received, by name.

    Raises ``JoblistError`` for a file that isn't such a record, and ``JoblistUnavailableError``.
    """
    folder = joblist.packages_path
    try:
        names = sorted(os.listdir(folder))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise JoblistUnavailableError(f"can't read {quote(folder)}: {reason_of(error)}") from None
    found: dict[str, ReceivedPackage] = {}
    for name in names:
        if name.endswith(_SUFFIX) and not name.startswith("."):
            package = _read(os.path.join(folder, name))
            found[package.name] = package
    return found


def _read(path: str) -> ReceivedPackage:
    try:
        read = typed.decode(read_bounded(path, MAX_MANIFEST_BYTES), ReceivedPackage)
        if read.format != FORMAT:
            raise ValueError(f"expected the format {FORMAT}; found {read.format}")
        return replace(
            read,
            name=unquote(read.name),
            url=unquote(read.url),
            items=tuple(map(unquote, read.items)),
        )
    except (msgspec.DecodeError, ValueError, JobFileError, UnfitFileError) as error:
        raise JoblistError(
            f"{quote(path)} can't be read as the record of a received package: {error}. Remove it: "
            "the next jobtool receive writes it again."
        ) from None
    except OSError as error:
        raise JoblistUnavailableError(f"can't read {quote(path)}: {reason_of(error)}") from None
