"""How much a joblist holds and how long it takes: by what is known, and marked where it isn't."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from jobtool.jobs.job import JobStatus
from jobtool.jobs.packagetask import PackageTask
from jobtool.jobs.workerstates import IDLE, PAUSED, WORKING, SeenState, WorkerState
from jobtool.report.estimate import Estimate, about_text, mean_rate
from jobtool.report.jobline import JobLine
from tests.report.lists import estimate_of

GB = 10**9
TODO, ONGOING, SUCCESS, ERROR = (
    *(JobStatus.TODO, JobStatus.ONGOING),
    *(JobStatus.SUCCESS, JobStatus.ERROR),
)


def line(
    status: JobStatus, done: int | None = None, total: int | None = None, **more: object
) -> JobLine:
    files = {"files_done": None, "files_total": None}
    if total is not None and done is not None:
        files = {"files_done": 10 * done // total, "files_total": 10}
    values = {"job": "a", **files, "bytes_done": done, "bytes_total": total, **more}
    return JobLine(status=status, **values)  # type: ignore[arg-type]


def seen(
    rate: float | None = None, *, state: str = WORKING, age: float = 1.0, **more: object
) -> SeenState:
    common = {"worker": "n:1", "started": 0.0, "written": 9.0, "period_seconds": 5.0}
    values = {**common, "state": state, "bytes_per_second": rate, **more}
    return SeenState(state=WorkerState(**values), age_seconds=age)  # type: ignore[arg-type]


def test_nothing_is_known_of_a_fresh_joblist() -> None:
    assert estimate_of([line(TODO), line(TODO)], [], None) == Estimate(jobs=2)
    assert estimate_of([], [], None) == Estimate(files_total=0, bytes_total=0, bytes_left=0)


def test_jobs_of_unknown_size_are_taken_to_be_like_the_others() -> None:
    lines = [
        *(line(SUCCESS, 4 * GB, 4 * GB), line(ONGOING, 1 * GB, 2 * GB), line(ERROR, 0, 3 * GB)),
        *(line(TODO), line(TODO)),
    ]
    found = estimate_of(lines, [seen(0.5 * GB)], 0.1 * GB)
    assert (found.jobs, found.jobs_done, found.jobs_known, found.is_estimated) == (5, 1, 3, True)
    assert (found.bytes_done, found.bytes_known, found.bytes_total) == (5 * GB, 9 * GB, 15 * GB)
    assert (found.files_done, found.files_known, found.files_total) == (15, 30, 50)
    assert found.bytes_left == 7 * GB  # not that of the job in error
    assert (found.rate_now, found.rate_mean, found.seconds_left) == (0.5 * GB, 0.1 * GB, 14.0)
    assert found.left_text() == (
        "about 10 s left at 477 MiB/s (estimated: 3 of 5 jobs have been listed)"
    )


def test_what_a_worker_tells_of_its_job_is_fresher_than_the_log() -> None:
    lines = [line(ONGOING, 1 * GB, 8 * GB, job="a"), line(ONGOING, job="b"), line(TODO, job="c")]
    states = [
        seen(
            job="a", job_id="a", files_done=3, files_total=4, bytes_done=2 * GB, bytes_total=6 * GB
        ),
        seen(job="b", job_id="b", files_done=0, files_total=8, bytes_done=0, bytes_total=2 * GB),
        # It tells of a job that isn't its own any more.
        seen(job="c", job_id="c", files_done=0, files_total=8, bytes_done=0, bytes_total=99 * GB),
    ]
    found = estimate_of(lines, states, None)
    assert (found.bytes_done, found.bytes_known, found.bytes_total) == (2 * GB, 8 * GB, 12 * GB)
    assert (found.files_done, found.files_total, found.jobs_known) == (3, 18, 2)


def test_there_is_no_time_left_without_evidence() -> None:
    known, unknown = line(ONGOING, 1 * GB, 2 * GB), line(TODO)
    for lines, states in (
        ([known], []),  # nobody is at work
        ([known], [seen(None)]),  # just started
        ([known], [seen(0.0)]),  # nothing moves
        ([known], [seen(1.0, state=PAUSED)]),
        ([known], [seen(1.0, age=600.0)]),  # nothing heard for long
        ([unknown], [seen(1.0)]),  # no size is known
        ([line(SUCCESS, 1, 1)], [seen(1.0)]),  # nothing is left
    ):
        found = estimate_of(lines, states, 5.0)
        assert (found.seconds_left, found.left_text()) == (None, "")
    assert estimate_of([known], [seen(0.0, state=IDLE)], None).rate_now is None
    assert estimate_of([known], [seen(1.0), seen(2.0, state=IDLE)], None).rate_now == 3.0


def test_an_export_is_estimated_by_its_rows() -> None:
    lines = [
        line(SUCCESS, 200, 200, rows_done=100, rows_total=100),
        line(ONGOING, 50, 60, rows_done=30, rows_total=300),  # its totals: the chunks so far
        line(TODO, rows_total=600),
    ]
    found = estimate_of(lines, [seen(10.0)], None)
    assert (found.jobs_known, found.bytes_known, found.bytes_total) == (1, 200, 2000)
    assert (found.bytes_done, found.bytes_left, found.seconds_left) == (250, 1750, 175.0)


def test_the_steps_of_packages_are_estimated_apart() -> None:
    def step(name: str, status: JobStatus, size: int | None = None) -> JobLine:
        task = PackageTask(package="p", step=name)  # type: ignore[arg-type]
        return line(status, size, size, package=task)

    lines = [
        *(step("pack", SUCCESS, 100), step("pack", TODO)),
        *(step("unpack", SUCCESS, 300), step("unpack", TODO)),
        *(step("release", SUCCESS, 900), step("release", TODO)),  # it brings nothing
        step("copy", TODO),
    ]
    found = estimate_of(lines, [], None)
    assert (found.bytes_done, found.bytes_known) == (400, 400)
    assert found.bytes_total == 2 * 100 + 2 * 300 + 200


@given(
    st.lists(
        st.builds(
            line,
            st.sampled_from([*JobStatus]),
            st.none() | st.integers(0, 10**15),
            st.none() | st.integers(1, 10**15),
        )
    ),
    st.lists(st.builds(seen, st.none() | st.floats(0, 1e12))),
)
def test_numbers_hang_together(lines: list[JobLine], states: list[SeenState]) -> None:
    found = estimate_of(lines, states, None)
    assert found.jobs_done <= found.jobs == len(lines)
    assert found.jobs_known <= found.jobs
    assert (found.bytes_total is None) == (found.files_total is None)
    assert found.bytes_total is None or found.bytes_total >= found.bytes_known
    assert found.bytes_left is None or found.bytes_left >= 0
    assert found.seconds_left is None or found.seconds_left > 0
    assert bool(found.left_text()) == (found.seconds_left is not None)


def test_the_mean_leaves_out_times_without_work_and_the_future() -> None:
    hour = 3600.0
    lines = [
        line(SUCCESS, spans=((0.0, 10.0, 1000), (10.0, 20.0, 3000))),
        line(SUCCESS, spans=((100.0, 110.0, 2000), (90 * hour, 91 * hour, 10**15))),
    ]
    assert mean_rate(lines, lambda: hour) == 200.0
    assert mean_rate([line(TODO)]) is None


def test_a_time_left_is_told_in_round_numbers() -> None:
    texts = [about_text(seconds) for seconds in (0.1, 31, 200, 1234, 10_000, 100_000, 1_000_000)]
    assert texts == ["10 s", "30 s", "3 min 30 s", "21 min", "2 h 50 min", "1 d 4 h", "11 d 12 h"]
