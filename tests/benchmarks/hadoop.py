"""jobtool's ``stream`` beside Hadoop's own programs, with two clusters on this machine.

    python -m tests.benchmarks.hadoop FOLDER [--small N] [--large N] [--rounds N]

``--small`` files of 32 KiB in ten folders, and ``--large`` files of 256 MiB, go from a folder into
a cluster by ``stream`` and ``hdfs-put``, from there to the other cluster by ``stream`` and
``distcp``, inside it by ``stream``, ``server-side`` if the store has it, and ``hdfs-cp``, and back
by ``stream`` and ``hdfs-get``. The table has medians in seconds, from the start of the worker to
the receipts of all files. distcp runs without YARN, in one process. FOLDER must hold the large
files eight times.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from tests.servers.hadoop import hadoop_environment
from tests.servers.hdfs import hdfs_server

BIN = Path(sys.executable).parent
SMALL_BYTES = 32 * 1024
LARGE_BYTES = 256 * 1024 * 1024


def main() -> int:
    """Run it; return 0."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--small", type=int, default=200)
    parser.add_argument("--large", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    root = arguments.folder.resolve() / "jobtool-hadoop"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    sizes = {
        f"{arguments.small} × 32 KiB": (arguments.small, SMALL_BYTES),
        f"{arguments.large} × 256 MiB": (arguments.large, LARGE_BYTES),
    }
    block = 128 * 1024 * 1024
    with (
        hdfs_server(root / "one", block_bytes=block) as one,
        hdfs_server(root / "two", block_bytes=block) as two,
    ):
        environment = {**os.environ, **hadoop_environment(root / "programs", one)}
        print("| files | way | method | s |\n| --- | --- | --- | --- |")
        for name, (count, size) in sizes.items():
            tree = root / f"tree{size}"
            make(tree, count, size)
            up = f"{one.hdfs}/up{size}"
            ways = {
                "into HDFS": (str(tree), up, ("stream", "hdfs-put")),
                "to another cluster": (up, f"{two.hdfs}/x{size}", ("stream", "distcp")),
                "inside a cluster": (up, f"{one.hdfs}/x{size}", ("stream", "hdfs-cp")),
                "out of HDFS": (up, str(root / f"down{size}"), ("stream", "hdfs-get")),
            }
            for way, (source, destination, methods) in ways.items():
                for method in methods:
                    seconds = [
                        run(root / "list", source, destination, method, environment)
                        for _ in range(arguments.rounds)
                    ]
                    print(f"| {name} | {way} | {method} | {statistics.median(seconds):.1f} |")
    shutil.rmtree(root)
    return 0


def make(tree: Path, count: int, size: int) -> None:
    """Write files of random bytes into ten folders of one item."""
    for number in range(count):
        path = tree / "item" / f"{number % 10}" / f"{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(size))


def run(
    joblist: Path, source: str, destination: str, method: str, environment: Mapping[str, str]
) -> float:
    """Transfer once, replacing what is there; return the seconds that the worker took."""
    shutil.rmtree(joblist, ignore_errors=True)
    generate = ["generate-joblist", "-i", source, "-o", joblist, "-d", destination, "-l", "tree"]
    call(generate, environment)
    started = time.monotonic()
    worker = ["transfer-worker", "-i", joblist, "--methods", method, "--if-exists", "overwrite"]
    call(worker, environment)
    seconds = time.monotonic() - started
    shutil.rmtree(destination, ignore_errors=True)
    if destination.startswith("hdfs://") and not destination.rpartition("/")[2].startswith("up"):
        path = "/" + destination.partition("://")[2].partition("/")[2]
        remove = (
            "import sys, hdfs_native; hdfs_native.Client(sys.argv[1]).delete(sys.argv[2], True)"
        )
        subprocess.run(
            [sys.executable, "-c", remove, destination.removesuffix(path), path],
            check=True,
            env=dict(environment),
        )
    return seconds


def call(command: list[object], environment: Mapping[str, str]) -> None:
    """Run one of jobtool's commands, which must succeed."""
    name, *rest = map(str, command)
    subprocess.run([BIN / name, *rest], check=True, env=dict(environment), capture_output=True)


if __name__ == "__main__":
    sys.exit(main())
