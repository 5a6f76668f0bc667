"""Members of a package in the runs in which they are read: many small ones by one request."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from jobtool.errors import PackageError
from jobtool.md5 import hasher_for, md5_of
from jobtool.names import quote
from jobtool.packages.index import IndexRow
from jobtool.packages.package import Package, Placed

#: Members up to this size together are read by one request.
RUN_BYTES = 4 * 1024 * 1024

#: How many members are read by one request at most, and what may lie between two of them.
_RUN_MEMBERS = 256
HOLE_BYTES = 64 * 1024

#: How much of a large member is read at a time.
CHUNK_BYTES = 8 * 1024 * 1024


class Run(msgspec.Struct, frozen=True):
    """Members that stand one after the other, or a large one alone."""

    members: tuple[Placed, ...]

    @property
    def start(self) -> int:
        """The offset of the first header in the tar."""
        return self.members[0].start

    @property
    def size(self) -> int:
        """The number of bytes from there to the end of the last member's data."""
        return self.members[-1].end - self.start

    @property
    def is_small(self) -> bool:
        """Whether the run is read at once."""
        return self.size <= RUN_BYTES


def runs_of(members: Iterable[Placed]) -> Iterator[Run]:
    """Yield members, which are in the order of the tar, in runs."""
    held: list[Placed] = []
    for placed in members:
        if held and (
            placed.end - held[0].start > RUN_BYTES
            or placed.start - held[-1].end > HOLE_BYTES
            or len(held) == _RUN_MEMBERS
        ):
            yield Run(tuple(held))
            held = []
        held.append(placed)
    if held:
        yield Run(tuple(held))


def read_small(package: Package, run: Run) -> Iterator[tuple[IndexRow, memoryview]]:
    """Yield the members of a small run with their bytes, which aren't proven yet.

    Raises ``PackageError`` if the tar's headers say something else than the index, before any
    member is yielded, and the errors of ``Package.read``.
    """
    data = package.read(run.start, run.size)
    for placed in run.members:
        first, last = placed.start - run.start, placed.row.offset - run.start
        package.require_header(placed, data[first:last])
    for placed in run.members:
        yield placed.row, data[placed.row.offset - run.start : placed.end - run.start]


def chunks_of(package: Package, row: IndexRow) -> Iterator[memoryview]:
    """Yield the bytes of a member in order, and prove them.

    Raises ``PackageError`` after the last ones if their MD5 isn't that of the index, and the errors
    of ``Package.read``.
    """
    digest = hasher_for(row.size)
    for start in range(0, row.size, CHUNK_BYTES):
        data = package.read(row.offset + start, min(CHUNK_BYTES, row.size - start))
        digest.update(data)
        yield data
    require_md5(package, row, digest.hexdigest())


def read_proven(package: Package, placed: Placed) -> Iterator[memoryview]:
    """Yield the bytes of a member in order, after its header was checked.

    Raises the errors of ``chunks_of`` and ``Package.require_header``.
    """
    package.require_header(placed)
    return chunks_of(package, placed.row)


def md5_in(package: Package, row: IndexRow) -> str:
    """Return the MD5 of a member: that of the index or, without an index, of what is read."""
    if row.md5:
        return row.md5
    digest = hasher_for(row.size)
    for data in chunks_of(package, row):
        digest.update(data)
    return digest.hexdigest()


def require_md5(package: Package, row: IndexRow, found: str) -> None:
    """Raise ``PackageError`` if a member has another MD5 than the index says."""
    if row.md5 and found != row.md5:
        raise PackageError(
            f"{quote(package.url)}, member {quote(row.path)}: expected MD5 {row.md5}, as the index "
            f"says; found {found}. The tar was damaged or changed: fetch it again."
        )


def md5_of_data(package: Package, row: IndexRow, data: memoryview) -> str:
    """Return the MD5 of a member's bytes. Raises ``PackageError`` if the index has another."""
    found = md5_of(data)
    require_md5(package, row, found)
    return found
