"""What a report says of a joblist, gathered in one pass over its job files and receipts."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import msgspec

from jobtool.jobs.joblist import JobList
from jobtool.jobs.joblog import decode_log
from jobtool.report.attempts import Attempt, Outcome, attempts_of
from jobtool.report.causes import Cause, causes_of
from jobtool.report.fields import FieldValue
from jobtool.report.jobline import JobLine
from jobtool.report.proofs import ProofLine, Proofs
from jobtool.report.rates import MOST_AHEAD_SECONDS, BytesOverTime
from jobtool.report.reading import read_jobs
from jobtool.report.summary import Summary


class JobRow(msgspec.Struct, frozen=True, kw_only=True):
    """A job in the report.

    ``seconds`` is how long all attempts at it lasted together, None before the first one. ``ended``
    is the time of the last attempt's last line, ``worker`` its worker as HOST:PROCESS.
    """

    line: JobLine
    fields: Mapping[str, str] = msgspec.field(default_factory=dict)
    seconds: float | None = None
    started: datetime | None = None
    ended: datetime | None = None
    worker: str = ""

    @property
    def status(self) -> str:
        """The job's status, or ``invalid``."""
        return self.line.status.value if self.line.status else "invalid"


class Span(msgspec.Struct, frozen=True):
    """A worker at work, in seconds since 1970."""

    start: float
    end: float
    outcome: Outcome


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All that a report says. ``rates`` are starts of intervals and bytes per second in them.

    ``sizes`` counts proven files by the number of bits of their size. ``fields`` has the values of
    each layout field, in order of the values. ``workers`` has the spans of each worker.
    """

    summary: Summary
    rows: tuple[JobRow, ...]
    source: str
    destination: str
    made_at: datetime
    rates: list[tuple[float, float]]
    interval_seconds: int
    workers: Mapping[str, list[Span]]
    fields: Mapping[str, list[FieldValue]]
    proofs: list[ProofLine]
    sizes: Mapping[int, int]
    unreadable: list[str]
    causes: list[Cause]

    @property
    def files_done(self) -> int:
        """The files that are proven, as far as job files tell."""
        return sum(row.line.brought[0] for row in self.rows)

    @property
    def bytes_done(self) -> int:
        """Their bytes."""
        return sum(row.line.brought[1] for row in self.rows)

    @property
    def uncounted_jobs(self) -> int:
        """The jobs whose number of files isn't known yet."""
        return sum(row.line.files_total is None for row in self.rows)

    @property
    def started(self) -> datetime | None:
        """When the first attempt began."""
        return min((row.started for row in self.rows if row.started), default=None)

    @property
    def ended(self) -> datetime | None:
        """The time of the last line of any attempt."""
        return max((row.ended for row in self.rows if row.ended), default=None)

    @property
    def slowest(self) -> list[JobRow]:
        """The jobs that took longest, the longest first."""
        worked = [row for row in self.rows if row.seconds]
        return sorted(worked, key=lambda row: -(row.seconds or 0))


def collect(joblist: JobList, now: Callable[[], float] = time.time) -> Report:
    """Read a joblist's job files and receipts, each once. Writes nothing.

    ``now`` is in seconds since 1970. What is held in memory grows with the number of jobs and of
    attempts, not with that of files. Raises ``JoblistUnavailableError``.
    """
    moment = now()
    rates, proofs = BytesOverTime(), Proofs()
    workers: dict[str, list[Span]] = {}
    fields: dict[str, dict[str, FieldValue]] = {}
    rows: list[JobRow] = []
    for read in read_jobs(joblist, joblist.job_ids()):
        believable = (
            record
            for record in decode_log(read.log)
            if record.time.timestamp() <= moment + MOST_AHEAD_SECONDS
        )
        attempts = attempts_of(believable, rates.add)
        for attempt in attempts:
            workers.setdefault(attempt.worker or "unknown", []).append(_span(attempt))
        row = _row(read.line, read.job.fields if read.job else {}, attempts)
        rows.append(row)
        for name, value in row.fields.items():
            values = fields.setdefault(name, {})
            values.setdefault(value, FieldValue(value=value)).add(row.line)
        proofs.add_job(joblist, read.job_id)
    summary = Summary(
        path=joblist.path,
        jobs=tuple(row.line for row in rows),
        is_export=joblist.settings.export is not None,
    )
    return Report(
        summary=summary,
        rows=tuple(rows),
        source=joblist.settings.source or "",
        destination=joblist.settings.destination or _sites_of(joblist),
        made_at=datetime.fromtimestamp(moment, UTC),
        rates=rates.rates(),
        interval_seconds=rates.seconds,
        workers={name: sorted(each, key=lambda s: s.start) for name, each in workers.items()},
        fields={name: [values[key] for key in sorted(values)] for name, values in fields.items()},
        proofs=proofs.lines(),
        sizes=proofs.sizes,
        unreadable=proofs.unreadable,
        causes=causes_of(summary.needing_attention),
    )


def _span(attempt: Attempt) -> Span:
    start = attempt.started.timestamp()
    return Span(start, start + attempt.seconds, attempt.outcome)


def _row(line: JobLine, fields: Mapping[str, str], attempts: list[Attempt]) -> JobRow:
    if not attempts:
        return JobRow(line=line, fields=fields)
    return JobRow(
        line=line,
        fields=fields,
        seconds=sum(attempt.seconds for attempt in attempts),
        started=attempts[0].started,
        ended=attempts[-1].ended,
        worker=attempts[-1].worker,
    )


def _sites_of(joblist: JobList) -> str:
    """Return the sites that packages go to, as text; empty for a joblist without packages."""
    packages = joblist.settings.packages
    return "" if packages is None else ", ".join(packages.to)
