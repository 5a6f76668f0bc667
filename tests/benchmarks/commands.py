"""The time that commands take besides moving data: their start, long joblists, mpirun.

    python -m tests.benchmarks.commands FOLDER [--jobs 216 10000] [--rounds N]

Prints medians of wall time, CPU time and memory. Each job is one file of 10 bytes, from a folder to
a folder. ``summarise-jobs`` stands beside a loop in Python that opens each job file and reads its
first line, ``mpirun -n 2 transfer-worker`` with nothing to do beside two ranks that initialise MPI
and end. FOLDER is best on a tmpfs.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
from pathlib import Path

from tests.benchmarks.installed import BIN, jobtool_program
from tests.benchmarks.peers.measure import Cost, measured

MPI = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
MPIRUN = shutil.which("mpirun", path=f"{BIN}:{os.environ['PATH']}")

_LOOP = """
import os, sys
for name in os.listdir(sys.argv[1]):
    if name.endswith(".txt"):
        with open(os.path.join(sys.argv[1], name), "rb") as file:
            file.readline()
"""


def shown(name: str, command: list[object], rounds: int) -> Cost:
    """Run a command some times; print and return the medians."""
    costs = []
    for _ in range(rounds):
        cost, error = measured([str(word) for word in command], MPI)
        if error:
            raise SystemExit(f"{name}: {error}")
        costs.append(cost)
    found = Cost(*(statistics.median(values) for values in zip(*costs, strict=True)))
    print(f"{name:48} {found.wall:8.2f} s {found.cpu:8.2f} s CPU {found.mebibytes:6.0f} MiB")
    return found


def starts(rounds: int) -> None:
    """What a command costs that does nothing."""
    shown("python -c pass", [sys.executable, "-c", "pass"], rounds)
    for name in ("transfer-worker", "generate-joblist", "summarise-jobs", "jobtool"):
        shown(f"{name} --help", [jobtool_program(name), "--help"], rounds)


def joblist_of(folder: Path, jobs: int, rounds: int) -> None:
    """What a joblist of many small jobs costs."""
    for number in range(jobs):
        job = folder / "in" / f"job{number:06d}"
        job.mkdir(parents=True)
        (job / "file").write_bytes(b"0123456789")
    joblist = folder / "list"
    places = ["-i", folder / "in", "-o", joblist, "-d", folder / "out", "-l", "tree"]
    shown(f"{jobs} jobs: generate-joblist", [jobtool_program("generate-joblist"), *places], 1)
    work = shown(
        f"{jobs} jobs: transfer-worker", [jobtool_program("transfer-worker"), "-i", joblist], 1
    )
    idle = shown(
        "  the same with nothing to do", [jobtool_program("transfer-worker"), "-i", joblist], rounds
    )
    print(f"  CPU for each job: {(work.cpu - idle.cpu) / jobs * 1000:.2f} ms")
    summary = shown("  summarise-jobs", [jobtool_program("summarise-jobs"), "-i", joblist], rounds)
    loop = shown("  a loop that opens each file", [sys.executable, "-c", _LOOP, joblist], rounds)
    print(f"  summarise-jobs ÷ loop: {summary.wall / loop.wall:.1f}")


def under_mpirun(folder: Path, rounds: int) -> None:
    """What mpirun costs with nothing to do, on the joblist of ``joblist_of``."""
    program = "from mpi4py import MPI; MPI.COMM_WORLD.Barrier()"
    two = [MPIRUN, "--oversubscribe", "-n", 2]
    alone = shown("mpirun -n 2, MPI alone", [*two, sys.executable, "-c", program], rounds)
    worker = [*two, jobtool_program("transfer-worker"), "-i", folder / "list"]
    ours = shown("mpirun -n 2 transfer-worker, nothing to do", worker, rounds)
    print(f"  more than MPI alone: {ours.wall - alone.wall:.2f} s")


def main() -> int:
    """Measure all; return 0."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--jobs", type=int, nargs="+", default=[216, 10000])
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    starts(arguments.rounds)
    for number, jobs in enumerate(arguments.jobs):
        folder = arguments.folder / "jobtool-commands"
        shutil.rmtree(folder, ignore_errors=True)
        joblist_of(folder, jobs, arguments.rounds)
        if number == 0 and MPIRUN is not None:
            under_mpirun(folder, arguments.rounds)
        shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
