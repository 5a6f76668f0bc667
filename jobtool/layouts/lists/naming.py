"""The paths below a source that lists name, whatever they are written relative to."""

from __future__ import annotations

import os

from jobtool.layouts.lists.listed import ListedFile
from jobtool.stores.location import Location, inside, unfit_reason

#: How many absolute paths that lie elsewhere are followed to see whether links lead to the source.
_MOST_TRIES = 16

#: Listed objects' keys begin at their bucket.
_KEY_FORMATS = ("aws-ls", "inventory", "PARQUET", "ORC")


class Naming:
    """Finds the path below ``source``, a URL, of each file of a list in ``form``."""

    def __init__(self, source: str, form: str) -> None:
        self._source = source
        self._location = Location.parse(source)
        self._has_keys = form in _KEY_FORMATS
        self._starts = [] if self._has_keys else [os.fsencode(source.rstrip("/") + "/")]
        self._tries = _MOST_TRIES

    def path_of(self, listed: ListedFile) -> tuple[str | None, str]:
        """Return the path, and None with the reason if the file has none below the source.

        An empty path is the source itself, as ``find`` names it.
        """
        if self._has_keys:
            path, why = self._of_key(listed)
        else:
            path, why = self._relative(listed.name), ""
        if not path:
            return path, why
        reason = unfit_reason(path)
        return (None, f"a file's path can't have {reason}") if reason else (path, "")

    def _of_key(self, listed: ListedFile) -> tuple[str | None, str]:
        key = os.fsdecode(listed.name)
        if self._location.is_local:
            return key, ""
        if listed.bucket is not None and listed.bucket != self._location.name:
            return None, f"it is in the bucket {listed.bucket}"
        path = key if not self._location.path else inside(self._location.path, key)
        return path, "" if path else f"it isn't below {self._source}"

    def _relative(self, name: bytes) -> str:
        for start in self._starts:
            if name.startswith(start):
                return os.fsdecode(name[len(start) :])
        if name == os.fsencode(self._source):
            return ""
        if self._location.is_local and name.startswith(b"/") and self._tries:
            self._tries -= 1
            linked = self._linked_start(name)
            if linked is not None:
                self._starts.append(linked)
                return os.fsdecode(name[len(linked) :])
        name = name.lstrip(b"/")
        while name.startswith(b"./"):
            name = name[2:].lstrip(b"/")
        return "" if name == b"." else os.fsdecode(name)

    def _linked_start(self, name: bytes) -> bytes | None:
        """Return the part of an absolute path that leads to the source by links, if there is one.

        ``find`` prints the path that it was given.
        """
        parts = name.split(b"/")
        for depth in range(2, len(parts)):
            start = b"/".join(parts[:depth])
            if os.path.realpath(start) == os.fsencode(self._source):
                return start + b"/"
        return None
