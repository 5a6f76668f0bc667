"""``retry_jobs``: jobs in error become ``todo`` again."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import msgspec

from jobtool.api.places import Place, opened
from jobtool.errors import UsageError
from jobtool.events import Emit, ignore, unfailing
from jobtool.jobs.unknownjob import unknown_job
from jobtool.names import filename_of, quote
from jobtool.suggest import did_you_mean

if TYPE_CHECKING:
    from jobtool.audit.events import LeftAlone, PutBack
    from jobtool.jobs.joblist import JobList


class Retried(msgspec.Struct, frozen=True, kw_only=True):
    """Which jobs are ``todo`` again, and which selected jobs were left alone, with the reasons."""

    put_back: tuple[PutBack, ...]
    left_alone: tuple[LeftAlone, ...]

    @property
    def exit_code(self) -> int:
        """1 if a job file can't be read, else 0."""
        return max((one.exit_code for one in self.left_alone), default=0)


def retry_jobs(
    joblist: Place | JobList,
    *,
    jobs: Collection[str] = (),
    match: str | None = None,
    steps: Collection[str] = (),
    on_event: Emit = ignore,
) -> Retried:
    """Put jobs back to ``todo``, by default all that are in error.

    Receipts stay: what is proven isn't sent again. A job that a worker holds is left alone.

    Args:
        joblist: The folder, or an open joblist.
        jobs: The names of the jobs to put back, whatever their status.
        match: Only jobs in error whose reason contains this text.
        steps: Only jobs that are at one of these steps: of packages, such as ``unpack``, or of a
            chain of steps. Steps before it aren't done again.
        on_event: Called with each event. An exception from it stops nothing.

    Raises:
        UsageError: There is nothing at the path; both ``jobs`` and ``match`` are given; no job has
            a step of ``steps``; or a job of ``jobs`` doesn't exist, is at another step, or is
            ``todo`` already and waits for nothing. The other jobs are put back even so.
        JoblistError: The folder isn't a joblist, or its joblist.toml can't be used.
        JoblistUnavailableError: The joblist can't be read or written.

    Examples:
        >>> jobtool.retry_jobs("joblist", match="Permission denied").put_back
        ()
    """
    from jobtool.audit.events import PutBack
    from jobtool.audit.retry import Selection
    from jobtool.audit.retry import retry_jobs as put_back_selected

    names = names_of(jobs)
    if names and match is not None:
        raise UsageError("expected either names of jobs or a text to match; found both")
    joblist = opened(joblist)
    selection = Selection(names=names, match=match, steps=_known_steps(joblist, steps))
    emit = unfailing(on_event)
    put_back: list[PutBack] = []
    left_alone: list[LeftAlone] = []
    missing = names
    for event in put_back_selected(joblist, selection):
        emit(event)
        missing -= {event.job}
        if isinstance(event, PutBack):
            put_back.append(event)
        else:
            left_alone.append(event)
    if missing:
        job_ids = joblist.job_ids()
        if filename_of(min(missing)) not in set(job_ids):
            raise unknown_job(min(missing), job_ids, joblist=joblist.path)
        other = " or at another step" if steps else ""
        raise UsageError(
            f"job {quote(min(missing))} was not put back: it is todo already{other}. "
            "jobtool show says more about it."
        )
    return Retried(put_back=tuple(put_back), left_alone=tuple(left_alone))


def _known_steps(joblist: JobList, steps: Collection[str]) -> frozenset[str]:
    """Return steps that jobs may be at; raise ``UsageError`` for one that none may be at."""
    from jobtool.audit.retry import steps_in

    if not steps:
        return frozenset()
    if isinstance(steps, str):
        raise UsageError(f"steps: expected several words, as [{steps!r}]; found a str")
    known = sorted(steps_in(joblist, steps))
    for step in steps:
        if step not in known:
            raise UsageError(
                f"step: expected one of {', '.join(known)}, which the jobs of "
                f"{quote(joblist.path)} may be at; found {step!r}.{did_you_mean(step, known)}"
            )
    return frozenset(steps)


def names_of(jobs: Collection[str]) -> frozenset[str]:
    """Return the names of jobs; raise ``UsageError`` for a single string, a likely mistake."""
    if isinstance(jobs, str):
        raise UsageError(f"jobs: expected several names, as [{jobs!r}]; found a str")
    return frozenset(jobs)
