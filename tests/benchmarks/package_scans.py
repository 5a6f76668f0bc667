"""What a look for work costs in a joblist of packages: calls of the filesystem, and time.

    python -m tests.benchmarks.package_scans FOLDER [--packages 170 1700] [--done 0.5]

Packages go from one site to two, are packed, copied, unpacked, verified, archived and released: 12
jobs each. A worker of a destination, for which there is nothing to do yet, looks three times.
strace counts the calls that may each be a message to the server of a shared filesystem. ``--done``
is the part of the packages that have been copied already, and that wait for a time to be unpacked.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from msgspec.structs import replace

from jobtool.jobs.job import JobStatus
from jobtool.jobs.joblist import JobList
from jobtool.stop import Stop
from jobtool.worker.environment import alone
from jobtool.worker.loop import Worker
from jobtool.worker.options import WorkerOptions
from jobtool.worker.schedule import Schedule
from tests.cluster.operations import SYSCALLS
from tests.commands import run_ok

SITES = """
[sites]
chile.buffer.url = "{0}/chile"
{1}
"""
_TO = """
{0}.buffer.url = "{1}/{0}/buffer"
{0}.processing.url = "{1}/{0}/work"
{0}.archive.url = "{1}/{0}/archive"
"""
_ROUTE = """
[[routes]]
type = "custom"
from = "chile.buffer"
to = "{0}.buffer"
"""
DESTINATIONS = ("cologne", "bonn")
LOOKS = 3

#: What a worker looks for between two looks, so that strace shows where one begins.
_MARK = "/jobtool-a-look-begins"
_CALL = re.compile(r"^(?:\d+ +)?(\w+)\(")


def main() -> int:
    """Run it; return 0."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--packages", type=int, nargs="+", default=[170, 1700])
    parser.add_argument("--done", type=float, default=0.5)
    parser.add_argument("--site", default="bonn")
    parser.add_argument("--look", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.look:
        look(arguments.look, arguments.site)
        return 0
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for count in arguments.packages:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            joblist = make_joblist(Path(folder), count, arguments.done)
            jobs = len(JobList.open(str(joblist)).job_ids())
            print(f"{count} packages, {jobs} jobs")
            times = run_looks(joblist, arguments.site, [])
            trace = Path(folder) / "trace"
            select = f"trace=?{',?'.join(SYSCALLS)}"
            strace = ["strace", "-f", "--seccomp-bpf", "-e", select, "-o", str(trace)]
            run_looks(joblist, arguments.site, strace)
            for number, (calls, line) in enumerate(zip(looks_in(trace), times, strict=True), 1):
                common = ", ".join(f"{name} {n:,}" for name, n in calls.most_common(6))
                total = calls.total()
                print(f"  look {number}: {line}; {total:,} calls, {total / jobs:.2f} a job")
                print(f"    {common}")
    return 0


def make_joblist(folder: Path, count: int, done: float) -> Path:
    """Make a joblist of packages of one tiny item each; return its path."""
    source, joblist = folder / "chile" / "source", folder / "list"
    source.mkdir(parents=True)
    for number in range(count):
        (source / f"item{number:06d}").write_bytes(b"1")
    to = "".join(_TO.format(site, folder) for site in DESTINATIONS)
    routes = "".join(map(_ROUTE.format, DESTINATIONS))
    (folder / "sites.toml").write_text(SITES.format(folder, to) + routes)
    command = ["generate-joblist", source, "-o", joblist, "-l", "packages", "-v", 0]
    command += ["--sites", folder / "sites.toml", "--from", "chile", "--package-size", "1B"]
    command += [word for site in DESTINATIONS for word in ("--to", site)]
    run_ok(*command, "--then", "unpack,verify,archive", "--release", "buffers")
    opened = JobList.open(str(joblist))
    for number in range(1, round(count * done) + 1):
        _finish(opened, f"list-{number:04d}")
    return joblist


def _finish(joblist: JobList, package: str) -> None:
    """Mark the steps of a package up to its copies as a success; what follows waits for a time."""
    for end in ("pack", *(f"copy.{site}" for site in DESTINATIONS)):
        path = Path(joblist.path_of(f"{package}.{end}"))
        path.write_text(path.read_text().replace("todo", JobStatus.SUCCESS.value, 1))
    for site in DESTINATIONS:
        job_id = f"{package}.unpack.{site}"
        job, log = joblist.load(job_id)
        later = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
        joblist.save(job_id, replace(job, not_before=later), log)


def run_looks(joblist: Path, site: str, before: Sequence[str]) -> list[str]:
    """Have a worker look several times; return the lines that it prints, one for each look."""
    command = [sys.executable, "-m", "tests.benchmarks.package_scans", str(joblist.parent)]
    command += ["--site", site, "--look", str(joblist)]
    done = subprocess.run([*before, *command], stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.splitlines()


def look(joblist: Path, site: str) -> None:
    """Be the worker."""
    stop, todo = Stop(), Schedule.run_todo
    looked = 0

    def run_todo(schedule: Schedule, job_ids: Sequence[str]) -> None:
        nonlocal looked
        os.path.exists(_MARK)
        if looked == LOOKS:
            stop.set("enough")
            return
        looked += 1
        began, cpu = time.monotonic(), time.process_time()
        todo(schedule, job_ids)
        wall, seconds = time.monotonic() - began, time.process_time() - cpu
        print(f"{wall:.3f} s, {seconds:.3f} s of CPU", flush=True)

    Schedule.run_todo = run_todo  # type: ignore[method-assign]
    stop_at = WorkerOptions(site=site, wait=True, stop=stop, share=False, max_jobs=None)
    Worker(JobList.open(str(joblist)), alone(os.environ), stop_at).run()


def looks_in(trace: Path) -> Iterator[Counter[str]]:
    """Yield the calls of each look in what strace wrote, the listing before the next included."""
    found: list[Counter[str]] = []
    with trace.open(errors="surrogateescape") as lines:
        for line in lines:
            if _MARK in line:
                found.append(Counter())
            elif found and (call := _CALL.match(line)):
                found[-1][call[1]] += 1
    yield from found[:-1]  # without what the worker did at its end


if __name__ == "__main__":
    raise SystemExit(main())
