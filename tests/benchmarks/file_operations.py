"""What a worker asks of the filesystem for each job, counted by strace.

    python tests/benchmarks/file_operations.py FOLDER [--jobs 100 1000 10000] [--claims lock|lease]

Every job is one small file, from a folder to a folder. What a worker does once, from the imports to
the end of its first job, is measured on a list of one job and left out. With four workers, the
figures are of all of them together, and what they do once is measured on a list of forty.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.cluster.operations import KINDS, count, make_joblist, per_job, trace

WORKERS = 4
TRACED = 100

#: What several workers do only once is measured on a list in which each of them gets a job.
FIRST_SHARED = 10 * WORKERS


def main() -> int:
    """Run it; return 0."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--jobs", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--claims", choices=["lock", "lease"], help="instead of the default")
    arguments = parser.parse_args()
    root = arguments.folder.resolve() / "jobtool-operations"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    by_size(root, arguments.jobs, arguments.claims)
    by_kind(root, arguments.claims)
    shutil.rmtree(root)
    return 0


def by_size(root: Path, sizes: list[int], claims: str | None) -> None:
    """Print the figures for lists of several sizes."""
    alone: dict[int, Counter[str]] = {}
    again: dict[int, Counter[str]] = {}
    shared: dict[int, Counter[str]] = {}
    for size in (1, *sizes):
        joblist = make_joblist(root / str(size), size)
        alone[size] = count(joblist, claims=claims)
        again[size] = count(joblist, claims=claims)
        shutil.rmtree(root / str(size))
    for size in (FIRST_SHARED, *sizes):
        joblist = make_joblist(root / str(size), size)
        shared[size] = count(joblist, workers=WORKERS, claims=claims)
        shutil.rmtree(root / str(size))
    table("Per job, to do", beyond(alone, 1))
    table("Per job, all done already", beyond(again, 1))
    table(f"Per job, to do, {WORKERS} workers", beyond(shared, FIRST_SHARED))


def beyond(counts: Mapping[int, Counter[str]], first: int) -> dict[int, dict[str, float]]:
    """Return the cost of each job that a list has in addition to the list of ``first`` jobs."""
    return {
        size: per_job(counts[size], counts[first], size - first) for size in counts if size > first
    }


def by_kind(root: Path, claims: str | None) -> None:
    """Print which files the operations of a job access."""
    found: list[Counter[tuple[str, str]]] = []
    for size in (1, 1 + TRACED):
        found.append(trace(make_joblist(root / f"traced-{size}", size), claims=claims))
    each = per_job(found[1], found[0], TRACED)
    columns = {
        kind: {name: number for (its, name), number in each.items() if its == kind}
        for kind in KINDS
    }
    table(f"Per job of {TRACED}, by kind of file", columns)


def table(title: str, columns: Mapping[object, Mapping[str, float]]) -> None:
    """Print numbers, a row for each system call."""
    names = sorted({name for column in columns.values() for name in column})
    headings = [str(heading) for heading in columns]
    print(f"\n{title}\n\n| call | {' | '.join(headings)} |")
    print(f"| --- |{' ---: |' * len(headings)}")
    for name in names:
        numbers = [column.get(name, 0.0) for column in columns.values()]
        if any(round(abs(number), 2) for number in numbers):
            print(f"| {name} | {' | '.join(f'{number:.2f}' for number in numbers)} |")
    totals = [f"{sum(column.values()):.2f}" for column in columns.values()]
    print(f"| all | {' | '.join(totals)} |", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
