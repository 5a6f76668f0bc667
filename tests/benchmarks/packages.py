"""Packing: the layout of a million members, and reading a package beside ``tar cf - | cat``.

    python -m tests.benchmarks.packages FOLDER [--members N] [--small N] [--mebibytes N]

FOLDER should be on a tmpfs. Each case is read several times in turn, and the best is shown: at
first as a worker reads it, in parts of 8 MiB with the MD5 of each member, then by GNU tar.
"""

from __future__ import annotations

import argparse
import io
import os
import resource
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from jobtool.packages.index import read_index, rows_of, write_index
from jobtool.packages.memberdigests import MemberDigests
from jobtool.packages.memberfile import read_members, write_members
from jobtool.packages.members import Member, MemberList, in_package_order
from jobtool.packages.store import PackageStore
from jobtool.packages.tarlayout import TarLayout
from jobtool.stores.local import LocalStore

PART_BYTES = 8 * 1024 * 1024


def main() -> int:
    """Run it; return 0."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--members", type=int, default=1_500_000)
    parser.add_argument("--small", type=int, default=50_000)
    parser.add_argument("--mebibytes", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    folder = arguments.folder / "jobtool-packages"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        small, large = folder / "small", folder / "large"
        make_files(small, arguments.small, 4096)
        make_files(large, 8, arguments.mebibytes * 1024 * 1024 // 8)
        for root in (small, large):
            compare(root, arguments.rounds)
        plan(folder, arguments.members)
    finally:
        shutil.rmtree(folder)
    return 0


def make_files(root: Path, count: int, size: int) -> None:
    """Make files of ``size`` bytes, a thousand to a folder."""
    for number in range(count):
        folder = root / f"{number // 1000:04}"
        if number % 1000 == 0:
            folder.mkdir(parents=True)
        (folder / f"{number % 1000}").write_bytes(os.urandom(size))


def timed(act: Callable[[], object]) -> tuple[float, float]:
    """Return the seconds of wall and of CPU that a call takes."""
    started, cpu = time.monotonic(), time.process_time()
    act()
    return time.monotonic() - started, time.process_time() - cpu


def compare(root: Path, rounds: int) -> None:
    """Read a tree as a package and by tar; print the best of each."""
    source = LocalStore(str(root))
    members = MemberList()
    for entry in source.list():
        members.add(Member(path=entry.path, size=entry.size, mtime_ns=entry.mtime_ns))
    total = TarLayout(members).total_size

    def read() -> None:
        store = PackageStore("p", members, source)
        for offset in range(0, total, PART_BYTES):
            store.read(store.entry, offset, min(PART_BYTES, total - offset))
        assert store.digests.missing_count == 0

    def tar() -> None:
        command = f"tar --format=posix -C '{root}' -cf - . | cat > /dev/null"
        subprocess.run(command, shell=True, check=True)

    found: dict[str, list[float]] = {"package": [], "tar": []}
    cpu = []
    for _ in range(rounds):
        wall, seconds = timed(read)
        found["package"].append(wall)
        cpu.append(seconds)
        found["tar"].append(timed(tar)[0])
    print(f"{root.name}: {len(members)} files, tar of {total / 2**20:,.0f} MiB")
    for name, times in found.items():
        best = min(times)
        print(
            f"  {name:8} {best:7.2f} s  {total / best / 2**20:8,.0f} MiB/s  "
            f"{len(members) / best:9,.0f} members/s"
        )
    print(f"  package  {min(cpu):7.2f} s of CPU")


def plan(folder: Path, count: int) -> None:
    """Make the layout of many members, all headers, list and index; print what each costs."""
    before = memory()
    made = MemberList()

    def show(what: str, act: Callable[[], object]) -> None:
        _, cpu = timed(act)
        print(f"  {what:28} {cpu:6.2f} s of CPU, {cpu / count * 1e6:5.2f} us a member")

    def add() -> None:
        for number in range(count):
            if number % 100_000 == 0:
                made.start_item(f"plate {number}")
            path = f"plate.zarr/{number // 100_000}/0/c/{number // 1000}/{number % 1000}"
            made.add(Member(path=path, size=4096, mtime_ns=1_700_000_000_123_456_789 + number))

    print(f"{count} members")
    show("added to a list", add)
    show("brought into order", lambda: in_package_order(made))
    path = str(folder / "members.jsonl")
    show("written as a list", lambda: write_members(path, made))
    show("read as a list", lambda: read_members(path))
    layouts: list[TarLayout] = []
    show("laid out", lambda: layouts.append(TarLayout(made)))
    layout = layouts[0]
    show("headers", lambda: [None for number in range(count) if not layout.header_of(number)])
    show("found by offset", lambda: [layout.find(n * 5632) for n in range(count)][-1])
    digests = MemberDigests(made)
    data = bytes(4088)

    def hash_all() -> None:
        for number in range(count):
            digests.add(number, 0, data + number.to_bytes(8, "little"))

    show("hashed", hash_all)
    print(f"  memory so far: {(memory() - before) / count:.0f} bytes a member at most")
    file = io.BytesIO()
    show("written as an index", lambda: write_index(file, rows_of(layout, digests)))
    print(f"  the index has {len(file.getvalue()) / count:.1f} bytes a member")
    show("index read", lambda: sum(1 for _ in read_index(file, name="x")))


def memory() -> int:
    """Return the most memory that this process has used, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    raise SystemExit(main())
