"""The summary of a joblist, read from its job files with its workers' markers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import msgspec

from jobtool.jobs.exportshare import MANIFEST_JOB
from jobtool.jobs.job import JobStatus
from jobtool.jobs.joblist import JobList
from jobtool.jobs.workerstates import SeenState
from jobtool.report.bystep import StepLine, by_step
from jobtool.report.estimate import Estimate
from jobtool.report.jobline import JobLine
from jobtool.report.pauses import Pauses


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """All jobs of a joblist, sorted by name. ``is_export``: they export the rows of a query.

    ``estimate`` is how much they hold and how long the rest takes. ``workers`` are the states of
    the workers that are alive. ``pauses`` are those of the joblist and of its jobs.
    """

    path: str
    jobs: tuple[JobLine, ...]
    is_export: bool = False
    estimate: Estimate = Estimate()
    workers: tuple[SeenState, ...] = ()
    pauses: Pauses = Pauses()

    def count(self, status: JobStatus | None) -> int:
        """Return how many jobs have a status; None counts the invalid ones."""
        return Counter(job.status for job in self.jobs)[status]

    @property
    def needing_attention(self) -> tuple[JobLine, ...]:
        """The jobs in error and the invalid ones."""
        return tuple(job for job in self.jobs if job.status in (JobStatus.ERROR, None))

    @property
    def abandoned(self) -> tuple[JobLine, ...]:
        """The ongoing jobs that no worker seems to hold."""
        return tuple(job for job in self.jobs if job.is_abandoned)

    @property
    def needing_newer(self) -> tuple[JobLine, ...]:
        """The jobs that require a feature that this version of jobtool doesn't have."""
        return tuple(job for job in self.jobs if job.needs_newer)

    @property
    def waiting(self) -> tuple[JobLine, ...]:
        """The jobs that wait for files that can't be read yet."""
        return tuple(job for job in self.jobs if job.waiting_files)

    @property
    def excluded(self) -> int:
        """What filters left out of the jobs that are a success: files, folders and links."""
        return sum(job.excluded for job in self.jobs)

    @property
    def rows_done(self) -> int | None:
        """The rows of the jobs that are a success; None unless the jobs export rows."""
        return rows_done(self.jobs) if self.is_export else None

    @property
    def rows_total(self) -> int | None:
        """The rows of all jobs; None unless each of them is known."""
        return rows_total(self.jobs) if self.is_export else None

    @property
    def package_steps(self) -> list[StepLine]:
        """The jobs of packages, counted by step and route; empty for other joblists."""
        return by_step(self.jobs)

    @property
    def exit_code(self) -> int:
        """1 if a job is in error or invalid, else 0."""
        return 1 if self.needing_attention else 0

    def json(self) -> dict[str, Any]:
        """Return plain values; fields are only ever added."""
        return {
            "joblist": self.path,
            "total": len(self.jobs),
            **{status.value: self.count(status) for status in JobStatus},
            "invalid": self.count(None),
            "abandoned": len(self.abandoned),
            "needs_newer": len(self.needing_newer),
            "waiting": len(self.waiting),
            "waiting_files": sum(job.waiting_files for job in self.jobs),
            "bytes_done": sum(job.brought[1] for job in self.jobs),
            "files_done": sum(job.brought[0] for job in self.jobs),
            "excluded": self.excluded,
            "rows_done": self.rows_done,
            "rows_total": self.rows_total,
            "package_steps": [line.json() for line in self.package_steps],
            "estimate": self.estimate.json(),
            "workers": [seen.json() for seen in self.workers],
            "paused": [part.json() for part in self.pauses.parts],
            "jobs": [job.json() for job in self.jobs],
        }


def rows_done(jobs: Iterable[JobLine]) -> int:
    """Return the rows of the jobs of an export that are a success."""
    return sum(job.rows_done or 0 for job in jobs if job.status is JobStatus.SUCCESS)


def rows_total(jobs: Iterable[JobLine]) -> int | None:
    """Return the rows of all jobs of an export; None unless each of them is known."""
    known = [job.rows_total for job in jobs if job.job != MANIFEST_JOB]
    if not known or None in known:
        return None
    return sum(rows or 0 for rows in known)


def summarise(joblist: JobList) -> Summary:
    """Read every job file once and add up what they say. Writes nothing."""
    from jobtool.report.live import LiveJoblist  # which makes summaries

    live = LiveJoblist(joblist)
    live.look()
    return live.summary()
