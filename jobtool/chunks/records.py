"""Records of chunks and files, and where chunks lie."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import TypedDict

import msgspec

from jobtool.chunks.states import StateManager

#: A file's source and destination.
Key = tuple[str, str]

#: A file whose transfer was stopped is ``pending`` again.
FILE_STATES = ("pending", "transferring", "merging", "finished", "errored")
CHUNK_STATES = ("pending", "running", "finished", "errored")

#: More chunks in one file are refused: each takes about 100 bytes of memory.
MAX_CHUNKS = 1_000_000


class Chunk(msgspec.Struct, frozen=True, kw_only=True):
    """One chunk: ``size`` bytes from ``offset`` of ``src``.

    They are, or will be, ``size`` bytes from ``position`` of ``path``: of a temporary file if
    chunks are merged, else of the destination. Once a file is merged, ``path`` is its destination.
    ``exception`` is that of the last try, if the chunk is ``errored``.
    """

    src: str
    offset: int
    size: int
    path: str
    position: int
    state: str = "pending"
    exception: Exception | None = None


class File(msgspec.Struct, frozen=True, kw_only=True):
    """One file of ``length`` bytes, with its state and its chunks in order."""

    src: str
    dst: str
    length: int
    state: str
    chunks: list[Chunk]
    exception: Exception | None = None


class FileState(TypedDict):
    """What the client holds about a file.

    ``cstates`` are the states of its chunks by offset. They are there from the moment at which the
    file is begun until it is finished. ``source`` is the source's identity, as a text. ``given`` is
    True if the caller gave the length.
    """

    length: int
    cstates: StateManager[int]
    exception: Exception | None
    errors: dict[int, Exception]
    source: str
    given: bool


def offsets_of(length: int, chunksize: int) -> range:
    """Return the offsets of a file's chunks. An empty file has one chunk, of no bytes."""
    return range(0, max(length, 1), chunksize)


def temporary_of(key: Key, length: int, source: str, chunksize: int, offset: int) -> str:
    """Return the name of a chunk's temporary file, for a version of the source.

    It is the same in every run. No other version of the source has it.
    """
    about = "\0".join((*key, str(length), source, str(chunksize)))
    digest = hashlib.sha256(about.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"{key[1]}.{digest}-{offset // chunksize:07d}.chunk"


def as_ranges(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Return ascending numbers as ranges, each with its first number and the one after its last."""
    ranges: list[tuple[int, int]] = []
    for number in numbers:
        if ranges and ranges[-1][1] == number:
            ranges[-1] = (ranges[-1][0], number + 1)
        else:
            ranges.append((number, number + 1))
    return ranges
