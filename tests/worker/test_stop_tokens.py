"""Which workers a stop concerns: those that were there before it, by its token and no clock."""

import os

import pytest

from jobtool.api.steer import pause_jobs, stop_jobs
from jobtool.jobs.control import path_of
from jobtool.jobs.joblist import JobList
from jobtool.jobs.settings import Settings
from jobtool.stop import Stop
from jobtool.worker.steering import Steering


@pytest.fixture
def joblist(tmp_path) -> JobList:
    return JobList.create(str(tmp_path / "jobs"), Settings(destination="/data/copies"))


def worker(joblist: JobList) -> tuple[Steering, Stop]:
    stop = Stop()
    return Steering(joblist, stop, lambda event: None), stop


def test_a_stop_concerns_the_workers_before_it_and_none_after_it(joblist):
    before, stop_before = worker(joblist)
    before.begin(heeds=True)
    stop_jobs(joblist)
    after, stop_after = worker(joblist)
    after.begin(heeds=True)
    for each in (before, after):
        each.look()
    assert stop_before.is_set()
    assert not stop_after.is_set()
    stop_jobs(joblist)
    after.look()
    assert (stop_after.reason or "").startswith("stopped by ")


def test_a_file_that_is_gone_or_has_other_news_stops_nobody(joblist):
    stop_jobs(joblist)
    one, stop = worker(joblist)
    one.begin(heeds=True)
    pause_jobs(joblist)
    one.look()
    assert one.list_pause is not None
    os.unlink(path_of(joblist))
    one.look()
    assert one.list_pause is None
    assert not stop.is_set()


def test_an_old_stop_that_could_not_be_read_at_the_start_is_no_new_one(joblist):
    stop_jobs(joblist)
    path = path_of(joblist)
    os.rename(path, path + ".old")
    with open(path, "w") as file:
        file.write("torn")
    one, stop = worker(joblist)
    assert one.begin(heeds=True) is None
    os.rename(path + ".old", path)
    one.look()
    assert not stop.is_set()
    stop_jobs(joblist)
    one.look()
    assert stop.is_set()


@pytest.mark.parametrize("stopped_after", ["rank 0", "rank 1"])
def test_ranks_that_start_while_a_stop_comes_all_end_or_none_does(joblist, stopped_after):
    first, stop_of_first = worker(joblist)
    second, stop_of_second = worker(joblist)
    if stopped_after == "rank 0":
        seen = first.begin(heeds=True)
        stop_jobs(joblist)
        second.begin(heeds=False)
    else:
        second.begin(heeds=False)
        stop_jobs(joblist)
        seen = first.begin(heeds=True)
    second.agree(seen)
    for each in (first, second):
        each.look()
    assert stop_of_first.is_set() == stop_of_second.is_set() == (stopped_after == "rank 0")
