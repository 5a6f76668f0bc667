"""Joblists of any number of jobs, written at once, with logs as workers write them."""

from __future__ import annotations

import random
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from jobtool.jobs.job import JobStatus
from jobtool.jobs.workerstates import SeenState
from jobtool.report.estimate import Estimate, Totals
from jobtool.report.jobline import JobLine

BEGIN = datetime(2026, 11, 20, 8, tzinfo=UTC)
WORKERS = 12
REASONS = ("Permission denied", "Input/output error")


def make_joblist(folder: Path, count: int, *, steps: int = 4) -> Path:
    """Make a joblist: of each ten jobs eight are done, one is in error and one is todo.

    ``steps`` is how many times a job tells its progress.
    """
    chance = random.Random(count)
    folder.mkdir()
    (folder / "joblist.toml").write_text(
        'format = 1\nsource = "/lustre/results"\ndestination = "s3://bucket/cpg0016"\n'
    )
    free_at = [BEGIN] * WORKERS
    for number in range(count):
        plate, batch, worker = f"A{1170000 + number}", f"J{number // 48:03d}", number % WORKERS
        size, seconds = chance.randrange(10**8, 10**10), chance.randrange(60, 600)
        start = free_at[worker]
        free_at[worker] = end = start + timedelta(seconds=seconds)
        status = {8: "error", 9: "todo"}.get(number % 10, "success")
        lines = [f"{stamp(start)} claimed worker=node{worker:02d}:47 rank={worker} attempt=1"]
        for step in range(1, steps):
            at = start + timedelta(seconds=seconds * step // steps)
            lines.append(f"{stamp(at)} progress files=1/9 bytes={size * step // steps}/{size}")
        if status == "error":
            reason = f"/in/{plate}: {REASONS[number // 10 % 2]}"
            lines.append(f'{stamp(end)} error files=1/9 bytes=0/{size} reason="{reason}"')
        else:
            lines.append(f"{stamp(end)} success files=9 bytes={size} seconds={seconds} attempt=1")
        header = (
            f"source: /lustre/results/{batch}/{plate}\ndestination: s3://bucket/{batch}/{plate}\n"
            f"{'' if status == 'todo' else 'attempts: 1'}\n"
            f"field.batch: {batch}\nfield.plate: {plate}\n---\n"
        ).replace("\n\n", "\n")
        log = "" if status == "todo" else "\n".join(lines) + "\n"
        (folder / f"{batch}__{plate}.txt").write_text(f"{status}\n{header}{log}")
    return folder


def stamp(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def estimate_of(
    lines: Iterable[JobLine], states: Iterable[SeenState], rate_mean: float | None
) -> Estimate:
    """What a list that has just been read says of jobs and of workers that are alive."""
    totals, ongoing = Totals(), []
    for each in lines:
        totals.add(each)
        if each.status is JobStatus.ONGOING:
            ongoing.append(each)
    return totals.estimate(states, ongoing, rate_mean)
