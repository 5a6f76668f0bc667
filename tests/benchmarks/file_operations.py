"""What a worker asks of the filesystem for each job, counted by strace.

    python tests/benchmarks/file_operations.py FOLDER [--jobs 100 1000 10000] [--claims lock|lease]

Every job is one small file, from a folder to a folder. What a worker does once, from the imports to
the end of its first job, is measured on a list of one job and left out. With four workers, the
figures are of all of them together.
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
    columns = {"to do": {}, "all done": {}, f"{WORKERS} workers": {}}
    first = {}
    for size in (1, *sizes):
        joblist = make_joblist(root / str(size), size)
        found = {"to do": count(joblist, claims=claims), "all done": count(joblist, claims=claims)}
        shared = make_joblist(root / f"{size}-shared", size)
        found[f"{WORKERS} workers"] = count(shared, workers=WORKERS, claims=claims)
        for what, counts in found.items():
            first.setdefault(what, counts)
            if size > 1:
                columns[what][size] = per_job(counts, first[what], size - 1)
        shutil.rmtree(root / str(size))
        shutil.rmtree(root / f"{size}-shared")
    for what, figures in columns.items():
        table(f"Per job, {what}", figures)


def by_kind(root: Path, claims: str | None) -> None:
    """Print which files the operations of a job are about."""
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
