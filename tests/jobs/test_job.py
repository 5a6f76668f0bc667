"""A job's source and destination as shown, and which status may follow which."""

from __future__ import annotations

import pytest

from jobtool.errors import JobtoolError
from jobtool.jobs.job import FilePair, Job, JobStatus

TREE = Job(name="tree", source="/in/tree", destination="/out/tree")
FILES = Job(
    name="files",
    files=(
        FilePair(source="/in/first", destination="/out/first"),
        FilePair(source="/in/second", destination="/out/second"),
    ),
)
OF_BOTH = Job(name="both", source="/in", destination="/out", files=FILES.files)
OLDER_FORM = Job(name="older", source="/in/older")


@pytest.mark.parametrize(
    ("job", "origin", "target"),
    [
        (TREE, "/in/tree", "/out/tree"),
        (FILES, "/in/first", "/out/first"),
        (OF_BOTH, "/in", "/out/first"),
        (OLDER_FORM, "/in/older", ""),
    ],
    ids=lambda value: value.name if isinstance(value, Job) else None,
)
def test_where_a_jobs_bytes_are_and_go_in_a_word(job: Job, origin: str, target: str) -> None:
    assert (job.origin, job.target) == (origin, target)


MAY_FOLLOW = {
    "todo": {"todo", "ongoing", "error"},
    "ongoing": {"todo", "ongoing", "success", "error"},
    "error": {"todo"},
    "success": {"todo"},
}


@pytest.mark.parametrize("before", JobStatus)
@pytest.mark.parametrize("after", JobStatus)
def test_a_status_follows_only_those_that_it_may(before: JobStatus, after: JobStatus) -> None:
    job = Job(name="one", status=before, source="/in", attempts=3)
    if after in MAY_FOLLOW[before]:
        assert job.to(after) == Job(name="one", status=after, source="/in", attempts=3)
    else:
        with pytest.raises(JobtoolError, match=f"^job one: {before} can't become {after}$"):
            job.to(after)


def test_a_job_is_never_changed_in_place() -> None:
    with pytest.raises(AttributeError):
        TREE.status = JobStatus.SUCCESS  # type: ignore[misc]
    assert TREE.to(JobStatus.ONGOING) is not TREE
    assert TREE.status is JobStatus.TODO


def test_a_new_job_is_to_do_and_nothing_has_happened_to_it() -> None:
    job = Job(name="new", source="/in")
    assert job.status is JobStatus.TODO
    assert (job.attempts, job.failures, job.hand_backs) == (0, 0, 0)
    assert job.requires_intervention is False
