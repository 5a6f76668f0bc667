"""Lists of members for hypothesis, and a store that has any file of any size."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator

from hypothesis import strategies as st

from jobtool.errors import NotFoundError, SourceChangedError
from jobtool.packages.members import Member, MemberList
from jobtool.stores.location import unfit_reason
from jobtool.stores.sourceonly import SourceOnly
from jobtool.stores.store import Attributes, Capabilities, Child, Content, Entry, StatResult
from tests.strategies import names

GIB = 1024**3
OCTAL = 8 * GIB  # the first size that ustar's eleven octal digits don't hold

SIZES = [0, 1, 511, 512, 513, 1023, 1024, 4096, 100_000]
HUGE = [OCTAL - 513, OCTAL - 1, OCTAL, OCTAL + 511, 5 * 1024 * GIB]
SECOND = 10**9
TIMES = [
    *(0, 1, SECOND, 1_700_000_000 * SECOND, 1_700_000_000_123_456_789, 1_700_000_000_500_000_000),
    *(-1, -SECOND, -1_500_000_000, (8**11 - 1) * SECOND, 8**11 * SECOND, 2**63 - 1, -(2**63)),
]

#: Paths as a tree has them: relative, parts of 255 bytes at most.
_parts = names.map(lambda name: os.fsdecode(os.fsencode(name.replace("/", "_"))[:255])).filter(
    lambda name: name not in ("", ".", "..")
)
#: Lengths at which a header changes its form.
_lengths = st.sampled_from([99, 100, 101, 154, 155, 156, 255, 256, 257, 400, 401, 412, 5000])


def _of_length(length: int, part: int) -> str:
    """A path of exactly ``length`` bytes in parts of about ``part``."""
    text = "/".join(["p" * part] * (length // (part + 1) + 1))[:length]
    return text[:-1] + "q"


paths = (
    st.lists(_parts, min_size=1, max_size=4).map("/".join)
    | st.builds(_of_length, _lengths, st.sampled_from([30, 60, 99, 100, 155, 250]))
).filter(lambda path: unfit_reason(path) is None)


def members_of(sizes, *, path=paths):
    """Members of such sizes, with paths, times and permissions that are difficult."""
    return st.builds(
        Member,
        path=path,
        size=st.sampled_from(sizes),
        mtime_ns=st.sampled_from(TIMES) | st.integers(0, 2**62),
        mode=st.sampled_from([0, 0o644, 0o755, 0o7777]),
    )


def list_of(members, items=1) -> MemberList:
    """A list of those members that don't stand in the way of others before them."""
    found = MemberList()
    files, folders = set(), set()
    for number, member in enumerate(members):
        parts = member.path.split("/")
        above = {"/".join(parts[:end]) for end in range(1, len(parts))}
        if member.path in files | folders or above & files:
            continue
        if number % items == 0:
            found.start_item(member.path if items == 1 else f"item {number}")
        files.add(member.path)
        folders |= above
        found.add(member)
    return found


def lists(sizes=tuple(SIZES), *, path=paths, most=6):
    return st.lists(members_of(sizes, path=path), max_size=most).map(list_of)


class Endless(SourceOnly):
    """Has each file of a list. The bytes of a file are a function of its path and the offset.

    ``changed`` are paths that have another time now, ``gone`` those that don't exist any more.
    """

    url = "endless://"

    def __init__(self, members: MemberList, *, cheap_reads=True) -> None:
        self.capabilities = Capabilities(cheap_reads=cheap_reads)
        self.sizes = {member.source_path: member.size for member in members}
        self.reads: list[tuple[str, int, int]] = []
        self.changed: set[str] = set()
        self.gone: set[str] = set()

    def read(self, entry: Entry, offset: int, length: int) -> Content:
        self.reads.append((entry.path, offset, length))
        if entry.path in self.gone:
            raise NotFoundError(f"nothing at {entry.path}")
        if entry.path in self.changed:
            raise SourceChangedError(f"{entry.path} was changed")
        assert 0 <= offset <= offset + length <= self.sizes[entry.path]
        data = content_of(entry.path, offset, length)
        return Content(data=data, attributes=Attributes(mtime_ns=entry.mtime_ns))

    def stat(self, path: str, *, file_only: bool = False) -> StatResult:
        raise NotImplementedError

    def children(self, path: str) -> Iterator[Child]:
        raise NotImplementedError

    def list(self) -> Iterator[Entry]:
        raise NotImplementedError

    def digest(self, path: str) -> str:
        raise NotImplementedError


def content_of(path: str, offset: int, length: int) -> bytes:
    """The bytes of a file of an ``Endless``."""
    period = hashlib.sha256(os.fsencode(path)).digest() * 4  # of 128 bytes
    start = offset % len(period)
    return (period * (length // len(period) + 2))[start : start + length]
