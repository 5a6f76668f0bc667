"""The order of names in a listing.

A service may compare names as UTF-16, in which characters beyond U+FFFF sort before those from
U+E000 to U+FFFF. As UTF-8, and so as bytes, they sort after them. Azure doesn't say how it compares
names; Azurite compares them as UTF-16.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

_BEYOND = re.compile(r"[\U00010000-\U0010ffff]")

#: How many items are held back at most.
MOST_HELD = 50_000


def in_byte_order(
    items: Iterable[T], name_of: Callable[[T], str], *, most: int = MOST_HELD
) -> Iterator[T]:
    """Yield items in the order of the bytes of their names, which are listed in either order.

    An item with a character beyond U+FFFF is held back until the names have ended that begin as it
    does before that character. If more than ``most`` were held, they are yielded: their order is
    that of the listing then.
    """
    held: list[tuple[str, bytes, T]] = []
    for item in items:
        name = name_of(item)
        if held and not name.startswith(held[-1][0]):
            yield from _sorted(each for each in held if not name.startswith(each[0]))
            held = [each for each in held if name.startswith(each[0])]
        found = _BEYOND.search(name)
        if found is None:
            yield item
            continue
        held.append((name[: found.start()], name.encode(), item))
        if len(held) > most:
            yield from _sorted(held)
            held = []
    yield from _sorted(held)


def _sorted(held: Iterable[tuple[str, bytes, T]]) -> list[T]:
    return [item for _, _, item in sorted(held, key=lambda each: each[1])]
