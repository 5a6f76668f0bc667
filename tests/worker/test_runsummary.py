"""The result of a run: the counts of its workers, and the exit code."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime

import pytest

from jobtool.jobs.job import JobStatus
from jobtool.worker.events import WorkerFinished
from jobtool.worker.rankgroup import Tally
from jobtool.worker.runsummary import Left, summarise


def finished(
    counts: dict[JobStatus | None, int],
    *tallies: Tally,
    workers: int | None = None,
    has_ended_early: bool = False,
    has_left_alone: bool = False,
    waiting: Collection[datetime] = (),
    blocked: int = 0,
    site: str | None = None,
) -> WorkerFinished:
    reporting = Tally(name="reporting", succeeded=1, failed=2, handed_back=3)
    return summarise(
        [reporting, *tallies],
        {**dict.fromkeys([*JobStatus, None], 0), **counts},
        workers=workers or 1 + len(tallies),
        has_ended_early=has_ended_early,
        has_left_alone=has_left_alone,
        stopped=None,
        path="/list",
        site=site,
        left=Left(waiting=tuple(waiting), blocked=blocked),
    )


@pytest.mark.parametrize(
    ("counts", "code"),
    [
        ({JobStatus.SUCCESS: 3}, 0),
        ({JobStatus.ERROR: 1}, 1),
        ({None: 1}, 1),
        ({JobStatus.TODO: 1}, 3),
        ({JobStatus.TODO: 1, JobStatus.ERROR: 1}, 3),
        ({JobStatus.ONGOING: 1}, 0),
        ({JobStatus.ONGOING: 1, JobStatus.ERROR: 1}, 1),
    ],
)
def test_the_joblist_decides_the_exit_code(counts: dict[JobStatus | None, int], code: int) -> None:
    assert finished(counts).exit_code == code


def test_ongoing_jobs_are_left_if_a_worker_died_or_this_one_left_early() -> None:
    ongoing: dict[JobStatus | None, int] = {JobStatus.ONGOING: 1}
    assert finished(ongoing, Tally(name="other", is_over=True)).exit_code == 0
    assert finished(ongoing, Tally(name="other")).exit_code == 3
    assert finished(ongoing, has_ended_early=True).exit_code == 3


def test_the_highest_exit_code_of_any_worker_counts() -> None:
    other = Tally(name="other", is_over=True, exit_code=4)
    assert finished({JobStatus.TODO: 1}, other).exit_code == 4


def test_what_has_to_be_corrected_first_counts_more_than_work_that_is_left() -> None:
    other = Tally(name="other", is_over=True, exit_code=2)
    assert finished({JobStatus.TODO: 1}, other).exit_code == 2


def test_a_job_that_waits_for_one_in_error_is_no_work_that_is_left() -> None:
    assert finished({JobStatus.TODO: 1, JobStatus.ERROR: 1}, blocked=1).exit_code == 1
    assert finished({JobStatus.TODO: 1, None: 1}, blocked=1).exit_code == 1
    assert finished({JobStatus.TODO: 2, JobStatus.ERROR: 1}, blocked=1).exit_code == 3
    assert finished({JobStatus.TODO: 1}, blocked=1).exit_code == 3


def test_jobs_that_wait_for_files_are_told_apart() -> None:
    soon, late = (datetime(2026, 11, 27, hour, tzinfo=UTC) for hour in (5, 6))
    left: dict[JobStatus | None, int] = {JobStatus.TODO: 2, JobStatus.ERROR: 1}
    told = finished(left, waiting=[late, soon])
    assert (told.exit_code, told.waiting, told.not_before) == (5, 2, "2026-11-27T05:00:00Z")
    assert (
        "has 2 waiting for files that can't be read yet or for another try, 1 in error."
        in told.text()
    )
    assert told.text().endswith(
        "To do the rest, from 2026-11-27T05:00:00Z on: transfer-worker -i /list"
    )
    at_site = finished(left, waiting=[late, soon], site="cologne")
    assert at_site.text().endswith("transfer-worker -i /list --site cologne")
    assert finished(left, waiting=[soon]).exit_code == 3
    other = Tally(name="other", is_over=True, exit_code=4)
    assert finished(left, other, waiting=[late, soon]).exit_code == 4


def test_counts_are_summed_and_ranks_that_published_nothing_have_died() -> None:
    found = finished(
        {JobStatus.SUCCESS: 9},
        Tally(name="over", succeeded=10, is_over=True),
        Tally(name="dead", failed=20, handed_back=30),
        workers=4,
    )
    assert (found.succeeded, found.failed, found.handed_back) == (11, 22, 33)
    assert (found.workers, found.died) == (4, 2)
