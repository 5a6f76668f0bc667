"""How much a joblist holds, how fast it goes and how long it will take.

Sizes are known of jobs whose files have been listed. The others are taken to be like these.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from jobtool.jobs.job import JobStatus
from jobtool.jobs.packagetask import BRINGS_NOTHING
from jobtool.jobs.workerstates import PAUSED, WORKING, SeenState, WorkerState
from jobtool.report.jobline import JobLine
from jobtool.report.rates import moved
from jobtool.units import duration_text, rate_text

#: Jobs that a worker will do, or does.
_TO_DO = (JobStatus.TODO, JobStatus.ONGOING)

#: How coarse a time left is told: below each limit in steps of so many seconds.
_STEPS = ((60, 10), (600, 30), (3600, 60), (36_000, 600), (172_800, 3600), (float("inf"), 21_600))


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """What a joblist holds, and how long the rest takes. Sizes in bytes, rates in bytes a second.

    ``files_done`` and ``bytes_done`` have arrived, or are about to in jobs under way, or are in the
    kept parts of jobs that were handed back.
    ``files_known`` and ``bytes_known`` are all of the ``jobs_known`` jobs whose size is known.
    ``files_total`` and ``bytes_total`` are those of all jobs, the others being estimated from the
    known ones; None if no size is known. ``bytes_left`` is what workers have still to do: without
    jobs in error. ``rate_now`` is that of the last half minute, of all workers together, None if no
    worker tells one; ``rate_mean`` is that of the whole time in which anything was under way.
    ``seconds_left`` is None without evidence: nothing moves now, or no size is known.
    """

    jobs: int = 0
    jobs_done: int = 0
    jobs_known: int = 0
    files_done: int = 0
    bytes_done: int = 0
    files_known: int = 0
    bytes_known: int = 0
    files_total: int | None = None
    bytes_total: int | None = None
    bytes_left: int | None = None
    rate_now: float | None = None
    rate_mean: float | None = None
    seconds_left: float | None = None

    @property
    def is_estimated(self) -> bool:
        """Whether the size of some job isn't known yet."""
        return self.jobs_known < self.jobs

    def json(self) -> dict[str, Any]:
        """Return plain values."""
        values = {name: getattr(self, name) for name in self.__struct_fields__}
        return {**values, "is_estimated": self.is_estimated}

    def left_text(self) -> str:
        """Return how long the rest takes, as ``about 3 h left at 210 MiB/s``; empty if unknown."""
        if self.seconds_left is None:
            return ""
        rate = self.rate_now or self.rate_mean or 0.0
        text = f"about {about_text(self.seconds_left)} left at {rate_text(rate)}"
        if self.is_estimated:
            text += f" (estimated: {self.jobs_known:,} of {self.jobs:,} jobs have been listed)"
        return text


def about_text(seconds: float) -> str:
    """Return a duration that isn't known exactly, in round numbers."""
    step = next(step for below, step in _STEPS if seconds < below)
    return duration_text(max(round(seconds / step), 1) * step)


class Totals:
    """What jobs hold, added up; a job can be taken out again.

    A worker's state tells of the job that it holds what is fresher than the job's log.
    """

    def __init__(self) -> None:
        self._groups: dict[tuple[str, bool], _Group] = {}

    def add(self, line: JobLine, sign: int = 1) -> None:
        """Add a job, or take it out with the sign -1."""
        key = _key_of(line)
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = _Group(is_export=key[1])
        group.add(line, line, sign)

    def estimate(
        self, alive: Iterable[SeenState], ongoing: Iterable[JobLine], rate_mean: float | None
    ) -> Estimate:
        """Return the estimate. ``ongoing`` are the jobs with this status that were added.

        ``alive`` are the states of the workers that are alive.
        """
        states = list(alive)
        held = {seen.state.job: seen.state for seen in states if seen.state.job is not None}
        groups = {key: copy.copy(group) for key, group in self._groups.items()}
        for line in ongoing:
            state = held.get(line.job)
            if state is not None and state.bytes_done is not None:
                group = groups[_key_of(line)]
                group.add(line, line, -1)
                group.add(line, state, 1)
        return _added_up(groups, states, rate_mean)


def _key_of(line: JobLine) -> tuple[str, bool]:
    """Return the kind of a job: the step of a package, and whether it exports rows."""
    step = "" if line.package is None else line.package.step
    return step, line.rows_done is not None or line.rows_total is not None


