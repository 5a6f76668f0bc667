"""What a worker reads of a joblist of packages to know which jobs it may do."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from jobtool.events import ignore
from jobtool.jobs.job import Job, JobStatus
from jobtool.jobs.joblist import JobList
from jobtool.jobs.packagesettings import PackageSettings
from jobtool.jobs.packagetask import PackageTask
from jobtool.jobs.requirements import PACKAGE
from jobtool.jobs.settings import Settings
from jobtool.steps.plugins import StepPlugins
from jobtool.worker.packages.gate import Gate
from jobtool.worker.packages.legs import Legs
from jobtool.worker.scanstate import ScanState

CHAIN = ("pack", "copy", "unpack", "verify")


class World:
    """A joblist of chains of jobs, and the gate of one worker at ``site``, with a clock."""

    def __init__(self, folder, *, site=None, packages=1):
        self.joblist = JobList.create(
            str(folder / "list"), Settings(packages=PackageSettings(to=("cologne",)))
        )
        self.seconds = 0.0
        self.state = ScanState(self.joblist, ignore, StepPlugins(), lambda: datetime.now(UTC))
        self.gate = Gate(self.joblist, self.state, site, lambda: self.seconds)
        for number in range(packages):
            self.add_chain(f"p{number}")

    def add_chain(self, package):
        before = ()
        for step in CHAIN:
            to = None if step == "pack" else "cologne"
            at = ("chile",) if step in ("pack", "copy") else ("cologne",)
            name = f"{package}.{step}" if to is None else f"{package}.{step}.{to}"
            self.add(name, PackageTask(package=package, step=step, to=to, at=at, after=before))
            before = (name,)

    def add(self, name, task):
        self.joblist.add(Job(name=name, source="/nowhere", requires=(PACKAGE,), package=task))

    def set(self, job_id, status):
        job, log = self.joblist.load(job_id)
        self.joblist.save(job_id, replace(job, status=status), log)

    def look(self):
        """Look at all jobs as a worker does; return those that may be done."""
        self.state.begin_pass()
        return [
            job_id
            for job_id in self.joblist.job_ids()
            if not self.gate.stays_closed(job_id)
            and self.joblist.status_of(job_id) is JobStatus.TODO
            and self.gate.is_open(job_id)
        ]

    def spoil(self, job_id):
        """Make a job's file one that isn't a job, to see whether it is read."""
        with open(self.joblist.path_of(job_id), "w") as file:
            file.write("nonsense\n")


def test_jobs_open_one_after_the_other(tmp_path):
    world = World(tmp_path)
    for step, job_id in zip(
        CHAIN, ("p0.pack", *(f"p0.{s}.cologne" for s in CHAIN[1:])), strict=True
    ):
        assert world.look() == [job_id], step
        assert world.look() == [job_id], step
        assert len(world.state.premature) == len(CHAIN) - CHAIN.index(step) - 1
        world.set(job_id, JobStatus.SUCCESS)
    assert world.look() == []


def test_jobs_after_undone_ones_are_not_read_again(tmp_path):
    world = World(tmp_path)
    world.look()
    for job_id in ("p0.copy.cologne", "p0.unpack.cologne", "p0.verify.cologne"):
        world.spoil(job_id)
    assert world.look() == ["p0.pack"]
    assert world.state.premature == {"p0.copy.cologne", "p0.unpack.cologne", "p0.verify.cologne"}
    world.seconds += 601  # someone may have edited them
    assert world.gate.stays_closed("p0.copy.cologne") is False


def test_a_job_opens_in_the_look_in_which_this_worker_did_the_one_before(tmp_path):
    world = World(tmp_path)
    world.look()
    world.state.begin_pass()
    assert world.gate.stays_closed("p0.copy.cologne")
    world.set("p0.pack", JobStatus.SUCCESS)
    world.gate.begin_look()
    assert not world.gate.stays_closed("p0.copy.cologne")
    assert world.gate.is_open("p0.copy.cologne")


def test_an_error_blocks_all_that_come_after_until_the_job_is_put_back(tmp_path):
    world = World(tmp_path, packages=2)
    world.look()
    world.set("p0.pack", JobStatus.ERROR)
    assert world.look() == ["p1.pack"]
    assert world.state.blocked == {f"p0.{step}.cologne" for step in CHAIN[1:]}
    assert world.state.premature == {f"p1.{step}.cologne" for step in CHAIN[1:]}
    world.set("p0.pack", JobStatus.TODO)
    world.joblist.mark_put_back()
    assert world.state.forget_if_put_back()
    assert world.look() == ["p0.pack", "p1.pack"]
    assert not world.state.blocked


def test_a_job_that_was_put_back_closes_those_after_it(tmp_path):
    world = World(tmp_path)
    world.set("p0.pack", JobStatus.SUCCESS)
    assert world.look() == ["p0.copy.cologne"]
    world.set("p0.pack", JobStatus.TODO)
    assert world.look() == ["p0.pack"]


def test_jobs_of_another_site_are_read_again_once_their_file_changes(tmp_path):
    world = World(tmp_path, site="cologne")
    assert world.look() == []
    assert world.state.incoming == {"p0.pack", "p0.copy.cologne"}
    job, log = world.joblist.load("p0.pack")
    assert job.package is not None
    task = replace(job.package, at=("chile", "cologne"))
    world.joblist.save("p0.pack", replace(job, package=task), log)
    assert world.look() == ["p0.pack"]


@pytest.mark.parametrize("size", [1, 2, 5])
def test_jobs_that_await_each_other_are_no_endless_loop(tmp_path, size):
    world = World(tmp_path, packages=0)
    for number in range(size):
        after = (f"job{(number + 1) % size}",)
        world.add(f"job{number}", PackageTask(package="p", step="verify", after=after))
    for _ in range(3):
        assert world.look() == []
        assert len(world.state.premature) == size


def test_room_is_reserved_until_a_package_has_arrived(tmp_path):
    world, place = World(tmp_path, packages=3), "cologne.buffer"
    legs = Legs(world.joblist)
    for number in range(3):
        job_id = f"p{number}.copy.cologne"
        world.set(job_id, JobStatus.ONGOING)
        assert legs.take(f"p{number}", place, job_id, 10**number) == job_id
    assert legs.reserved_bytes(place, "another") == 111
    assert legs.reserved_bytes(place, "p1.copy.cologne") == 101
    world.set("p0.copy.cologne", JobStatus.SUCCESS)
    assert legs.reserved_bytes(place, "another") == 110
    reserved = tmp_path / "list" / "packages" / "reserved" / place
    assert sorted(path.name for path in reserved.iterdir()) == ["p1", "p2"]
    world.set("p0.copy.cologne", JobStatus.ONGOING)
    legs.reserve("p0", place)
    legs.reserve("p0", place)
    assert legs.reserved_bytes(place, "another") == 111
    assert sorted(path.name for path in reserved.iterdir()) == ["p0", "p1", "p2"]
    legs.leave("p2", place, "p2.copy.cologne")
    assert legs.reserved_bytes(place, "another") == 11
