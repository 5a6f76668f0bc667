"""Small and large files to a folder and to S3, beside the tools that people use today.

    python tests/benchmarks/throughput.py FOLDER [--small N] [--large N] [--rounds N]

Prints seconds (the best of the rounds) and the ratio to each peer in the same run. Peers: ``cp -r``
and ``rclone copy`` (which verify nothing and sizes and hashes, respectively). The S3 server is
``rclone serve s3`` on the same machine, so client and server share its cores. FOLDER is best on a
tmpfs, to measure the programs and not a disk.
"""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent.parent / "examples"))

import subprocess

from demo import BIN, s3_server

SMALL_BYTES = 32 * 1024
LARGE_BYTES = 256 * 1024 * 1024


def main() -> int:
    """Run it; return 0."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--small", type=int, default=4000, help="files of 32 KiB")
    parser.add_argument("--large", type=int, default=4, help="files of 256 MiB")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    root = arguments.folder / "jobtool-throughput"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    os.chdir(root)
    make("small", arguments.small, SMALL_BYTES)
    make("large", arguments.large, LARGE_BYTES)
    with s3_server(Path("server"), "bench") as environment:
        for data in ("small", "large"):
            contest(data, arguments.rounds, environment)
    os.chdir("/")
    shutil.rmtree(root)
    return 0


def make(name: str, count: int, size: int) -> None:
    """Write files of random bytes, a hundred to a folder."""
    for number in range(count):
        folder = Path(name, "plate", f"{number // 100:04d}")
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / str(number), "wb") as file:
            for _ in range(0, size, 1 << 20):
                file.write(os.urandom(min(size, 1 << 20)))


def contest(data: str, rounds: int, environment: Mapping[str, str]) -> None:
    """Have each program copy the same data, in turn, and print how long each took."""
    remote = {
        "RCLONE_CONFIG": "/dev/null",
        "RCLONE_CONFIG_S_TYPE": "s3",
        "RCLONE_CONFIG_S_PROVIDER": "Other",
        "RCLONE_CONFIG_S_ENDPOINT": environment["AWS_ENDPOINT_URL"],
        "RCLONE_CONFIG_S_ACCESS_KEY_ID": environment["AWS_ACCESS_KEY_ID"],
        "RCLONE_CONFIG_S_SECRET_ACCESS_KEY": environment["AWS_SECRET_ACCESS_KEY"],
    }
    everything = {**environment, **remote}
    runners: dict[str, dict[str, Callable[[], None]]] = {
        "to a folder": {
            "jobtool": lambda: jobtool(data, "copy-jobtool", everything),
            "rclone copy": lambda: run(everything, "rclone", "copy", data, "copy-rclone"),
            "cp -r": lambda: run(everything, "cp", "-r", data, "copy-cp"),
        },
        "to S3": {
            # A new prefix each time: the server remembers what it listed.
            "jobtool": lambda: jobtool(data, f"s3://bench/{secrets.token_hex(4)}", everything),
            "rclone copy": lambda: run(
                everything,
                *("rclone", "copy", "--transfers", "16", data),
                f"S:bench/{secrets.token_hex(4)}",
            ),
        },
    }
    for where, programs in runners.items():
        best = dict.fromkeys(programs, float("inf"))
        for _ in range(rounds):
            for name, program in programs.items():
                for path in ("copy-jobtool", "copy-rclone", "copy-cp", "joblist"):
                    shutil.rmtree(path, ignore_errors=True)
                started = time.monotonic()
                program()
                best[name] = min(best[name], time.monotonic() - started)
        ours = best.pop("jobtool")
        peers = ", ".join(
            f"{name} {theirs:.2f} s (ours is {ours / theirs:.2f}x)" for name, theirs in best.items()
        )
        print(f"{data} files {where}: jobtool {ours:.2f} s; {peers}", flush=True)


def jobtool(source: str, destination: str, environment: Mapping[str, str]) -> None:
    """Generate and transfer, verified and with receipts."""
    arguments = ("-i", source, "-o", "joblist", "-l", "tree", "-d", destination, "-v", "0")
    run(environment, "generate-joblist", *arguments)
    run(environment, "transfer-worker", "-i", "joblist", "-v", "0")


def run(environment: Mapping[str, str], *command: str) -> None:
    """Run a command of this virtual environment or of the system."""
    program = BIN / command[0]
    subprocess.run(
        [str(program) if program.exists() else command[0], *command[1:]],
        env={**os.environ, **environment},
        check=True,
    )


if __name__ == "__main__":
    raise SystemExit(main())
