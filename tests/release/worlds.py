"""Joblists whose jobs are done, and what is at the source, at the destination and in the trash."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jobtool
from jobtool.release.place import FILES, TRASH

FILES_OF = {
    "a/1": b"one\n" * 50,
    "a/deep/x \n'ü": b"",
    "b/2": b"two\n" * 70,
    "b/\udcff": b"name without UTF-8\n",
}
MTIME_NS = 1_700_000_000_123_456_789


@dataclass(frozen=True, slots=True)
class World:
    """A source ``data``, its copies, and the joblist."""

    folder: Path

    @property
    def source(self) -> Path:
        return self.folder / "data"

    @property
    def copies(self) -> Path:
        return self.folder / "copies"

    @property
    def joblist(self) -> Path:
        return self.folder / "jobs"

    @property
    def trash(self) -> Path:
        return self.folder / TRASH

    def release(self, **named: Any) -> jobtool.Released:
        return jobtool.release_jobs(str(self.joblist), **{"remove": True, **named})

    def left(self) -> dict[str, bytes]:
        return tree(self.source)

    def arrived(self) -> dict[str, bytes]:
        return tree(self.copies)

    def trashed(self) -> dict[str, bytes]:
        """The files in the trash, by the folder of their release and their path."""
        marker = f"/{FILES}/"
        return {path: data for path, data in tree(self.trash).items() if marker in path}


def tree(folder: Path) -> dict[str, bytes]:
    """The files below a folder by their paths."""
    return {
        os.path.relpath(os.path.join(base, name), folder): Path(base, name).read_bytes()
        for base, _, names in os.walk(folder)
        for name in names
    }


def fill(folder: Path, files: dict[str, bytes] | None = None) -> None:
    for path, data in (FILES_OF if files is None else files).items():
        full = folder / path
        full.parent.mkdir(parents=True, exist_ok=True)
        full.write_bytes(data)
        os.utime(full, ns=(MTIME_NS, MTIME_NS))


def moved_world(folder: Path, files: dict[str, bytes] | None = None, **options: Any) -> World:
    """A world whose jobs are done."""
    world = World(folder)
    fill(world.source, files)
    send(world, str(world.copies), **options)
    return world


def send(world: World, destination: str, **options: Any) -> None:
    jobtool.generate_joblist(
        str(world.source), str(world.joblist), destination=destination, **options
    )
    assert jobtool.transfer_jobs(str(world.joblist)).exit_code == 0


def reasons(released: jobtool.Released) -> dict[str, str]:
    """Why files stay, by the last part of their paths."""
    return {os.path.basename(one.path): one.reason for one in released.stays}


def deletions(world: World) -> list[dict[str, Any]]:
    """The records of all deletions, without lines that a kill has torn."""
    found = []
    for path in sorted((world.joblist / "deletions").glob("*.jsonl")):
        for line in path.read_text().splitlines():
            with contextlib.suppress(json.JSONDecodeError):
                found.append(json.loads(line))
    return found


def days_later(days: float, *, boot_days: float | None = None):
    """Clocks for a context: the time, and the seconds since the start of the machine."""
    import time

    def now() -> datetime:
        return datetime.now(UTC) + timedelta(days=days)

    def boot_seconds() -> float:
        passed = days if boot_days is None else boot_days
        return time.clock_gettime(time.CLOCK_BOOTTIME) + passed * 86400

    return now, boot_seconds
