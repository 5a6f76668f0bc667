"""One file in a list."""

from __future__ import annotations

from typing import Literal

import msgspec

from jobtool.errors import LayoutError
from jobtool.names import quote

#: The formats of lists that may be asked for.
ListFormat = Literal["auto", "lines", "null", "find", "aws-ls", "inventory"]


class ListedFile(msgspec.Struct, frozen=True):
    """A file as a list names it: bytes as they stand there, decoded.

    ``bucket`` is that of an object if the list says it. ``size`` is in bytes, ``mtime_ns`` in
    nanoseconds since 1970; None if the list doesn't say.
    """

    name: bytes
    bucket: str | None = None
    size: int | None = None
    mtime_ns: int | None = None
    is_folder: bool = False


class ListCounts(msgspec.Struct, kw_only=True):
    """What a list names beside files: other versions, delete markers, folders."""

    old_versions: int = 0
    delete_markers: int = 0
    folders: int = 0


def malformed(shown: str, where: str, expected: str, found: str) -> LayoutError:
    """Return the error of a list in which something else was expected."""
    return LayoutError(f"{quote(shown)}{where}: expected {expected}; found {found}")
