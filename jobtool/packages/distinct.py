"""Whether the paths of a package are distinct, and none is both a file and a folder."""

from __future__ import annotations

from jobtool.errors import PackageError
from jobtool.names import quote


class DistinctPaths:
    """Takes paths one after the other. A million take about 100 MB.

    It keeps hashes of 64 bits, by a key of this process. Two different paths of a million have the
    same one with a probability of three in a hundred million; such a package would be refused.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._files: set[int] = set()
        self._folders: set[int] = set()
        self._last = ""

    def add(self, path: str) -> None:
        """Add a path. Raises ``PackageError`` if it is in the way of an earlier one."""
        key = hash(path)
        if key in self._files:
            raise PackageError(
                f"{quote(self._name)}: expected each path once; found two members {quote(path)}"
            )
        if key in self._folders:
            raise self._both(path)
        self._files.add(key)
        folder = path.rpartition("/")[0]
        if folder != self._last:
            self._last = folder
            while folder:
                above = hash(folder)
                if above in self._files:
                    raise self._both(folder)
                self._folders.add(above)
                folder = folder.rpartition("/")[0]

    def _both(self, path: str) -> PackageError:
        return PackageError(
            f"{quote(self._name)}: expected {quote(path)} to be a file or a folder; found a member "
            "of that path and members below it"
        )
