"""The progress of a whole rank group, as reported."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from msgspec.structs import replace

from jobtool.events import Event
from jobtool.jobs.joblist import JobList
from jobtool.jobs.membership import Membership
from jobtool.jobs.settings import Settings
from jobtool.report.estimate import Estimate
from jobtool.worker.environment import Environment
from jobtool.worker.events import JobProgress, RunProgress
from jobtool.worker.listlook import MOST_READS, ListLook, look_rule
from jobtool.worker.options import Looks, ResolvedOptions
from jobtool.worker.progress import RUN_PROGRESS_SECONDS, Reporter
from jobtool.worker.rankgroup import RankGroup, Tally
from tests.commands import wait_for

MEGABYTE = 1_000_000


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Rank:
    """The progress reports of one rank of a run of two."""

    def __init__(self, joblist: JobList, rank: int, clock: Clock, **done: int) -> None:
        place = Environment(rank=rank, size=2, run="a run")
        self.rank_group = RankGroup(
            joblist.claims_path, place, Membership(joblist.claims_path, 60.0), clock
        )
        self.tally = Tally(name=f"node-{rank}", **done)
        self.told: list[Event] = []
        self.watched: list[JobProgress] = []
        options = ResolvedOptions(monotonic=clock, watch=self.watched.append)
        self.reporter = Reporter(self.rank_group, self.tally, options, self.told.append, rank=rank)
        self.reporter.jobs_total = 9
        self.rank_group.publish(self.tally, now=True)


@pytest.fixture
def joblist(tmp_path: Path) -> JobList:
    return JobList.create(str(tmp_path / "list"), Settings())


def progress(*, files_sent: int, bytes_sent: int) -> JobProgress:
    return JobProgress(
        job="a job",
        files_done=files_sent,
        files_total=100,
        bytes_done=bytes_sent,
        bytes_total=100 * MEGABYTE,
        files_sent=files_sent,
        bytes_sent=bytes_sent,
        rate_mb_s=1.0,
    )


def test_the_first_rank_tells_every_period_what_all_have_done(joblist: JobList) -> None:
    clock = Clock()
    first = Rank(joblist, 0, clock, succeeded=1)
    second = Rank(joblist, 1, clock, succeeded=3, failed=1, lost=5, handed_back=6)
    first.reporter.watch(progress(files_sent=2, bytes_sent=30 * MEGABYTE))
    second.reporter.watch(progress(files_sent=5, bytes_sent=10 * MEGABYTE))
    clock.now += RUN_PROGRESS_SECONDS - 1
    for rank in (second, first):
        rank.reporter.tick()
        assert rank.told == []

    clock.now += 1
    first.reporter.tick()
    expected = {"jobs_done": 5, "jobs_total": 9, "files_sent": 7, "bytes_sent": 40 * MEGABYTE}
    rate = pytest.approx(40 / RUN_PROGRESS_SECONDS)
    assert first.told == [RunProgress(workers=2, rate_mb_s=rate, **expected)]
    first.reporter.tick()
    assert len(first.told) == 1
    assert [each.files_sent for rank in (first, second) for each in rank.watched] == [2, 5]

    # The job under way is added to those before it, and ranks that have ended still count.
    first.reporter.end_job()
    second.tally.is_over = True
    second.rank_group.publish(second.tally, now=True)
    clock.now += 1.5 * RUN_PROGRESS_SECONDS
    first.reporter.watch(progress(files_sent=1, bytes_sent=20 * MEGABYTE))
    expected |= {"files_sent": 8, "bytes_sent": 60 * MEGABYTE}
    rate = pytest.approx(60 / (2.5 * RUN_PROGRESS_SECONDS))
    assert first.told[1:] == [RunProgress(workers=1, rate_mb_s=rate, **expected)]


def test_no_other_rank_tells_it_again(joblist: JobList) -> None:
    clock = Clock()
    first, second = (Rank(joblist, rank, clock) for rank in (0, 1))
    for pauses in (1, 1.5, 2.25):
        clock.now += pauses * RUN_PROGRESS_SECONDS
        second.reporter.watch(progress(files_sent=1, bytes_sent=MEGABYTE))
        first.reporter.tick()
    assert [event.kind for event in first.told] == ["run-progress"] * 3
    assert second.told == []


def test_the_rows_of_exports_are_added_up(joblist: JobList) -> None:
    clock = Clock()
    first, second = (Rank(joblist, rank, clock) for rank in (0, 1))
    second.reporter.watch(replace(progress(files_sent=1, bytes_sent=MEGABYTE), rows_done=500))
    second.reporter.end_job()
    clock.now += RUN_PROGRESS_SECONDS
    second.reporter.watch(replace(progress(files_sent=2, bytes_sent=MEGABYTE), rows_done=1_000))
    first.reporter.watch(replace(progress(files_sent=3, bytes_sent=MEGABYTE), rows_done=2_000_000))
    (told,) = first.told
    assert isinstance(told, RunProgress)
    assert told.rows_read == 2_001_500
    assert told.text() == (
        "0/9 jobs by 2 worker(s), 2,001,500 rows, 6 chunks, 2.9 MiB, 293 KiB/s, 200,150 rows/s"
    )


def test_the_line_of_an_export_counts_rows() -> None:
    counted = replace(
        progress(files_sent=3, bytes_sent=30 * MEGABYTE),
        rows_done=1_500_000,
        rows_total=2_000_000,
        rows_per_second=50_000.4,
        seconds_left=10.0,
        phase="exporting",
    )
    assert counted.text() == (
        "a job: 1,500,000 of 2,000,000 rows, 3 chunks, 28.6 MiB, 977 KiB/s, 50,000 rows/s, "
        "10 s left, exporting"
    )
    waiting = replace(
        progress(files_sent=0, bytes_sent=0),
        rows_done=0,
        rows_per_second=0.0,
        phase="running the query",
    )
    assert waiting.text() == (
        "a job: 0 rows, 0 chunks, 0 B, 977 KiB/s, 0 rows/s, running the query"
    )


def test_the_whole_list_is_told_and_never_goes_back(joblist: JobList) -> None:
    clock, told, seen = Clock(), list[RunProgress](), list[Estimate]()
    place = Environment()
    membership = Membership(joblist.claims_path, 60.0)
    reporter = Reporter(
        RankGroup(joblist.claims_path, place, membership, clock),
        Tally(name="node"),
        ResolvedOptions(monotonic=clock, watch_run=told.append, looks="always"),
        lambda event: None,
        rank=0,
        estimate=lambda: seen[-1] if seen else None,
    )
    clock.now += 1
    reporter.watch(progress(files_sent=1, bytes_sent=10 * MEGABYTE))
    assert told[-1].share_done is None
    assert "Whole list" not in told[-1].text()
    known = {"jobs": 10, "jobs_known": 4, "bytes_total": 200 * MEGABYTE, "rate_now": 1e7}
    seen.append(Estimate(jobs_done=3, bytes_done=50 * MEGABYTE, bytes_left=150 * MEGABYTE, **known))
    clock.now += 1
    reporter.watch(progress(files_sent=1, bytes_sent=10 * MEGABYTE))
    assert (
        told[-1]
        .text()
        .endswith("Whole list: 25 % of about 191 MiB, 3/10 jobs, 9.5 MiB/s, about 20 s left")
    )
    clock.now += 1
    reporter.watch(progress(files_sent=2, bytes_sent=60 * MEGABYTE))  # since the last look
    assert told[-1].share_done == pytest.approx(0.5)
    seen.append(Estimate(jobs_done=3, bytes_done=70 * MEGABYTE, bytes_left=130 * MEGABYTE, **known))
    clock.now += 1
    reporter.watch(progress(files_sent=2, bytes_sent=60 * MEGABYTE))
    assert told[-1].share_done == pytest.approx(0.5), "a look is always a bit old"
    reporter.watch(progress(files_sent=9, bytes_sent=900 * MEGABYTE))
    clock.now += 1
    reporter.tick()
    assert (told[-1].share_done, told[-1].seconds_left) == (1.0, None)


def test_a_look_reads_the_joblist_and_survives_its_end(tmp_path: Path) -> None:
    found = JobList.create(str(tmp_path / "list"), Settings())
    list_look = ListLook(found)
    with list_look.looking(lambda: True):
        wait_for(lambda: list_look.estimate() is not None)
        shutil.rmtree(tmp_path / "list")
    assert list_look.estimate() == Estimate(files_total=0, bytes_total=0, bytes_left=0)


@pytest.mark.parametrize(
    ("looks", "rank", "is_alone", "workers", "expected"),
    [
        ("never", 0, True, 1, None),
        ("always", 1, False, 1, None),
        ("always", 0, True, 10**6, True),
        ("if-short", 0, False, 10**6, True),
        ("if-short", 0, True, 0, True),
        ("if-short", 0, True, MOST_READS // 100, True),
        ("if-short", 0, True, MOST_READS // 100 + 1, False),
    ],
)
def test_few_workers_of_many_look_at_a_long_list(
    looks: Looks, rank: int, is_alone: bool, workers: int, expected: bool | None
) -> None:
    rule = look_rule(looks, jobs=100, rank=rank, is_alone=is_alone, workers=lambda: workers)
    assert (None if rule is None else rule()) == expected
