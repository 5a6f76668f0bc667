"""A claimed job: its status, its counts of failures, its log."""

from __future__ import annotations

import errno
import os
from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from jobtool.errors import (
    ClaimLostError,
    JobFileError,
    JoblistUnavailableError,
    JobtoolError,
    UnmetRequirementError,
)
from jobtool.jobs.claim import Claims
from jobtool.jobs.claimedjob import ClaimedJob
from jobtool.jobs.claimpolicy import ClaimPolicy
from jobtool.jobs.job import Job, JobStatus, StepState
from jobtool.jobs.joblist import JobList
from jobtool.jobs.joblog import decode_log
from jobtool.jobs.lease import LeaseWatch
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
    assert joblist.load("a")[1].count(b"\n") == 2  # no blank lines


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


def test_the_log_names_the_x_of_a_claims_token(joblist, clock):
    held = hold(joblist, clock)
    assert log_of(joblist)[0].values["claim"] == held.claim.token[:12]


def test_a_job_that_is_handed_back_too_often_in_a_row_is_an_error_for_a_person(joblist, clock):
    for count in range(1, 10):
        status = hold(joblist, clock).set_back({"reason": "refused"}, has_progressed=False)
        assert status is saved(joblist).status is JobStatus.TODO
        assert saved(joblist).hand_backs == count
        assert not saved(joblist).requires_intervention
    assert log_of(joblist)[-1].event == "handed-back"
    assert log_of(joblist)[-1].values == {"reason": "refused", "attempt": "9"}
    status = hold(joblist, clock).set_back({"reason": "refused"}, has_progressed=False)
    assert status is saved(joblist).status is JobStatus.ERROR
    assert (saved(joblist).hand_backs, saved(joblist).failures) == (10, 0)
    assert saved(joblist).requires_intervention
    assert log_of(joblist)[-1].event == "error"
    assert log_of(joblist)[-1].values["reason"] == (
        "handed back too often without progress: refused"
    )
    joblist.save("a", replace(saved(joblist), status=JobStatus.TODO), b"")  # by hand
    hold(joblist, clock)
    assert (saved(joblist).hand_backs, saved(joblist).requires_intervention) == (0, False)


def test_progress_begins_the_count_of_hand_backs_anew(joblist, clock):
    for _ in range(9):
        hold(joblist, clock).set_back({}, has_progressed=False)
    assert hold(joblist, clock).set_back({}, has_progressed=True) is JobStatus.TODO
    assert saved(joblist).hand_backs == 1
    held = hold(joblist, clock)
    held.note_progress()
    held.change(JobStatus.TODO, "handed-back")
    assert saved(joblist).hand_backs == 0


def test_a_hand_back_that_is_not_counted_is_never_the_last(joblist, clock):
    joblist.save("a", replace(saved(joblist), hand_backs=10), b"")
    held = hold(joblist, clock)
    assert held.set_back({}, has_progressed=False, is_counted=False) is JobStatus.TODO
    assert (saved(joblist).status, saved(joblist).hand_backs) == (JobStatus.TODO, 10)
    assert not saved(joblist).requires_intervention


def test_a_success_forgets_that_the_job_was_handed_back(joblist, clock):
    hold(joblist, clock).set_back({}, has_progressed=False)
    hold(joblist, clock).change(JobStatus.SUCCESS, "success")
    assert saved(joblist).hand_backs == 0


def test_putting_a_job_back_forgets_how_often_it_was_handed_back(joblist, clock):
    for _ in range(10):
        hold(joblist, clock).set_back({}, has_progressed=False)
    acquire(joblist, clock).put_back("retried")
    assert (saved(joblist).hand_backs, saved(joblist).requires_intervention) == (0, False)


@pytest.fixture
def steps(joblist):
    """Three steps, of which the first and the last are done."""
    done = StepState(status=JobStatus.SUCCESS, attempts=4)
    job = Job(
        name="a",
        source="/a",
        requires=("steps",),
        steps=("pack", "copy", "check"),
        step_states={"pack": done, "check": done},
    )
    joblist.save("a", job, b"")
    return job.steps


def states(joblist):
    job = saved(joblist)
    return [(job.step_state(name).status, job.step_state(name).attempts) for name in job.steps]


