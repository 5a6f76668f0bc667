"""The cases: which data goes from where to where."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Way = Literal["up", "down", "local"]

KIBIBYTE = 1024
MEBIBYTE = 1024 * KIBIBYTE


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One case: ``data`` names what is moved, ``way`` from where to where."""

    name: str
    data: str
    way: Way
    title: str


_DATA = {
    "small": "4,000 files of 32 KiB",
    "large": "4 files of 256 MiB",
    "huge": "one file of 1 GiB",
    "mixed": "2,000 files from 1 KiB to 64 MiB, 137 MiB in all",
    "zarr": "20 zarr plates of 200 chunks",
}
_WAYS: dict[Way, str] = {"up": "to S3", "down": "from S3 to a folder", "local": "to a folder"}

CASES = {
    f"{data}-{way}": Case(
        name=f"{data}-{way}", data=data, way=way, title=f"{_DATA[data]}, {_WAYS[way]}"
    )
    for data in _DATA
    for way in _WAYS
}


def make_data(name: str, folder: Path, scale: float) -> None:
    """Write random data; ``scale`` is the part of it to make, of a file in parts its size."""
    for path, size in _MAKERS[name](scale):
        full = folder / path
        full.parent.mkdir(parents=True, exist_ok=True)
        with open(full, "wb") as file:
            for at in range(0, size, MEBIBYTE):
                file.write(os.urandom(min(size - at, MEBIBYTE)))


Sizes = list[tuple[str, int]]


def _small(scale: float) -> Sizes:
    count = max(1, round(4000 * scale))
    return [(f"plate/{number // 100:04d}/{number}", 32 * KIBIBYTE) for number in range(count)]


def _large(scale: float) -> Sizes:
    return [(f"plate/{number}", round(256 * MEBIBYTE * scale)) for number in range(4)]


def _huge(scale: float) -> Sizes:
    return [("plate/huge", round(1024 * MEBIBYTE * scale))]


def _mixed(scale: float) -> Sizes:
    """Each size from 1 KiB to 64 MiB has half as many files as the one below it."""
    sizes: Sizes = []
    for power in range(17):
        count = max(1, round(1000 * scale / 2**power))
        sizes += [(f"plate/{power}/{number}", KIBIBYTE << power) for number in range(count)]
    return sizes


def _zarr(scale: float) -> Sizes:
    sizes: Sizes = []
    for plate in range(max(1, round(20 * scale))):
        sizes.append((f"plate/{plate:02d}.zarr/zarr.json", 700))
        sizes += [(f"plate/{plate:02d}.zarr/c/{n // 20}/{n % 20}", 60_000) for n in range(200)]
    return sizes


_MAKERS: dict[str, Callable[[float], Sizes]] = {
    "small": _small,
    "large": _large,
    "huge": _huge,
    "mixed": _mixed,
    "zarr": _zarr,
}
