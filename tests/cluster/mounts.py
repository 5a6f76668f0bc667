"""One folder mounted twice, so that its two paths share files but no kernel locks."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.cluster.needs import need_fuse


@contextlib.contextmanager
def two_mounts(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Mount ``folder`` at two places beside it, as two nodes would."""
    first, second = (folder.with_name(f"{folder.name}-on-{node}") for node in ("a", "b"))
    with mounted(folder, first), mounted(folder, second):
        yield first, second


@contextlib.contextmanager
def mounted(folder: Path, at: Path, *options: str) -> Iterator[Path]:
    """Mount ``folder`` at ``at`` with bindfs, until the block is left in whatever way."""
    need_fuse()
    at.mkdir()
    subprocess.run(["bindfs", *options, folder, at], check=True)
    try:
        yield at
    finally:
        # Lazily where somebody still has a file open there: no mount may outlive its test.
        if subprocess.run(["fusermount", "-u", at], capture_output=True).returncode != 0:
            subprocess.run(["fusermount", "-u", "-z", at], check=True)
        at.rmdir()
