"""All that a joblist knows of one job."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import pairwise
from typing import Any

import msgspec

from jobtool.errors import JobtoolError, UsageError
from jobtool.jobs.job import Job, JobStatus
from jobtool.jobs.joblist import JobList
from jobtool.jobs.joblog import LogRecord, decode_log
from jobtool.jobs.lastreceipts import last_of_each
from jobtool.jobs.stamps import stamp_of
from jobtool.jobs.unknownjob import unknown_job
from jobtool.names import filename_of, quote, shell_word
from jobtool.report.attempts import Attempt, attempts_of
from jobtool.report.causes import common
from jobtool.report.hints import advice_for
from jobtool.report.jobline import JobLine
from jobtool.report.pauses import PausedPart, read_pauses
from jobtool.report.reading import read_jobs
from jobtool.report.summary import summarise

#: The lines of the log that are shown, from its end.
MOST_RECORDS = 100

_MOST_LARGEST = 5


class ReceiptFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a job's receipts say; sizes in bytes, times in UTC as in job files.

    ``largest`` are the destinations of the largest files with their sizes. ``unreadable`` says why
    the receipts can't be read, and is empty if they can.
    """

    files: int = 0
    bytes: int = 0
    first: str | None = None
    last: str | None = None
    verified_by: Mapping[str, int] = msgspec.field(default_factory=dict)
    largest: tuple[tuple[str, int], ...] = ()
    unreadable: str = ""

    def json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            **{name: getattr(self, name) for name in self.__struct_fields__},
            "largest": [{"path": quote(path), "size": size} for path, size in self.largest],
        }


class ShownJob(msgspec.Struct, frozen=True, kw_only=True):
    """One job: ``job`` is None if its file is invalid or needs a newer version.

    ``records`` are the last lines of its log without all but the last of consecutive ``progress``
    lines; ``left_out`` counts the lines that aren't among them. ``cause`` is the likely cause of
    its error, with ``…`` for what differs between jobs, and ``jobs_alike`` counts the other jobs
    that have it. Both are None for a job without an error. ``advice`` is what to do. ``pause`` is
    that of the job or of the whole joblist, None without one.
    """

    path: str
    line: JobLine
    job: Job | None
    attempts: tuple[Attempt, ...]
    records: tuple[LogRecord, ...]
    left_out: int
    receipts: ReceiptFacts
    cause: str | None
    jobs_alike: int | None
    advice: str
    pause: PausedPart | None = None

    def json(self) -> dict[str, Any]:
        """Return plain values; fields are only ever added."""
        job = self.job
        header: dict[str, Any] = {}
        if job is not None:
            not_before = None if job.not_before is None else stamp_of(job.not_before)
            header = {
                "source": None if job.source is None else quote(job.source),
                "destination": None if job.destination is None else quote(job.destination),
                "named_files": len(job.files),
                "fields": dict(job.fields),
                "failures": job.failures,
                "hand_backs": job.hand_backs,
                "not_before": not_before,
                "priority": job.priority,
            }
        return {
            **self.line.json(),
            **header,
            "file": quote(self.path),
            "timeline": [
                {"time": stamp_of(each.time), "event": each.event, "values": dict(each.values)}
                for each in self.records
            ],
            "timeline_left_out": self.left_out,
            "attempts_made": [attempt.json() for attempt in self.attempts],
            "receipts": self.receipts.json(),
            "cause": self.cause,
            "jobs_alike": self.jobs_alike,
            "advice": self.advice,
            "pause": None if self.pause is None else self.pause.json(),
        }


