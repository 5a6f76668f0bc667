"""The parts of a file: their size and their ranges."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

MEBIBYTE = 1024 * 1024

#: S3's limit. Other stores have none, and 10,000 is enough for them too.
MAX_PARTS = 10_000

#: Files of at least this size are sent in parts of this size, or larger to fit in 10,000 parts.
DEFAULT_PART_BYTES = 8 * MEBIBYTE


def part_size_for(size: int, wanted: int = DEFAULT_PART_BYTES) -> int:
    """Return the part size in bytes for a file of ``size`` bytes, so that 10,000 parts suffice."""
    needed = -(-size // MAX_PARTS)
    return max(wanted, -(-needed // MEBIBYTE) * MEBIBYTE)


def part_count(size: int, part_size: int) -> int:
    """Return how many parts a file of ``size`` bytes has; one if it is empty."""
    return max(-(-size // part_size), 1)


class PartRange(NamedTuple):
    """The range of a part in its file. ``number`` is from 1, the rest is in bytes."""

    number: int
    offset: int
    length: int


def ranges(size: int, part_size: int) -> Iterator[PartRange]:
    """Yield the ranges of the parts of a file of ``size`` bytes; one of 0 bytes if it is empty."""
    for index, offset in enumerate(range(0, max(size, 1), part_size)):
        yield PartRange(index + 1, offset, min(part_size, size - offset))
