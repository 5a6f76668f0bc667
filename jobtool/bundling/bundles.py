"""Which items go into one package: pure functions of the items' sizes, times and fields."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any, Literal

import msgspec

Order = Literal["name", "time"]


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """An item that is to be packed.

    ``size`` is in bytes, ``newest_ns`` the latest time of its members in nanoseconds since 1970.
    ``group`` holds its values of the fields to group by. ``seen`` is when it was first seen, in
    seconds since 1970. Its members are those from ``first`` on in a list of members.
    """

    name: str
    size: int
    members: int = 1
    newest_ns: int = 0
    group: tuple[str, ...] = ()
    seen: float = 0.0
    first: int = 0


class Bundle(msgspec.Struct, frozen=True):
    """Items that go into one package. ``is_full`` says that no further item belongs to it."""

    items: tuple[Item, ...]
    is_full: bool

    @property
    def group(self) -> tuple[str, ...]:
        """The values of the fields to group by, the same for each item."""
        return self.items[0].group

    @property
    def size(self) -> int:
        """The size of all items, in bytes."""
        return sum(item.size for item in self.items)

    @property
    def members(self) -> int:
        """The number of files."""
        return sum(item.members for item in self.items)

    def due_at(self, max_wait_seconds: float | None) -> float:
        """Return when the package is to be made, in seconds since 1970; 0 for at once."""
        if self.is_full or max_wait_seconds is None:
            return 0.0
        return min(item.seen for item in self.items) + max_wait_seconds


def bundled(items: Iterable[Item], *, package_bytes: int, order: Order) -> list[Bundle]:
    """Return the bundles of items.

    Items are taken in the order of their names' bytes, or of their ``newest_ns`` and then their
    names, group by group. None is split. A bundle is full once the next item of its group doesn't
    fit into ``package_bytes`` any more. An item that is larger than that is a bundle of its own,
    and the one before it goes on. The full ones come first, then the one of each group that isn't
    full.
    """
    full: list[Bundle] = []
    held: dict[tuple[str, ...], list[Item]] = {}
    sizes: dict[tuple[str, ...], int] = {}
    for item in sorted(items, key=_key_of(order)):
        if item.size >= package_bytes:
            full.append(Bundle((item,), is_full=True))
            continue
        waiting = held.setdefault(item.group, [])
        size = sizes.get(item.group, 0)
        if waiting and size + item.size > package_bytes:
            full.append(Bundle(tuple(waiting), is_full=True))
            waiting.clear()
            size = 0
        waiting.append(item)
        sizes[item.group] = size + item.size
    return full + [
        Bundle(tuple(waiting), is_full=sizes[group] >= package_bytes)
        for group, waiting in held.items()
        if waiting
    ]


def _key_of(order: Order) -> Callable[[Item], Any]:
    if order == "time":
        return lambda item: (item.newest_ns, os.fsencode(item.name))
    return lambda item: os.fsencode(item.name)
