"""One job of a joblist as a line: how far it is, who holds it, why it failed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from jobtool.jobs.job import Job, JobStatus
from jobtool.jobs.joblog import LogRecord, decode_log, number_of
from jobtool.jobs.packagetask import BRINGS_NOTHING, PackageTask
from jobtool.jobs.stamps import stamp_of
from jobtool.names import quote
from jobtool.report.attempts import attempts_of
from jobtool.report.life import SignsOfLife
from jobtool.units import size_text

_EVENTS = frozenset({"claimed", "progress", "handed-back", "error", "success"})


class JobLine(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One job: ``status`` is None if its file is invalid. Sizes in bytes, None where unknown.

    ``note`` is why it is in error or invalid, or which worker holds it. ``parts_bytes`` are in the
    kept parts of unfinished files. ``is_abandoned``: it is ongoing, and no worker seems to hold it,
    as seen from this node. ``needs_newer``: this version of jobtool leaves it alone, and ``note``
    is why. ``waiting_files`` counts the files that can't be read yet, for which the job waits.
    ``steps`` are the states of the steps that its file names, in their order. ``rows_done`` are the
    rows of an export that its last attempt has read, and ``rows_total`` all of its rows; both are
    None for a job that exports none. ``package`` is the step of a package that the job does, None
    for other jobs. ``excluded`` counts what the filters left out of a job that is done. ``fields``
    are those of the layout. ``worker`` is HOST:PID of the last attempt. ``spans`` are the start and
    the end of each attempt, in seconds since 1970, and the bytes that it added.
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
    excluded: int = 0
    fields: Mapping[str, str] = msgspec.field(default_factory=dict)
    worker: str = ""
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
            "excluded": self.excluded,
            "steps": {name: status.value for name, status in self.steps.items()},
            "rows_done": self.rows_done,
            "rows_total": self.rows_total,
            "package": None if self.package is None else msgspec.to_builtins(self.package),
            "fields": {name: quote(value) for name, value in self.fields.items()},
            "worker": self.worker,
        }


def line_of(job: Job, log: bytes) -> JobLine:
    """Return the line of a job that is valid; ``judged`` adds whether a worker holds it."""
    records = list(decode_log(log))
    last = {record.event: record for record in records if record.event in _EVENTS}
    files_done, files_total = _counts(job.status, last, "files")
    bytes_done, bytes_total = _counts(job.status, last, "bytes")
    rows_done, rows_total = _rows(job, last)
    note = _note(job.status, last)
    if job.status is JobStatus.SUCCESS and job.undone_steps:
        note = f"says success, but its step {job.undone_steps[0]} isn't done"
    if job.status is JobStatus.ONGOING and job.undone_steps:
        note += f"; step {job.undone_steps[0]}"
    parts_bytes, waiting_files = _parts_bytes(job.status, last), 0
    if job.status is JobStatus.TODO and "handed-back" in last:
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
        waiting_files=waiting_files,
        steps={name: job.step_state(name).status for name in job.steps},
        rows_done=rows_done,
        rows_total=rows_total,
        package=job.package,
        excluded=_excluded(job.status, last),
        fields=job.fields,
        worker=last["claimed"].values.get("worker", "") if "claimed" in last else "",
        spans=tuple(
            (start := attempt.started.timestamp(), start + attempt.seconds, attempt.bytes)
            for attempt in attempts_of(records)
        ),
    )


def judged(line: JobLine, signs: SignsOfLife) -> JobLine:
    """Return the line of an ongoing job with whether its worker seems to be dead."""
    doubt = None if line.status is not JobStatus.ONGOING else signs.doubt(line.worker)
    if doubt is None:
        return line
    note = f"{line.worker}: {doubt}{line.note[len(line.worker) :]}"
    return msgspec.structs.replace(line, note=note, is_abandoned=True)


def _excluded(status: JobStatus, last: dict[str, LogRecord]) -> int:
    if status is not JobStatus.SUCCESS or "success" not in last:
        return 0
    return number_of(last["success"].values.get("excluded", "")) or 0


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


def _parts_bytes(status: JobStatus, last: dict[str, LogRecord]) -> int | None:
    """Return what a job that was handed back keeps, until the next attempt tells its progress."""
    back, progress = last.get("handed-back"), last.get("progress")
    is_over = status is not JobStatus.TODO and progress and back and progress.time > back.time
    if back is None or is_over or status not in (JobStatus.TODO, JobStatus.ONGOING):
        return None
    return number_of(back.values.get("parts_bytes", ""))


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
