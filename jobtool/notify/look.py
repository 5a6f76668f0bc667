"""One look at a joblist: what its notices say, and by what it is decided which are due."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable

import msgspec

from jobtool.jobs.job import JobStatus
from jobtool.jobs.joblist import WORKERS_FOLDER, JobList
from jobtool.jobs.settings import FILENAME
from jobtool.jobs.workerstates import SeenState, StateReader
from jobtool.report.life import SignsOfLife
from jobtool.report.live import LiveJoblist
from jobtool.report.summary import Summary


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """A joblist as it was seen at ``now``, in seconds since 1970.

    ``alive`` are the states of the workers that are alive. ``last_worker_seconds`` is how long ago
    a worker last came or went, None if none was there. ``settings_changed`` is when joblist.toml
    was last written.
    """

    now: float
    list_id: str
    summary: Summary
    alive: tuple[SeenState, ...]
    last_worker_seconds: float | None
    settings_changed: float

    @property
    def is_finished(self) -> bool:
        """Whether all jobs have ended, well or in error."""
        count = self.summary.count
        return bool(self.summary.jobs) and not (count(JobStatus.TODO) + count(JobStatus.ONGOING))

    @property
    def end(self) -> str:
        """A name for the state in which all jobs have ended: another end has another name.

        Jobs that are added, or put back, end later and so make it another.
        """
        digest = hashlib.sha256()
        for job in sorted(self.summary.jobs, key=lambda each: each.job):
            ended = job.spans[-1][1] if job.spans else 0.0
            facts = f"{job.job}\0{job.status}\0{job.attempts}\0{ended}\0"
            digest.update(facts.encode("utf-8", "surrogateescape"))
        return digest.hexdigest()[:16]

    @property
    def is_held(self) -> bool:
        """Whether a worker seems to hold some job."""
        return any(
            job.status is JobStatus.ONGOING and not job.is_abandoned for job in self.summary.jobs
        )

    @property
    def alone_seconds(self) -> float:
        """How long no worker has been there; if none ever was, since joblist.toml was written."""
        idle = self.last_worker_seconds
        return self.now - self.settings_changed if idle is None else idle

    @property
    def still_seconds(self) -> float | None:
        """How long ago any worker that is alive last moved a byte; None if nothing tells.

        A worker that hasn't moved any counts from its start.
        """
        times = [
            max(seen.state.written - seen.state.started, 0.0) + seen.age_seconds
            if seen.still_seconds is None
            else seen.still_seconds
            for seen in self.alive
        ]
        return min(times, default=None)


def look_at(joblist: JobList, now: Callable[[], float] = time.time) -> Look:
    """Read the joblist; write nothing. Raises ``JoblistUnavailableError``."""
    live = LiveJoblist(joblist, now)
    live.look()
    summary = live.summary()
    return Look(
        now=now(),
        list_id=joblist.settings.id or hashlib.sha256(os.fsencode(joblist.path)).hexdigest()[:16],
        summary=summary,
        alive=summary.workers,
        last_worker_seconds=_age(os.path.join(joblist.claims_path, WORKERS_FOLDER), now),
        settings_changed=now() - (_age(os.path.join(joblist.path, FILENAME), now) or 0.0),
    )


def alive_in(joblist: JobList, now: Callable[[], float] = time.time) -> list[SeenState]:
    """Return the states of the workers that are alive, as ``summarise-jobs`` judges it."""
    return SignsOfLife(joblist, now).alive(StateReader(joblist.claims_path, now).read())


def _age(path: str, now: Callable[[], float]) -> float | None:
    try:
        return max(now() - os.stat(path).st_mtime, 0.0)
    except OSError:
        return None
