"""One folder mounted at two places, like two nodes that don't share kernel locks."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.needs import lack, need_fuse

_BUSY_SECONDS = 5


@contextlib.contextmanager
def two_mounts(folder: Path, *options: str) -> Iterator[tuple[Path, Path]]:
    """Mount ``folder`` twice by bindfs, yield the two places, unmount them at the end.

    Each mount keeps its own kernel locks: a lock taken in one isn't seen in the other, or in the
    folder itself. ``options`` are bindfs's. Without bindfs or FUSE the test is skipped; with
    ``CI=true`` in the environment it fails.
    """
    with mounted(folder, *options) as path_a, mounted(folder, *options) as path_b:
        yield path_a, path_b


@contextlib.contextmanager
def mounted(folder: Path, *options: str, at: Path | None = None) -> Iterator[Path]:
    """Mount ``folder`` by bindfs at a new place, ``at`` if given; unmount it at the end."""
    need_fuse()
    if at is not None:
        at.mkdir()
    place = at or Path(tempfile.mkdtemp(prefix="mounted-"))
    try:
        command = ["bindfs", *options, str(folder), str(place)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        if done.returncode != 0:
            lack(f"bindfs can't mount here: {done.stderr.strip()}")
        try:
            yield place
        finally:
            _unmount(place)
    finally:
        place.rmdir()  # never its contents: they could be the folder's


def _unmount(place: Path) -> None:
    """Unmount. Processes with open files there get a moment first."""
    deadline = time.monotonic() + _BUSY_SECONDS
    while os.path.ismount(place):
        lazily = ["-z"] if time.monotonic() > deadline else []
        subprocess.run(["fusermount", "-u", *lazily, place], capture_output=True, timeout=30)
        time.sleep(0.02)
