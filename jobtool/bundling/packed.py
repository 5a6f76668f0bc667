"""Which items are in packages already, and whether they are still as they were packed.

Beside the list of a package's members lies a short file with its items,
``NAME.items.jsonl``: for each the digest of its list. It says nothing that the list doesn't say,
and is made again from that if it is missing or damaged.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import BinaryIO

import msgspec

from jobtool import typed
from jobtool.errors import JobFileError, JoblistUnavailableError, reason_of
from jobtool.jobs.atomic_write import replace_file
from jobtool.jobs.joblist import JobList
from jobtool.names import filename_of, quote, unquote
from jobtool.packages.memberfile import read_members
from jobtool.packages.members import MemberList

_FORMAT = 1
_SUFFIX = ".items.jsonl"

#: How many files are named that differ.
_NAMED = 3


class _Head(msgspec.Struct, frozen=True, tag="package-items"):
    format: int


class _Line(msgspec.Struct, frozen=True, tag="item"):
    name: str
    digest: str


class _End(msgspec.Struct, frozen=True, tag="end"):
    items: int


_Lines = _Head | _Line | _End


class PackedBefore(msgspec.Struct, frozen=True, gc=False):
    """The package of an item, and the fingerprint of the item's list of members."""

    package: str
    fingerprint: bytes


class PackedItems:
    """The items of all packages of a joblist, by name. It takes some 250 bytes for each."""

    def __init__(self, joblist: JobList) -> None:
        self._joblist = joblist
        self._items: dict[str, PackedBefore] = {}
        self._last: tuple[str, MemberList] | None = None

    def __len__(self) -> int:
        return len(self._items)

    def read(self, package: str, *, may_write: bool) -> None:
        """Add the items of a package.

        With ``may_write`` a file that is missing is made again. Raises ``PackageError`` if the list
        of members can't be read either, and ``JoblistUnavailableError``.
        """
        path = self._path_of(package)
        try:
            with open(path, "rb") as file:
                found = dict(_read(file))
        except (OSError, msgspec.DecodeError, ValueError, RecursionError, JobFileError):
            members = read_members(self._joblist.members_path_of(package))
            found = dict(fingerprints(members))
            if may_write:
                self._write(path, found)
        for name, fingerprint in found.items():
            self._items[name] = PackedBefore(package, fingerprint)

    def add(self, package: str, members: MemberList) -> None:
        """Add a package that has just been made, and write the file of its items."""
        found = dict(fingerprints(members))
        self._write(self._path_of(package), found)
        for name, fingerprint in found.items():
            self._items[name] = PackedBefore(package, fingerprint)

    def get(self, name: str) -> PackedBefore | None:
        """Return the package of an item; None if it isn't in one."""
        return self._items.get(name)

    def change_of(self, name: str, members: MemberList, *, may_be_gone: bool) -> str | None:
        """Return how an item differs from what was packed, in words; None if it doesn't.

        Sizes, times and names count. With ``may_be_gone`` files may be missing, as those that were
        released are. ``members`` are those of the item alone, as they are now.
        """
        before = self._items[name]
        if members.fingerprint() == before.fingerprint.hex():
            return None
        if self._last is None or self._last[0] != before.package:
            path = self._joblist.members_path_of(before.package)
            self._last = (before.package, read_members(path))
        packed = self._last[1]
        ranges = dict(packed.item_ranges())
        old = {
            packed.path_of(number): (packed.size_of(number), packed.mtime_of(number))
            for number in ranges.get(name, range(0))
        }
        new: list[bytes] = []
        changed: list[bytes] = []
        for number in range(len(members)):
            member = members.path_of(number)
            was = old.pop(member, None)
            if was is None:
                new.append(member)
            elif was != (members.size_of(number), members.mtime_of(number)):
                changed.append(member)
        gone = [] if may_be_gone else list(old)
        parts = [
            f"{what} {_shown(paths)}"
            for what, paths in (("new:", new), ("changed:", changed), ("gone:", gone))
            if paths
        ]
        return "; ".join(parts) or None

    def _path_of(self, package: str) -> str:
        return os.path.join(self._joblist.packages_path, filename_of(package) + _SUFFIX)

    def _write(self, path: str, items: dict[str, bytes]) -> None:
        lines: list[msgspec.Struct] = [_Head(_FORMAT)]
        lines += [_Line(quote(name), fingerprint.hex()) for name, fingerprint in items.items()]
        lines.append(_End(len(items)))
        try:
            replace_file(path, msgspec.json.Encoder().encode_lines(lines))
        except OSError as error:
            raise JoblistUnavailableError(
                f"can't write {quote(path)}: {reason_of(error)}"
            ) from None


def fingerprints(members: MemberList) -> Iterator[tuple[str, bytes]]:
    """Yield each item of a package with the fingerprint of its members alone."""
    for name, numbers in members.item_ranges():
        alone = MemberList()
        alone.extend(members, numbers)
        yield name, bytes.fromhex(alone.fingerprint())


def _read(file: BinaryIO) -> Iterator[tuple[str, bytes]]:
    decoder = typed.decoder_of(_Lines)
    count, is_whole = 0, False
    for number, text in enumerate(file):
        line = decoder.decode(text)
        if (number == 0) != (line == _Head(_FORMAT)) or is_whole:
            raise ValueError("expected a first line of this format, and nothing after the last")
        if isinstance(line, _Line):
            count += 1
            yield unquote(line.name), bytes.fromhex(line.digest)
        elif isinstance(line, _End):
            is_whole = line.items == count
    if not is_whole:
        raise ValueError("it was cut")


def _shown(paths: list[bytes]) -> str:
    named = ", ".join(quote(os.fsdecode(path)) for path in paths[:_NAMED])
    return named + (f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else "")
