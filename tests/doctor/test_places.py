"""Which sources and destinations are checked, for any number of jobs."""

from __future__ import annotations

from pathlib import Path

from jobtool.doctor.places import places_of
from jobtool.jobs.job import FilePair, Job, JobStatus
from jobtool.jobs.joblist import JobList
from jobtool.jobs.settings import Settings
from jobtool.stores.storetype import store_type


def joblist_of(path: Path, *jobs: Job, destination: str | None = None) -> JobList:
    joblist = JobList.create(str(path), Settings(destination=destination))
    for job in jobs:
        joblist.add(job)
    return joblist


def tree(number: int, root: str = "s3://bucket/x", status: JobStatus = JobStatus.TODO) -> Job:
    name = f"job{number:05d}"
    return Job(name=name, source=f"/in/{name}", destination=f"{root}/{name}", status=status)


def test_of_many_jobs_a_few_are_opened(tmp_path: Path, monkeypatch) -> None:
    joblist = joblist_of(tmp_path / "list", *map(tree, range(300)), destination="s3://bucket/x")
    opened: list[str] = []
    load = joblist.load
    monkeypatch.setattr(joblist, "load", lambda stem: opened.append(stem) or load(stem))
    places = places_of(joblist)
    assert len(opened) <= 12
    assert len(set(places.sources)) == 3
    assert places.destinations == ("s3://bucket/x",)
    assert places.strictest_clock is store_type("s3")


def test_without_a_common_destination_those_of_jobs_count_once_each(tmp_path: Path) -> None:
    jobs = [tree(1), tree(2), tree(3, "/disk/y"), tree(4, "/disk/y/deeper")]
    places = places_of(joblist_of(tmp_path / "list", *jobs))
    assert places.destinations == ("s3://bucket/x", "/disk/y")
    assert places.strictest_clock is store_type("s3")


def test_named_files_have_destinations_of_their_own(tmp_path: Path) -> None:
    job = Job(
        name="tables",
        source="/in",
        files=(
            FilePair(source="a.parquet", destination="s3://images/2026/a.parquet"),
            FilePair(source="b.parquet", destination="/errors/b.parquet"),
        ),
    )
    places = places_of(joblist_of(tmp_path / "list", job))
    assert places.sources == ("/in/a.parquet",)
    assert places.destinations == ("s3://images/2026", "/errors")


def test_jobs_that_are_done_need_no_source(tmp_path: Path) -> None:
    jobs = [tree(1, status=JobStatus.SUCCESS), tree(2)]
    assert places_of(joblist_of(tmp_path / "list", *jobs)).sources == ("/in/job00002",)


def test_invalid_jobs_are_passed_over_and_an_empty_joblist_has_no_places(tmp_path: Path) -> None:
    joblist = joblist_of(tmp_path / "list")
    Path(joblist.path, "bad.txt").write_text("Done\n")
    places = places_of(joblist)
    assert (places.sources, places.destinations, places.strictest_clock) == ((), (), None)
