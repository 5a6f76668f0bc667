"""A job of a million empty files: a dry run, the copy, the time to find that all is done; memory.

    python tests/benchmarks/million_files.py FOLDER [--files N]

FOLDER should be on a filesystem with two million free inodes, such as a tmpfs. Peak memory is the
worker's largest resident set, as the kernel counted it.
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

BIN = Path(sys.executable).parent


def main() -> int:
    """Run it; return 0."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--files", type=int, default=1_000_000)
    arguments = parser.parse_args()
    folder = arguments.folder / "jobtool-million"
    shutil.rmtree(folder, ignore_errors=True)
    make_files(folder / "source" / "plate", arguments.files)
    joblist = str(folder / "joblist")
    generate = ["generate-joblist", "-i", str(folder / "source"), "-o", joblist, "-l", "tree"]
    run(*generate, "-d", str(folder / "copy"))
    report("dry run", arguments.files, run("transfer-worker", "-i", joblist, "--dry-run"))
    first = run("transfer-worker", "-i", joblist)
    report("copy", arguments.files, first)
    job = folder / "joblist" / "plate.txt"
    job.write_text(job.read_text().replace("success\n", "todo\n", 1))
    again = run("transfer-worker", "-i", joblist)
    report("all done already", arguments.files, again)
    shutil.rmtree(folder)
    return 0


def make_files(root: Path, count: int) -> None:
    """Make empty files, a thousand to a folder."""
    for start in range(0, count, 1000):
        inside = root / f"{start // 1000:04d}"
        inside.mkdir(parents=True)
        for number in range(start, min(start + 1000, count)):
            os.close(os.open(inside / f"{number:07d}", os.O_CREAT | os.O_WRONLY))


def run(*command: str) -> float:
    """Run a command; return its seconds."""
    started = time.monotonic()
    subprocess.run([str(BIN / command[0]), *command[1:], "-v", "0"], check=True)
    return time.monotonic() - started


def report(what: str, count: int, seconds: float) -> None:
    """Print a line."""
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    per_100k = seconds / count * 100_000
    print(
        f"{what}: {seconds:.1f} s, {per_100k:.2f} s per 100,000 files, peak {peak:.0f} MiB so far",
        flush=True,
    )


if __name__ == "__main__":
    raise SystemExit(main())