def show(joblist: JobList, name: str) -> ShownJob:
    """Read all about one job, by its name or the name of its file. Writes nothing.

    For a job in error all job files are read, to count those with the same cause. Raises
    ``UsageError`` if there is no such job, and ``JoblistUnavailableError``.
    """
    job_id = job_id_of(joblist, name)
    read = next(iter(read_jobs(joblist, [job_id])), None)
    if read is None:
        raise UsageError(f"the job {quote(name)} has just been removed")
    line = read.line
    log = list(decode_log(read.log))
    records = list(_without_runs(log))[-MOST_RECORDS:]
    cause, alike = None, None
    pause = read_pauses(joblist).of_job(line.job)
    if line.status in (JobStatus.ERROR, None):
        cause = common(line)
        others = summarise(joblist).needing_attention
        alike = sum(common(each) == cause for each in others if each.job != line.job)
        cause = cause if alike else line.note
    return ShownJob(
        path=joblist.path_of(job_id),
        line=line,
        job=read.job,
        attempts=tuple(attempts_of(log)),
        records=tuple(records),
        left_out=len(log) - len(records),
        receipts=_receipts(joblist, job_id),
        cause=cause,
        jobs_alike=alike,
        advice=advice(line, joblist.path, pause, cause),
        pause=pause,
    )


def advice(
    line: JobLine,
    joblist_path: str,
    pause: PausedPart | None = None,
    reason: str | None = None,
) -> str:
    """Return what to do about a job, which may be in error for a ``reason``.

    | job | what to do |
    | --- | --- |
    | needs a newer version | install one |
    | invalid | correct its file |
    | error | mend the cause, then retry |
    | todo or ongoing, paused | resume it |
    | ongoing, no worker holds it | start a worker |
    | ongoing | wait |
    | todo, waits for files | start a worker later |
    | todo | start a worker |
    | success | nothing; verify the destination |
    """
    path = shell_word(joblist_path)
    job = shell_word(line.job)
    if line.needs_newer:
        return "Install a newer version of jobtool."
    if line.status is None:
        return "Correct its job file."
    if line.status is JobStatus.ERROR:
        return advice_for(reason, line.job, joblist_path)
    if pause is not None and line.status in (JobStatus.TODO, JobStatus.ONGOING):
        one = "" if pause.jobs is None else f" --job {job}"
        return f"{pause.text()}. To go on: jobtool resume {path}{one}"
    if line.status is JobStatus.ONGOING:
        if line.is_abandoned:
            return f"No worker seems to hold it. Start one: jobtool transfer -i {path}"
        return "A worker is at it."
    if line.status is JobStatus.TODO:
        later = "later, " if line.waiting_files else ""
        return f"Start a worker {later}if none is running: jobtool transfer -i {path}"
    return f"It is done. To check its destination again: jobtool verify {path} --job {job}"


def job_id_of(joblist: JobList, name: str) -> str:
    """Return the ID of a job by its name or that of its file. Raises ``UsageError``."""
    job_ids = joblist.job_ids()
    known = set(job_ids)
    wanted = filename_of(name) if name else name
    for candidate in (wanted, name, name.removesuffix(".txt")):
        if candidate in known:
            return candidate
    raise unknown_job(name, job_ids, joblist=joblist.path)


def _without_runs(log: list[LogRecord]) -> Iterator[LogRecord]:
    """Yield the records; of consecutive ``progress`` records only the last."""
    for record, following in pairwise([*log, None]):
        is_repeated = record and following and record.event == following.event == "progress"
        if record is not None and not is_repeated:
            yield record


def _receipts(joblist: JobList, job_id: str) -> ReceiptFacts:
    files, size, first, last = 0, 0, None, None
    words: Counter[str] = Counter()
    largest: list[tuple[int, str]] = []
    try:
        for receipt in last_of_each(partial(joblist.receipts_of, job_id)):
            files += 1
            size += receipt.size
            first = min(first or receipt.verified_at, receipt.verified_at)
            last = max(last or receipt.verified_at, receipt.verified_at)
            words[receipt.verified_by] += 1
            heapq.heappush(largest, (receipt.size, receipt.dst_path))
            if len(largest) > _MOST_LARGEST:
                heapq.heappop(largest)
    except (JobtoolError, OSError) as error:
        return ReceiptFacts(unreadable=str(error))
    return ReceiptFacts(
        files=files,
        bytes=size,
        first=first,
        last=last,
        verified_by=dict(words.most_common(20)),
        largest=tuple((path, size) for size, path in sorted(largest, reverse=True)),
    )
