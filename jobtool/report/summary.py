"""The summary of a joblist, read from its job files with its workers' markers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from jobtool.errors import JobFileError, UnmetRequirementError
from jobtool.jobs.exportshare import MANIFEST_JOB
from jobtool.jobs.job import Job, JobStatus
from jobtool.jobs.joblist import JobList
from jobtool.jobs.joblog import LogRecord, decode_log, last_records, number_of
from jobtool.jobs.packagetask import BRINGS_NOTHING, PackageTask
from jobtool.jobs.requirements import require_understood
from jobtool.jobs.stamps import stamp_of
from jobtool.names import name_of
from jobtool.report.attempts import attempts_of
from jobtool.report.bystep import StepLine, by_step
from jobtool.report.life import SignsOfLife
from jobtool.units import size_text

_EVENTS = frozenset({"claimed", "progress", "handed-back", "error", "success"})


class JobLine(msgspec.Struct, frozen=True, kw_only=True):
    """One job: ``status`` is None if its file is invalid. Sizes in bytes, None where unknown.

    ``note`` is why it is in error or invalid, or which worker holds it. ``parts_bytes`` are in the
    kept parts of unfinished files. ``is_abandoned``: it is ongoing, and no worker seems to hold it,
    as seen from this node. ``needs_newer``: this version of jobtool leaves it alone, and ``note``
    is why. ``waiting_files`` counts the files that can't be read yet, for which the job waits.
    ``steps`` are the states of the steps that its file names, in their order. ``rows_done`` are the
    rows of an export that its last attempt has read, and ``rows_total`` all of its rows; both are
    None for a job that exports none. ``package`` is the step of a package that the job does, None
    for other jobs. ``spans`` are the start and the end of each attempt, in seconds since 1970, and
    the bytes that it added.
    """

    job: str
    status: JobStatus | None
    files_done: int | None = None
    files_total: int | None = None
    bytes_done: int | None = None
    bytes_total: int | None = None
    attempts: int = 0
    note: str = ""
    requires_intervention: bool = False
    parts_bytes: int | None = None
    is_abandoned: bool = False
    needs_newer: bool = False
    waiting_files: int = 0
    steps: Mapping[str, JobStatus] = msgspec.field(default_factory=dict)
    rows_done: int | None = None
    rows_total: int | None = None
    package: PackageTask | None = None
    spans: tuple[tuple[float, float, int], ...] = ()

    @property
    def brought(self) -> tuple[int, int]:
        """The files and the bytes that were proven to have arrived: none by some steps."""
        if self.package is not None and self.package.step in BRINGS_NOTHING:
            return 0, 0
        return self.files_done or 0, self.bytes_done or 0

    def json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "job": self.job,
            "status": self.status.value if self.status else "invalid",
            "files_done": self.files_done,
            "files_total": self.files_total,
            "bytes_done": self.bytes_done,
            "bytes_total": self.bytes_total,
            "attempts": self.attempts,
            "note": self.note,
            "requires_intervention": self.requires_intervention,
            "parts_bytes": self.parts_bytes,
            "is_abandoned": self.is_abandoned,
            "needs_newer": self.needs_newer,
            "waiting_files": self.waiting_files,
            "steps": {name: status.value for name, status in self.steps.items()},
            "rows_done": self.rows_done,
            "rows_total": self.rows_total,
            "package": None if self.package is None else msgspec.to_builtins(self.package),
        }


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """All jobs of a joblist, sorted by name. ``is_export``: they export the rows of a query."""

    path: str
    jobs: tuple[JobLine, ...]
    is_export: bool = False

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
    def rows_done(self) -> int | None:
        """The rows of the jobs that are a success; None unless the jobs export rows."""
        done = [job.rows_done or 0 for job in self.jobs if job.status is JobStatus.SUCCESS]
        return sum(done) if self.is_export else None

    @property
    def rows_total(self) -> int | None:
        """The rows of all jobs; None unless each of them is known."""
        known = [job.rows_total for job in self.jobs if job.job != MANIFEST_JOB]
        if not self.is_export or not known or None in known:
            return None
        return sum(rows or 0 for rows in known)

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
            "rows_done": self.rows_done,
            "rows_total": self.rows_total,
            "package_steps": [line.json() for line in self.package_steps],
            "jobs": [job.json() for job in self.jobs],
        }


def summarise(joblist: JobList) -> Summary:
    """Read every job file once and add up what they say. Writes nothing."""
    return Summary(
        path=joblist.path,
        jobs=tuple(read.line for read in read_jobs(joblist, joblist.job_ids())),
        is_export=joblist.settings.export is not None,
    )


class ReadJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job as it was read once: its line, its header and its log.

    ``job`` is None if the job is invalid or this version doesn't understand it; the log is empty
    then.
    """

    job_id: str
    line: JobLine
    job: Job | None = None
    log: bytes = b""


