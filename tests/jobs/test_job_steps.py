"""The steps of a job, whatever happens to it."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from jobtool.errors import JobtoolError
from jobtool.jobs.job import TRANSITIONS, Job, JobStatus, StepState
from tests.strategies import chains


@st.composite
def histories(draw: st.DrawFn) -> list[Job]:
    """A job at each moment of a life of begun, finished, handed back and failed steps."""
    job = Job(name="a", source="/a", requires=("steps",), steps=draw(chains))
    lives = [job.to(JobStatus.ONGOING)]
    for _ in range(draw(st.integers(0, 12))):
        job = lives[-1]
        if job.status is not JobStatus.ONGOING:
            job = job.to(draw(st.sampled_from(sorted(TRANSITIONS[job.status]))))
        elif job.undone_steps:
            name = job.undone_steps[0]
            job = job.with_step(name, replace(job.step_state(name), status=JobStatus.ONGOING))
            end = draw(st.sampled_from(["success", "handed back", "failed", "killed"]))
            if end == "success":
                job = job.with_step(name, StepState(status=JobStatus.SUCCESS, attempts=1))
            elif end != "killed":
                job = job.to(JobStatus.TODO if end == "handed back" else JobStatus.ERROR)
        else:
            job = job.to(JobStatus.SUCCESS)
        lives.append(job)
    return lives


@given(histories())
def test_no_step_is_under_way_in_a_job_that_is_not(lives: list[Job]) -> None:
    for job in lives:
        states = {state.status for state in job.step_states.values()}
        assert job.status is JobStatus.ONGOING or JobStatus.ONGOING not in states
        assert (job.status is JobStatus.SUCCESS) <= (not job.undone_steps)


@given(histories())
def test_a_job_is_no_success_before_all_its_steps_are(lives: list[Job]) -> None:
    for job in lives:
        if job.status is JobStatus.ONGOING and job.undone_steps:
            with pytest.raises(JobtoolError, match="before its steps"):
                job.to(JobStatus.SUCCESS)


@given(histories())
def test_steps_that_are_done_stay_done_until_all_are_to_be_done_again(lives: list[Job]) -> None:
    for before, after in pairwise(lives):
        assert set(after.undone_steps) <= set(before.undone_steps)
    again = lives[-1].with_all_steps_undone()
    assert again.undone_steps == again.steps
    for name, state in again.step_states.items():
        assert state.attempts == lives[-1].step_state(name).attempts


def test_a_job_whose_file_names_no_steps_keeps_no_states() -> None:
    job = Job(name="a", source="/a")
    begun = StepState(status=JobStatus.ONGOING, attempts=1)
    assert job.with_step("copy", begun) == job
    assert job.step_state("copy") == StepState(status=JobStatus.TODO, attempts=0)
    assert (job.chain, job.undone_steps) == (("copy",), ())


def test_the_step_under_way_ends_with_the_job_and_the_others_stay() -> None:
    states = {
        "pack": StepState(status=JobStatus.SUCCESS, attempts=2),
        "copy": StepState(status=JobStatus.ONGOING, attempts=3),
    }
    job = Job(
        name="a",
        status=JobStatus.ONGOING,
        source="/a",
        steps=("pack", "copy", "check"),
        step_states=states,
    )
    assert job.undone_steps == ("copy", "check")
    assert job.to(JobStatus.ONGOING).step_states == states
    for status in (JobStatus.TODO, JobStatus.ERROR):
        ended = job.to(status)
        assert ended.status is status
        assert ended.step_states == {**states, "copy": StepState(status=status, attempts=3)}
    with pytest.raises(JobtoolError, match=r"^job a: can't be .* before its steps: copy, check$"):
        job.to(JobStatus.SUCCESS)
