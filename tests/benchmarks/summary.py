"""Looking at a long joblist: the first look, later ones, and what is seen on a terminal.

    python -m tests.benchmarks.summary FOLDER [--jobs N] [--rounds N]

FOLDER is best on a tmpfs. Of the jobs eight tenths are done, one is in error and one is to do. Each
later look follows a change of ten jobs. The terminal shows ``summarise-jobs --watch 0.2``: how long
it takes until anything is drawn, until all jobs are, and until a changed job is seen.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from jobtool.jobs.joblist import JobList
from jobtool.report.live import LiveJoblist
from jobtool.report.overview import overview_of
from tests.cli.terminals import Terminal
from tests.report.lists import make_joblist


def main() -> int:
    """Run it; return 0."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    folder = arguments.folder / "jobtool-summary"
    shutil.rmtree(folder, ignore_errors=True)
    make_joblist(folder, arguments.jobs)
    names = sorted(path.name for path in folder.glob("*.txt"))
    live = LiveJoblist(JobList.open(str(folder)))
    timed("first look", live.look)
    timed("first overview", lambda: overview_of(live))
    looks, views = [], []
    for each in range(arguments.rounds):
        for name in names[10 * each : 10 * each + 10]:
            change(folder / name)
        looks.append(timed("", live.look))
        views.append(timed("", lambda: overview_of(live)))
    for name, found in (("later look", looks), ("later overview", views)):
        wall, cpu = (statistics.median(times) for times in zip(*found, strict=True))
        print(f"{name:28} {wall:6.2f} s, {cpu:6.2f} s of CPU")
    on_terminal(folder, names, arguments.rounds)
    shutil.rmtree(folder)
    return 0


def on_terminal(folder: Path, names: list[str], rounds: int) -> None:
    """Print how long it takes until something is seen."""
    began = time.perf_counter()
    with Terminal("summarise-jobs", "--watch", "0.2", folder, columns=120) as terminal:
        for what, text in (("anything", " jobs:"), ("all jobs", f"{len(names):,} jobs:")):
            terminal.wait_for(text)
            print(f"on the screen: {what:13} {time.perf_counter() - began:6.2f} s")
        seen = []
        for each in range(rounds):
            (folder / f"new{each}.txt").write_text("todo\nsource: /in/new\n---\n")
            started = time.perf_counter()
            terminal.wait_for(f"{len(names) + each + 1:,} jobs:")
            seen.append(time.perf_counter() - started)
        print(f"on the screen: a new job     {statistics.median(seen):6.2f} s")
        terminal.press("\x03")
        terminal.end()


def change(path: Path) -> None:
    """Replace a job file as a worker does."""
    temporary = path.with_name(f".{path.name}.0123456789ab.tmp")
    temporary.write_bytes(path.read_bytes().replace(b"success", b"ongoing", 1))
    os.rename(temporary, path)


def timed(name: str, call: Callable[[], object]) -> tuple[float, float]:
    """Call; print and return the wall time and the CPU time in seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    found = time.perf_counter() - wall, time.process_time() - cpu
    if name:
        print(f"{name:28} {found[0]:6.2f} s, {found[1]:6.2f} s of CPU")
    return found


if __name__ == "__main__":
    raise SystemExit(main())
