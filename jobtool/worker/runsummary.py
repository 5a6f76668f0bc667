"""The result of a run of one worker or of several ranks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from jobtool.errors import NotYetError, StoppedError, UsageError
from jobtool.jobs.job import JobStatus
from jobtool.jobs.stamps import stamp_of
from jobtool.worker.events import WorkerFinished
from jobtool.worker.rankgroup import Tally

#: The number of jobs by status; None stands for invalid job files.
Counts = Mapping[JobStatus | None, int]


class Left(msgspec.Struct, frozen=True, kw_only=True):
    """The ``todo`` jobs that are left for a reason.

    ``waiting`` has the time until which each waits whose files can't be read yet, or that is tried
    again later. ``blocked`` can't be done before a job in error is, the ``stuck`` ones of them
    before a person has mended them. ``premature`` come after jobs that aren't done yet,
    ``elsewhere`` are for workers at other sites. ``paused`` are paused by a person. ``not_chosen``
    counts the jobs of any status that weren't for these workers.
    """

    waiting: tuple[datetime, ...] = ()
    blocked: int = 0
    stuck: int = 0
    premature: int = 0
    elsewhere: int = 0
    paused: int = 0
    not_chosen: int = 0


def exit_code_of(
    counts: Counts,
    tallies: Sequence[Tally],
    *,
    may_be_orphans: bool,
    waiting: int = 0,
    blocked: int = 0,
    stuck: int = 0,
    elsewhere: int = 0,
) -> int:
    """Return the exit code: the highest of the workers' own codes and that of the joblist.

    The joblist's is 3 if work is left, else 5 if ``waiting`` jobs are left, whose files can't be
    read yet, or that are paused, else 1 if a job is in error, invalid or ``stuck``, else 0. A
    worker's own code counts more than 5, and a 2 of its own more than 3: the rest can't be done
    before that is corrected. Jobs that other workers hold don't count as work left, unless
    ``may_be_orphans``, nor do ``blocked`` ones, which can't be done before one in error is, and
    those for workers ``elsewhere``.
    """
    own = max((tally.exit_code for tally in tallies), default=0)
    code = 1 if counts[JobStatus.ERROR] or counts[None] or stuck else 0
    is_left = counts[JobStatus.TODO] > waiting + blocked + elsewhere
    if is_left or (counts[JobStatus.ONGOING] and may_be_orphans):
        return own if own == UsageError.exit_code else max(own, StoppedError.exit_code)
    if waiting:
        return own or NotYetError.exit_code
    return max(code, own)


def summarise(
    tallies: Sequence[Tally],
    counts: Counts,
    *,
    workers: int,
    has_ended_early: bool,
    has_left_alone: bool,
    stopped: str | None,
    path: str,
    left: Left,
    site: str | None = None,
    seconds: float = 0.0,
) -> WorkerFinished:
    """Return the event that reports the end of the run.

    ``tallies`` are those of the ``workers`` that have published one, including the reporting
    worker, the only one still running. All other workers that aren't over have died, even if they
    have published nothing. ``has_ended_early`` is True if the reporting worker left before it
    looked at all jobs. ``has_left_alone`` is True if it lacks what some jobs require. ``stopped``
    is the reason if it was asked to stop, else None. ``site`` is that of the workers. The run has
    lasted for ``seconds``.
    """
    is_wrong = bool(counts[JobStatus.ERROR] or counts[None] or left.stuck)
    died = workers - 1 - sum(tally.is_over for tally in tallies)
    may_be_orphans = has_ended_early or has_left_alone or died > 0
    return WorkerFinished(
        succeeded=sum(tally.succeeded for tally in tallies),
        failed=sum(tally.failed for tally in tallies),
        handed_back=sum(tally.handed_back for tally in tallies),
        left_todo=counts[JobStatus.TODO],
        left_ongoing=counts[JobStatus.ONGOING],
        in_error=counts[JobStatus.ERROR],
        invalid=counts[None],
        workers=workers,
        died=died,
        exit_code=exit_code_of(
            counts,
            tallies,
            may_be_orphans=may_be_orphans,
            waiting=len(left.waiting) + left.premature + (0 if has_ended_early else left.paused),
            blocked=left.blocked if is_wrong else 0,
            stuck=left.stuck,
            elsewhere=left.elsewhere,
        ),
        stopped=stopped,
        path=path,
        waiting=len(left.waiting),
        not_before=stamp_of(min(left.waiting)) if left.waiting else None,
        premature=left.premature,
        elsewhere=left.elsewhere,
        blocked=left.blocked if is_wrong else 0,
        stuck=left.stuck,
        site=site,
        paused=left.paused,
        not_chosen=left.not_chosen,
        files_sent=sum(tally.files_sent for tally in tallies),
        bytes_sent=sum(tally.bytes_sent for tally in tallies),
        retries=sum(tally.retries for tally in tallies),
        seconds=seconds,
    )
