"""Listing a tree by one thread and by several, on a fast and on a slow filesystem.

    python tests/benchmarks/walk.py FOLDER [--files N] [--slow-files N] [--milliseconds N]

FOLDER should be on a tmpfs. The slow filesystem is the same one, where each stat takes longer: the
C library's is replaced by one that sleeps first (tests/faults/faults.c). Trees have a thousand
files to a folder, or five.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

from jobtool.stores.local import LocalStore
from jobtool.stores.local.walk import DEFAULT_LISTING_THREADS

FAULTS = Path(__file__).parents[1] / "faults" / "faults.c"


def main() -> int:
    """Run it; return 0."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--files", type=int, default=200_000)
    parser.add_argument("--slow-files", type=int, default=5_000)
    parser.add_argument("--milliseconds", type=float, default=1.0)
    parser.add_argument("--list", type=int, help="list FOLDER by so many threads, and say how long")
    arguments = parser.parse_args()
    if arguments.list:
        list_once(arguments.folder, arguments.list)
        return 0
    folder = arguments.folder / "jobtool-walk"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    library = folder / "faults.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, FAULTS, "-ldl"], check=True)
    slow = {"LD_PRELOAD": str(library), "SLOW": str(int(arguments.milliseconds * 1000))}
    for name, environment, files in (
        ("fast", {}, arguments.files),
        ("slow", slow, arguments.slow_files),
    ):
        for each in (1000, 5):
            root = folder / f"{name}-{each}"
            make_files(root, files, each)
            for threads in (1, DEFAULT_LISTING_THREADS):
                print(
                    f"{name}, {each:4} files to a folder, {threads:2} thread(s): ",
                    end="",
                    flush=True,
                )
                command = [sys.executable, __file__, str(root), "--list", str(threads)]
                subprocess.run(command, env={**os.environ, **environment}, check=True)
    shutil.rmtree(folder)
    return 0


def make_files(root: Path, count: int, each: int) -> None:
    """Make empty files, ``each`` to a folder, a hundred folders to one above."""
    for start in range(0, count, each):
        number = start // each
        inside = root / f"{number // 100:04}" / f"{number:07}"
        inside.mkdir(parents=True)
        for name in range(each):
            os.close(os.open(inside / f"{name:04}", os.O_CREAT | os.O_WRONLY))


def list_once(root: Path, threads: int) -> None:
    """List a tree; print the time and the most memory."""
    started = time.monotonic()
    count = sum(1 for _ in LocalStore(str(root), listing_threads=threads).list())
    seconds = time.monotonic() - started
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"{count} files in {seconds:.2f} s, {count / seconds:,.0f} a second, {memory} MiB")


if __name__ == "__main__":
    sys.exit(main())