def test_a_step_that_begins_is_counted_and_the_steps_after_it_are_to_be_done_again(
    joblist, clock, steps
):
    held = hold(joblist, clock)
    assert states(joblist) == [("success", 4), ("todo", 0), ("success", 4)]
    held.begin_step("copy")
    assert states(joblist) == [("success", 4), ("ongoing", 1), ("todo", 4)]
    assert log_of(joblist)[-1].event == "step-begun"
    assert log_of(joblist)[-1].values == {"step": "copy", "step_attempt": "1", "attempt": "1"}
    held.end_step("copy", files=3)
    assert states(joblist) == [("success", 4), ("success", 1), ("todo", 4)]
    assert saved(joblist).status is JobStatus.ONGOING
    assert log_of(joblist)[-1].event == "step-done"
    values = {"step": "copy", "step_attempt": "1", "files": "3", "attempt": "1"}
    assert log_of(joblist)[-1].values == values


def test_a_later_step_that_is_not_done_stays_as_it_is(joblist, clock, steps):
    failed = StepState(status=JobStatus.ERROR, attempts=2)
    joblist.save("a", saved(joblist).with_step("check", failed), b"")
    hold(joblist, clock).begin_step("copy")
    assert states(joblist)[2] == ("error", 2)


def test_nothing_is_written_about_the_steps_of_a_job_whose_file_names_none(joblist, clock):
    held = hold(joblist, clock)
    before = joblist.load("a")
    held.begin_step("copy")
    held.end_step("copy")
    assert joblist.load("a") == before


def test_a_job_with_all_steps_done_that_is_set_to_todo_by_hand_is_done_from_the_start(
    joblist, clock, steps
):
    all_done = StepState(status=JobStatus.SUCCESS, attempts=4)
    joblist.save("a", saved(joblist).with_step("copy", all_done), b"")
    hold(joblist, clock)
    assert states(joblist) == [("todo", 4)] * 3


def test_a_job_whose_worker_died_after_its_last_step_does_no_step_again(joblist, clock, steps):
    all_done = StepState(status=JobStatus.SUCCESS, attempts=4)
    job = saved(joblist).with_step("copy", all_done)
    joblist.save("a", job.to(JobStatus.ONGOING), b"")
    hold(joblist, clock)
    assert states(joblist) == [("success", 4)] * 3


def test_putting_back_a_success_undoes_its_steps_and_putting_back_an_error_keeps_them(
    joblist, clock, steps
):
    held = hold(joblist, clock)
    held.begin_step("copy")
    held.fail({}, may_pass=False, max_attempts=1)
    acquire(joblist, clock).put_back("retried")
    assert states(joblist) == [("success", 4), ("error", 1), ("todo", 4)]
    held = hold(joblist, clock)
    for name in ("copy", "check"):
        held.begin_step(name)
        held.end_step(name)
    held.change(JobStatus.SUCCESS, "success")
    acquire(joblist, clock).put_back("retried")
    assert states(joblist) == [("todo", 4), ("todo", 2), ("todo", 5)]


def test_a_job_file_that_was_replaced_under_its_worker_is_not_written_over(joblist, clock):
    held = hold(joblist, clock)
    joblist.save("a", replace(saved(joblist), attempts=7), b"")
    before = joblist.load("a")
    with pytest.raises(ClaimLostError, match="expected attempt 1 in it; found 7"):
        held.change(JobStatus.SUCCESS, "success")
    assert joblist.load("a") == before


def test_what_is_added_to_the_log_by_hand_is_kept(joblist, clock):
    held = hold(joblist, clock)
    held.log("checked", by="hand")
    with open(joblist.path_of("a"), "ab") as file:
        file.write(b"looked at by Ada\n")
    held.change(JobStatus.TODO, "handed-back")
    assert [record.event for record in log_of(joblist)] == ["claimed", "checked", "handed-back"]
    assert b"\nlooked at by Ada\n" in joblist.load("a")[1]


def test_a_line_is_logged_with_the_attempt_once_there_is_one(joblist, clock):
    acquire(joblist, clock).log("seen", seconds=0.25)
    hold(joblist, clock).log("seen", seconds=2)
    first, _, last = log_of(joblist)
    assert first.values == {"seconds": "0.2"}
    assert last.values == {"seconds": "2", "attempt": "1"}