def read_jobs(joblist: JobList, job_ids: Iterable[str]) -> Iterator[ReadJob]:
    """Read job files, each once; those that are missing are left out. Writes nothing."""
    signs = SignsOfLife(joblist)
    for job_id in job_ids:
        try:
            job, log = joblist.load(job_id)
            require_understood(job.requires)
        except FileNotFoundError:
            continue  # removed between listing and reading
        except UnmetRequirementError as error:
            newer = _newer_line(joblist, job_id, str(error))
            if newer is not None:
                yield ReadJob(job_id=job_id, line=newer)
        except JobFileError as error:
            yield ReadJob(job_id=job_id, line=JobLine(job=job_id, status=None, note=str(error)))
        else:
            yield ReadJob(job_id=job_id, line=_line(job, log, signs), job=job, log=log)


def _line(job: Job, log: bytes, signs: SignsOfLife) -> JobLine:
    last = last_records(log, _EVENTS)
    files_done, files_total = _counts(job.status, last, "files")
    bytes_done, bytes_total = _counts(job.status, last, "bytes")
    rows_done, rows_total = _rows(job, last)
    note, is_abandoned = _note(job.status, last), False
    if job.status is JobStatus.SUCCESS and job.undone_steps:
        note = f"says success, but its step {job.undone_steps[0]} isn't done"
    if job.status is JobStatus.ONGOING and (doubt := signs.doubt(note)):
        note, is_abandoned = f"{note}: {doubt}", True
    if job.status is JobStatus.ONGOING and job.undone_steps:
        note += f"; step {job.undone_steps[0]}"
    parts_bytes, waiting_files = None, 0
    if job.status is JobStatus.TODO and "handed-back" in last:
        parts_bytes = number_of(last["handed-back"].values.get("parts_bytes", ""))
        note += f"; {size_text(parts_bytes)} of parts kept" if parts_bytes else ""
        if job.not_before is not None:
            waiting_files = number_of(last["handed-back"].values.get("waiting_files", "")) or 0
            note += f"; not before {stamp_of(job.not_before)}"
    return JobLine(
        job=job.name,
        status=job.status,
        files_done=files_done,
        files_total=files_total,
        bytes_done=bytes_done,
        bytes_total=bytes_total,
        attempts=job.attempts,
        note=note,
        requires_intervention=job.requires_intervention,
        parts_bytes=parts_bytes,
        is_abandoned=is_abandoned,
        waiting_files=waiting_files,
        steps={name: job.step_state(name).status for name in job.steps},
        rows_done=rows_done,
        rows_total=rows_total,
        package=job.package,
        spans=tuple(
            (start := attempt.started.timestamp(), start + attempt.seconds, attempt.bytes)
            for attempt in attempts_of(decode_log(log))
        ),
    )


def _newer_line(joblist: JobList, job_id: str, why: str) -> JobLine | None:
    """Return the line of a job of which this version understands only the status."""
    try:
        status = joblist.status_of(job_id)
    except FileNotFoundError:
        return None
    return JobLine(job=name_of(job_id), status=status, note=why, needs_newer=True)


def _counts(
    status: JobStatus, last: dict[str, LogRecord], key: str
) -> tuple[int | None, int | None]:
    if status is JobStatus.SUCCESS and "success" in last:
        done = total = last["success"].values.get(key, "")
    else:
        told = [last[event] for event in ("progress", "handed-back", "error") if event in last]
        if not told:
            return None, None
        latest = max(told, key=lambda record: record.time)
        done, _, total = latest.values.get(key, "").partition("/")
    return number_of(done), number_of(total)


def _rows(job: Job, last: dict[str, LogRecord]) -> tuple[int | None, int | None]:
    """Return the rows that an export job's last attempt has read, and all of its rows."""
    if job.export is None or job.export.kind != "rows":
        return None, None
    done, total = _counts(job.status, last, "rows")
    return done, job.export.rows if total is None else total


def _note(status: JobStatus, last: dict[str, LogRecord]) -> str:
    if status is JobStatus.ERROR:
        if "error" not in last:
            return "no reason in its log"
        values = last["error"].values
        failed = number_of(values.get("failed_files", "")) or 0
        more = f" (and {failed - 1} more files)" if failed > 1 else ""
        return values.get("reason", "no reason in its log") + more
    if status is JobStatus.ONGOING and "claimed" in last:
        return last["claimed"].values.get("worker", "")
    if status is JobStatus.TODO and "handed-back" in last:
        return last["handed-back"].values.get("reason", "")
    return ""