class _Group:
    """Jobs of one kind, whose sizes are like each other. ``weight``s are rows, or 1 for each job.

    The totals of an export's job are known once it is a success: before, they are those of the
    chunks so far.
    """

    def __init__(self, *, is_export: bool) -> None:
        self.is_export = is_export
        self.jobs = self.jobs_done = self.known = 0
        self.files_done = self.bytes_done = self.files_known = self.bytes_known = 0
        self.left_known = 0
        self.weight_known = self.weight_unknown = self.weight_to_do = 0
        self.begun = 0  # bytes that are there already of jobs of unknown size that will be done

    def add(self, line: JobLine, told: JobLine | WorkerState, sign: int) -> None:
        """Count a job, of which ``told`` has the counts; take it out with the sign -1."""
        files_done, bytes_done = told.files_done or 0, told.bytes_done or 0
        files_total, bytes_total = told.files_total, told.bytes_total
        if line.parts_bytes:  # a worker counts them only once it has begun their files
            kept = (line.bytes_done or 0) + line.parts_bytes
            bytes_done = max(bytes_done, kept if bytes_total is None else min(kept, bytes_total))
        weight = sign
        if self.is_export:
            weight *= max(line.rows_total or 0, told.rows_done or 0, 1)
        is_done = line.status is JobStatus.SUCCESS
        self.jobs += sign
        self.jobs_done += sign * is_done
        self.files_done += sign * files_done
        self.bytes_done += sign * bytes_done
        is_to_do = line.status in _TO_DO
        if (is_done or not self.is_export) and files_total is not None and bytes_total is not None:
            self.known += sign
            self.weight_known += weight
            self.files_known += sign * files_total
            self.bytes_known += sign * bytes_total
            if is_to_do:
                self.left_known += sign * max(bytes_total - bytes_done, 0)
            return
        self.weight_unknown += weight
        if is_to_do:
            self.weight_to_do += weight
            self.begun += sign * bytes_done


def _added_up(
    groups: Mapping[tuple[str, bool], _Group], alive: list[SeenState], mean: float | None
) -> Estimate:
    bringing = [group for (step, _), group in groups.items() if step not in BRINGS_NOTHING]
    known = sum(group.known for group in bringing)
    files_known = sum(group.files_known for group in bringing)
    bytes_known = sum(group.bytes_known for group in bringing)
    files_total = bytes_total = left = None
    if known or not any(group.jobs for group in bringing):
        files_total, bytes_total, left = files_known, bytes_known, 0
        for group in bringing:
            files, size = _per_weight(group if group.weight_known else None, bringing)
            files_total += round(files * group.weight_unknown)
            bytes_total += round(size * group.weight_unknown)
            left += group.left_known + max(round(size * group.weight_to_do) - group.begun, 0)
    rate_now = _rate_now(alive)
    return Estimate(
        jobs=sum(group.jobs for group in groups.values()),
        jobs_done=sum(group.jobs_done for group in groups.values()),
        jobs_known=known
        + sum(group.jobs for (step, _), group in groups.items() if step in BRINGS_NOTHING),
        files_done=sum(group.files_done for group in bringing),
        bytes_done=sum(group.bytes_done for group in bringing),
        files_known=files_known,
        bytes_known=bytes_known,
        files_total=files_total,
        bytes_total=bytes_total,
        bytes_left=left,
        rate_now=rate_now,
        rate_mean=mean,
        seconds_left=left / rate_now if left and rate_now else None,
    )


def _per_weight(group: _Group | None, bringing: list[_Group]) -> tuple[float, float]:
    """Return the files and bytes of one unit of weight; of all groups if ``group`` is None."""
    like = bringing if group is None else [group]
    weight = sum(each.weight_known for each in like)
    if not weight:
        return 0.0, 0.0
    return (
        sum(each.files_known for each in like) / weight,
        sum(each.bytes_known for each in like) / weight,
    )


def _rate_now(alive: list[SeenState]) -> float | None:
    """Return what all workers send in a second; None if none that works tells it yet."""
    rates = [
        seen.state.bytes_per_second
        for seen in alive
        if seen.state.bytes_per_second is not None
        and seen.state.state != PAUSED
        and not seen.is_late
    ]
    is_working = any(seen.state.state == WORKING for seen in alive)
    return sum(rates) if rates and (is_working or sum(rates)) else None


def mean_rate(lines: Iterable[JobLine], now: Callable[[], float] = time.time) -> float | None:
    """Return the mean rate of the time in which anything moved; None if nothing has."""
    size, seconds = moved((span for line in lines for span in line.spans), now())
    return size / seconds if size else None
