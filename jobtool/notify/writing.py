"""What notices say: the same facts as ``summarise-jobs``, in a few lines."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Iterable
from datetime import UTC, datetime

from jobtool.jobs.job import JobStatus
from jobtool.jobs.stamps import stamp_of
from jobtool.names import in_one_line, quote, shell_word
from jobtool.notify.look import Look
from jobtool.notify.notice import Kind, Notice, Occasion
from jobtool.report.causes import Cause, causes_of
from jobtool.units import duration_text, size_text

#: How many causes of errors are named, how many jobs of each, and how long a reason may be.
_CAUSES, _NAMED, _REASON = 5, 3, 300

_STATES = (
    ("done", JobStatus.SUCCESS),
    ("ongoing", JobStatus.ONGOING),
    ("todo", JobStatus.TODO),
    ("in error", JobStatus.ERROR),
    ("invalid", None),
)


def name_of_list(path: str) -> str:
    """Return a joblist's name for titles: that of its folder."""
    return quote(os.path.basename(path) or path)


def notice_of(
    occasion: Occasion,
    look: Look,
    *,
    first: Iterable[str] = (),
    job: str | None = None,
    command: str = "",
) -> Notice:
    """Return a notice: the sentences ``first``, then totals and what is wrong, then ``command``."""
    summary = look.summary
    causes = causes_of(summary.needing_attention)
    brought = [job.brought for job in summary.jobs]
    files, size = sum(each[0] for each in brought), sum(each[1] for each in brought)
    facts = [*first, "", *_totals(look, files, size)]
    if causes:
        facts += ["", "What is wrong:", *_wrong(causes)]
    return Notice(
        occasion=occasion.kind,
        key=occasion.key,
        list_id=look.list_id,
        path=summary.path,
        time=stamp_of(datetime.fromtimestamp(look.now, UTC)),
        host=socket.gethostname(),
        title=occasion.title,
        facts=tuple(_without_edges(facts)),
        todo=summary.count(JobStatus.TODO),
        ongoing=summary.count(JobStatus.ONGOING),
        success=summary.count(JobStatus.SUCCESS),
        error=summary.count(JobStatus.ERROR),
        invalid=summary.count(None),
        files_done=files,
        bytes_done=size,
        causes=tuple(cause.json() for cause in causes),
        job=job,
        next=command or _next(look),
    )


def test_notice(look: Look) -> Notice:
    """Return a notice that tries whether people can be told; each has a key of its own."""
    path = look.summary.path
    key = f"test-{secrets.token_hex(6)}"
    occasion = Occasion(kind="test", key=key, title=kind_title("test", path))
    first = ["This is a test: notices of this joblist come this way."]
    return notice_of(occasion, look, first=first)


def finish_title(look: Look) -> str:
    """Return the title of the notice that all jobs have ended."""
    name, wrong = name_of_list(look.summary.path), len(look.summary.needing_attention)
    return f"{name} is done" if not wrong else f"{name} has ended with {_jobs(wrong)} in error"


def daily_title(look: Look) -> str:
    """Return the title of the daily notice."""
    name, jobs = name_of_list(look.summary.path), len(look.summary.jobs)
    return f"{name}: {look.summary.count(JobStatus.SUCCESS):,} of {_jobs(jobs)} done"


def stall_sentences(look: Look, seconds: float) -> list[str]:
    """Return what a notice says first if nothing moves."""
    held = [job for job in look.summary.jobs if job.status is JobStatus.ONGOING]
    return [
        f"No byte has moved for {duration_text(seconds)}, though {_jobs(len(held))} "
        f"{'is' if len(held) == 1 else 'are'} ongoing:",
        *(f"  {quote(job.job)} ({quote(job.note)})" for job in held[:_NAMED]),
        *_more(len(held)),
    ]


def worker_command(path: str) -> str:
    """Return the command that does what is left."""
    return f"transfer-worker -i {shell_word(path)}"


def show_command(path: str, job: str) -> str:
    """Return the command that says all about a job."""
    return f"jobtool show {shell_word(path)} {shell_word(job)}"


def short(reason: str) -> str:
    """Return a reason on one line, cut if it is long."""
    text = in_one_line(reason)
    return text if len(text) <= _REASON else f"{text[:_REASON]}…"


def kind_title(kind: Kind, path: str) -> str:
    """Return the title of an occasion that needs no counts."""
    name = name_of_list(path)
    return {
        "first-error": f"{name}: a job is in error",
        "stopped": f"{name}: a worker has stopped",
        "stall": f"{name} stands still",
        "no-worker": f"{name} has no worker, and work is left",
        "daily": f"{name}: how far it is",
        "test": f"a test for {name}",
    }[kind]


def _totals(look: Look, files: int, size: int) -> list[str]:
    summary = look.summary
    counts = [
        f"{summary.count(status):,} {word}" for word, status in _STATES if summary.count(status)
    ]
    lines = [f"{_jobs(len(summary.jobs))}: {', '.join(counts)}." if counts else "No jobs."]
    estimate = summary.estimate
    of = ""
    if estimate.bytes_total and not look.is_finished:
        sign = "about " if estimate.is_estimated else ""
        of = f" of {sign}{size_text(estimate.bytes_total)}"
    lines.append(f"{files:,} file{'' if files == 1 else 's'}, {size_text(size)}{of} arrived.")
    left = estimate.left_text()
    if left and not look.is_finished:
        lines.append(f"{left[0].upper()}{left[1:]}.")
    return lines


def _wrong(causes: list[Cause]) -> list[str]:
    lines = []
    for cause in causes[:_CAUSES]:
        jobs = ", ".join(quote(job) for job in cause.jobs[:_NAMED])
        more = len(cause.jobs) - _NAMED
        jobs += f" and {more:,} more" if more > 0 else ""
        lines.append(f"  {_jobs(len(cause.jobs))} ({jobs}): {short(cause.text)}")
    rest = len(causes) - _CAUSES
    return [*lines, *([f"  and {rest:,} other causes"] if rest > 0 else [])]


def _next(look: Look) -> str:
    path = shell_word(look.summary.path)
    if look.summary.count(JobStatus.ERROR) and look.is_finished:
        return f"jobtool retry {path} && {worker_command(look.summary.path)}"
    return "" if look.is_finished and not look.summary.count(None) else f"summarise-jobs -i {path}"


def _jobs(count: int) -> str:
    return f"{count:,} job{'' if count == 1 else 's'}"


def _more(count: int) -> list[str]:
    return [f"  and {count - _NAMED:,} more"] if count > _NAMED else []


def _without_edges(lines: list[str]) -> list[str]:
    while lines and not lines[0]:
        lines = lines[1:]
    return lines
