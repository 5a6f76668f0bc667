"""References to the members of packages, by which fsspec and zarr read them in place.

The format is version 1 of kerchunk's: a JSON object whose ``refs`` have ``[url, offset, size]`` for
each path, or the bytes themselves as text. Source: fsspec's documentation of
``ReferenceFileSystem``, and kerchunk's "References specification".
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import suppress

from jobtool.errors import NotFoundError, PackageError, UsageError, reason_of
from jobtool.jobs.atomic_write import sync_folder
from jobtool.jobs.outputfile import require_folder
from jobtool.names import is_text, quote
from jobtool.packages.distinct import DistinctPaths
from jobtool.packages.package import Package
from jobtool.stores.location import is_local

VERSION = 1


def references(packages: Sequence[Package], *, below: str = "") -> Iterator[tuple[str, str]]:
    """Yield each member's path and its reference as JSON, in the order of the packages.

    ``below`` is a folder: only its members are named, by their paths below it. An empty member has
    no bytes to refer to, so its reference is an empty text.

    Raises ``PackageError`` for two members of one path, also of two packages, for a path that isn't
    UTF-8, which JSON can't hold, and what ``Package.members`` raises. Raises ``NotFoundError`` if
    there is no member.
    """
    prefix = f"{below.rstrip('/')}/" if below else ""
    several = packages[0].url if len(packages) == 1 else f"{len(packages)} packages"
    paths = DistinctPaths(several)
    is_any = False
    for package in packages:
        url = f"file://{package.url}" if is_local(package.url) else package.url
        _require_text(url, url)
        shown = json.dumps(url)
        for placed in package.members():
            row = placed.row
            if not row.path.startswith(prefix):
                continue
            is_any = True
            path = row.path[len(prefix) :]
            _require_text(path, package.url)
            paths.add(path)
            yield path, f"[{shown},{row.offset},{row.size}]" if row.size else '""'
    if not is_any:
        raise NotFoundError(
            f"{quote(several)}: expected members below {quote(below or '.')}; found none. See "
            "jobtool ls."
        )


def write_references(packages: Sequence[Package], output: str, *, below: str = "") -> int:
    """Write the references to a local file, atomically, in bounded memory; return their number.

    Raises the errors of ``references``, and ``UsageError`` if the file can't be written.
    """
    require_folder(output)
    folder, name = os.path.split(output)
    temporary = os.path.join(folder, f".{name}.{secrets.token_hex(6)}.tmp")
    count = 0
    try:
        with open(temporary, "x", encoding="utf-8") as file:
            file.write(f'{{"version":{VERSION},"refs":{{')
            for path, reference in references(packages, below=below):
                file.write(f"{',' if count else ''}\n{json.dumps(path)}:{reference}")
                count += 1
            file.write("\n}}\n")
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, output)
        sync_folder(folder)
    except OSError as error:
        raise UsageError(f"can't write {quote(output)}: {reason_of(error)}") from None
    finally:
        with suppress(OSError):
            os.unlink(temporary)
    return count


def _require_text(text: str, name: str) -> None:
    if not is_text(text):
        raise PackageError(
            f"{quote(name)}: expected names in UTF-8, since references are JSON; found "
            f"{quote(text)}"
        )
