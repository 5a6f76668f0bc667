"""Which items are unpacked at a place, so that no two packages bring the same one."""

from __future__ import annotations

from collections.abc import Iterator

from jobtool.receiving.record import ReceivedPackage


class UnpackedItems:
    """The items of the packages that are unpacked at one place, by their paths there."""

    def __init__(self) -> None:
        self._items: dict[str, str] = {}
        self._above: dict[str, str] = {}

    def add(self, package: ReceivedPackage) -> None:
        """Add a package's items."""
        for item in package.items:
            self._items.setdefault(item, package.name)
            for folder in _folders_above(item):
                self._above.setdefault(folder, package.name)

    def in_the_way(self, package: ReceivedPackage) -> tuple[str, str] | None:
        """Return an item of a package that others have, or lie around or in, and which package.

        None if there is no such item.
        """
        for item in package.items:
            other = self._items.get(item) or self._above.get(item)
            for folder in _folders_above(item):
                other = other or self._items.get(folder)
            if other is not None:
                return item, other
        return None


def _folders_above(path: str) -> Iterator[str]:
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path