@pytest.mark.parametrize("write", ["change", "log"])
def test_a_joblist_that_cannot_be_written_is_told_from_a_job_that_was_removed(
    joblist, clock, monkeypatch, write
):
    held = hold(joblist, clock)
    arguments = (JobStatus.TODO, "handed-back") if write == "change" else ("handed-back",)

    def fails(*arguments, **values):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(JobList, "save" if write == "change" else "append", fails)
        with pytest.raises(JoblistUnavailableError, match=r"can't write .*a\.txt.*No space left"):
            getattr(held, write)(*arguments)
    os.unlink(joblist.path_of("a"))
    with pytest.raises(FileNotFoundError):
        getattr(held, write)(*arguments)
    assert not os.path.exists(joblist.path_of("a"))


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"todo\n", JobFileError),
        (b"todo\nrequires: packs\nsource: /a\n---\n", UnmetRequirementError),
        (None, FileNotFoundError),
    ],
)
def test_a_job_that_cannot_be_read_is_not_held(joblist, clock, data, error):
    os.unlink(joblist.path_of("a"))
    if data is not None:
        with open(joblist.path_of("a"), "wb") as file:
            file.write(data)
    claims = Claims.of(joblist)
    with pytest.raises(error):
        ClaimedJob.acquire(joblist, claims, "a", clock)
    with claims.acquire("a") as claim:
        assert claim is not None


def test_a_held_job_is_refused_to_others_and_free_after_its_block(joblist, clock):
    claims = Claims.of(joblist)
    with ClaimedJob.acquire(joblist, claims, "a", clock) as held:
        assert held.job_id == "a"
        assert ClaimedJob.acquire(joblist, claims, "a", clock) is None
    with ClaimedJob.acquire(joblist, claims, "a", clock) as held:
        assert held.job == saved(joblist)


def test_the_attempt_is_never_below_the_generation_of_its_claim(joblist, clock):
    claims = Claims(joblist.claims_path, ClaimPolicy(kind="lease"))
    with claims.acquire("a", after=4) as claim:
        held = ClaimedJob(joblist, "a", *joblist.load("a"), claim, clock)
        held.begin(worker="node:1", rank=3)
    assert saved(joblist).attempts == 5


def test_the_markers_of_dead_holders_go_once_the_job_file_names_the_new_one(joblist, clock):
    seconds = [0.0]
    policy = ClaimPolicy(kind="lease", lease_seconds=9.0)
    claims = Claims(joblist.claims_path, policy, LeaseWatch(9.0, lambda: seconds[0]))
    dead = os.path.join(joblist.claims_path, "a.1.lease")
    with open(dead, "wb") as file:
        file.write(b"a")
    assert ClaimedJob.acquire(joblist, claims, "a", clock) is None
    seconds[0] = 9.0
    with ClaimedJob.acquire(joblist, claims, "a", clock) as held:
        assert os.path.exists(dead)
        held.begin(worker="node:1", rank=3)
        assert not os.path.exists(dead)
        assert saved(joblist).attempts == 2


def test_a_job_that_waits_is_left_alone_until_its_time(joblist, clock):
    held = acquire(joblist, clock)
    held.begin(worker="w", rank=0)
    until = held.wait({"reason": "it is archived", "waiting_files": 2}, seconds=600)
    told = joblist.load("a")[0]
    assert (told.status, told.failures, told.hand_backs) == (JobStatus.TODO, 0, 0)
    assert told.not_before == until
    assert acquire(joblist, clock).waits_until() == until
    clock.looks += 600
    again = acquire(joblist, clock)
    assert again.waits_until() is None
    again.begin(worker="w", rank=0)
    assert joblist.load("a")[0].not_before is None


def test_a_time_that_no_worker_would_set_is_ignored(joblist, clock):
    job, log = joblist.load("a")
    joblist.save("a", replace(job, not_before=START + timedelta(days=2)), log)
    assert acquire(joblist, clock).waits_until() is None


def test_a_job_that_is_put_back_waits_for_nothing(joblist, clock):
    job, log = joblist.load("a")
    waiting = replace(job, status=JobStatus.ERROR, not_before=START + timedelta(hours=1))
    joblist.save("a", waiting, log)
    acquire(joblist, clock).put_back("retried")
    assert joblist.load("a")[0].not_before is None
