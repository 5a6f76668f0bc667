"""How long a worker without work waits before it looks again."""

from __future__ import annotations

from collections.abc import Callable

#: The shortest pause.
_LOOK_SECONDS = 0.5

#: The same for the one rank that waits for the others to end, while no job is under way.
RANKS_LOOK_SECONDS = 0.1

#: A pause is at least this many times as long as a look, so that workers mostly sleep.
_PAUSE_PER_LOOK = 5

#: A pause grows with the time that the worker has been idle, up to a bound.
_PAUSE_PER_IDLE_TIME = 0.1
_LONGEST_PAUSE_SECONDS = 10.0

#: The bound is higher where all workers together would read more job files a second than this.
_MOST_READS_PER_SECOND = 10_000

#: Looks that read no more job files than this needn't be rarer where there are many workers.
_FEW_READS = 100

#: A provider may fail this often in a row; the pause doubles after each failure.
_MAX_CREDENTIAL_FAILURES = 3
_FIRST_CREDENTIAL_PAUSE_SECONDS = 1.0


def pause_seconds(
    look_seconds: float, idle_seconds: float, *, for_ranks: bool = False, reads: int = 0
) -> float:
    """Return how long to wait before looking at the joblist again.

    ``look_seconds`` is how long the last look took, ``idle_seconds`` how long the worker has been
    idle. So workers that wait for hours with ``--wait`` put little load on the filesystem, and find
    new work at most a tenth later than they could have. ``for_ranks`` says that this rank only
    waits for the others of its group. ``reads`` is how many job files a look of each worker reads,
    for all workers together.
    """
    shortest_seconds = RANKS_LOOK_SECONDS if for_ranks else _LOOK_SECONDS
    longest_seconds = max(_LONGEST_PAUSE_SECONDS, reads / _MOST_READS_PER_SECOND)
    by_idle_time = min(_PAUSE_PER_IDLE_TIME * idle_seconds, longest_seconds)
    return max(shortest_seconds, _PAUSE_PER_LOOK * look_seconds, by_idle_time)


def reads_of_all(reads: int, count_workers: Callable[[], int]) -> int:
    """Return how many job files all workers read in a look, if each reads ``reads`` of them.

    The workers are counted only where it matters.
    """
    return reads * count_workers() if reads > _FEW_READS else reads


def credential_pause_seconds(failures: int) -> float | None:
    """Return the seconds to wait for a provider after ``failures`` in a row; None: give up."""
    if failures >= _MAX_CREDENTIAL_FAILURES:
        return None
    return float(_FIRST_CREDENTIAL_PAUSE_SECONDS * 2 ** (failures - 1))


def may_get_work(
    *,
    is_any_ongoing: bool,
    waits: bool,
    may_help: bool,
    is_claim_undecided: bool,
    must_wait_for_ranks: bool,
    awaits_jobs: bool = False,
    is_due_soon: bool = False,
) -> bool:
    """Return True if an idle worker may still get work, so that it stays.

    ``is_any_ongoing``: other workers hold jobs. A worker that ``waits`` (``--wait``) may get these
    jobs, as may any worker if a claim may belong to a dead one; or the worker ``may_help`` with
    them. ``must_wait_for_ranks``: this rank is responsible for what the others leave behind.
    ``awaits_jobs``: there are jobs that come after others, which are done now, or later elsewhere.
    ``is_due_soon``: a job that failed is tried again soon.
    """
    if must_wait_for_ranks or is_due_soon or (awaits_jobs and waits):
        return True
    return is_any_ongoing and (waits or may_help or is_claim_undecided or awaits_jobs)
