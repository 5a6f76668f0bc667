"""A claimed job: its status, its counts of failures, its log."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from jobtool.errors import JobtoolError
from jobtool.jobs.claim import Claims
from jobtool.jobs.claimedjob import ClaimedJob
from jobtool.jobs.job import Job, JobStatus
from jobtool.jobs.jobfile import decode_log
from jobtool.jobs.joblist import JobList
from jobtool.jobs.settings import Settings

START = datetime(2026, 11, 20, 14, 31, tzinfo=UTC)


class Clock:
    """A minute passes with every look at it."""

    def __init__(self):
        self.looks = 0

    def __call__(self):
        self.looks += 1
        return START + timedelta(minutes=self.looks - 1)


@pytest.fixture
def joblist(folder):
    made = JobList.create(str(folder / "list"), Settings())
    made.add(Job(name="a", source="/a", destination="/b"))
    return made


@pytest.fixture
def clock():
    return Clock()


def acquire(joblist, clock):
    """Take the job, and release it at once: only what is written matters here."""
    held = ClaimedJob.acquire(joblist, Claims.of(joblist), "a", clock)
    held.claim.release()
    return held


def hold(joblist, clock):
    """Take the job like a worker that has just read its file."""
    held = acquire(joblist, clock)
    held.begin(worker="node:1", rank=3)
    return held


def saved(joblist):
    return joblist.load("a")[0]


def log_of(joblist):
    return list(decode_log(joblist.load("a")[1]))


def test_beginning_counts_the_attempt_and_says_who_it_is(joblist, clock):
    hold(joblist, clock)
    assert (saved(joblist).status, saved(joblist).attempts) == ("ongoing", 1)
    (record,) = log_of(joblist)
    assert (record.time, record.event) == (START, "claimed")
    token = record.values["claim"]
    assert record.values == {"worker": "node:1", "rank": "3", "claim": token, "attempt": "1"}
    assert hold(joblist, clock).job.attempts == saved(joblist).attempts == 2
    assert log_of(joblist)[-1].values["claim"] != token


@pytest.mark.parametrize("max_attempts", [1, 2, 3])
def test_what_may_pass_is_tried_again_until_it_was_tried_as_often_as_may_be(
    joblist, clock, max_attempts
):
    for failures in range(1, max_attempts):
        status = hold(joblist, clock).fail({}, may_pass=True, max_attempts=max_attempts)
        assert status is saved(joblist).status is JobStatus.TODO
        assert saved(joblist).failures == failures
        assert not saved(joblist).requires_intervention
    status = hold(joblist, clock).fail({}, may_pass=True, max_attempts=max_attempts)
    assert status is saved(joblist).status is JobStatus.ERROR
    assert saved(joblist).failures == max_attempts
    assert saved(joblist).requires_intervention


def test_what_will_not_pass_is_an_error_at_once(joblist, clock):
    assert hold(joblist, clock).fail({}, may_pass=False, max_attempts=3) is JobStatus.ERROR
    assert saved(joblist).status is JobStatus.ERROR
    assert saved(joblist).failures == 1
    assert not saved(joblist).requires_intervention


def test_handing_a_job_back_is_no_failure(joblist, clock):
    for _ in range(5):
        hold(joblist, clock).change(JobStatus.TODO, "handed-back", reason="asked to stop")
    assert (saved(joblist).attempts, saved(joblist).failures) == (5, 0)
    assert hold(joblist, clock).fail({}, may_pass=True, max_attempts=2) is JobStatus.TODO


def test_a_failure_is_logged_with_what_is_known_of_it(joblist, clock):
    values = {"files": "3/4", "reason": 'a "b"\nc=d', "seconds": 1.26, "failed_files": 1}
    hold(joblist, clock).fail(values, may_pass=True, max_attempts=3)
    record = log_of(joblist)[-1]
    assert (record.time, record.event) == (START + timedelta(minutes=1), "error")
    assert record.values == {
        "files": "3/4",
        "reason": 'a "b"\nc=d',
        "seconds": "1.3",
        "failed_files": "1",
        "attempt": "1",
    }


def test_putting_a_job_back_forgets_its_failures_and_keeps_its_attempts_and_log(joblist, clock):
    hold(joblist, clock).fail({}, may_pass=True, max_attempts=1)
    acquire(joblist, clock).put_back("retried")
    job = saved(joblist)
    assert (job.status, job.attempts, job.failures) == (JobStatus.TODO, 1, 0)
    assert not job.requires_intervention
    assert [record.event for record in log_of(joblist)] == ["claimed", "error", "retried"]
    status = hold(joblist, clock).fail({}, may_pass=True, max_attempts=2)
    assert status is JobStatus.TODO


def test_a_change_that_is_not_allowed_is_not_written(joblist, clock):
    hold(joblist, clock).change(JobStatus.SUCCESS, "success")
    before = joblist.load("a")
    with pytest.raises(JobtoolError, match="can't become"):
        acquire(joblist, clock).fail({}, may_pass=False, max_attempts=1)
    assert joblist.load("a") == before


def test_a_log_line_torn_by_a_kill_is_kept_and_not_grown_into(joblist, clock):
    held = hold(joblist, clock)
    with open(joblist.path_of("a"), "ab") as file:
        file.write(b"2026-11-20T15:00:00Z prog")
    held.change(JobStatus.SUCCESS, "success")
    assert b"\n2026-11-20T15:00:00Z prog\n" in joblist.load("a")[1]
    assert log_of(joblist)[-1].event == "success"


def test_a_job_set_to_todo_by_hand_after_intervention_has_all_its_tries_again(joblist, clock):
    job = Job(name="a", source="/a", destination="/b", failures=3, requires_intervention=True)
    joblist.save("a", job, b"")
    hold(joblist, clock)
    assert (saved(joblist).failures, saved(joblist).requires_intervention) == (0, False)
