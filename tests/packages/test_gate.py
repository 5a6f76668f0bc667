"""What a worker reads of a joblist of packages to know which jobs it may do."""

from __future__ import annotations

import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from msgspec.structs import replace

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
    """A joblist of chains of jobs, and the gate of one worker at ``site``.

    ``opened`` are the IDs of the jobs whose files were opened, in order.
    """

    def __init__(self, folder, *, site=None, packages=1):
        self.joblist = JobList.create(
            str(folder / "list"), Settings(packages=PackageSettings(to=("cologne",)))
        )
        self.site, self.opened, self.stuck = site, [], []
        self.joblist.load = self.noting(self.joblist.load)
        self.joblist.status_of = self.noting(self.joblist.status_of)
        self.state = self.new_state()
        self.gate = self.new_gate()
        for number in range(packages):
            self.add_chain(f"p{number}")

    def noting(self, read):
        def noted(job_id):
            self.opened.append(job_id)
            return read(job_id)

        return noted

    def new_state(self):
        return ScanState(self.joblist, self.stuck.append, StepPlugins(), lambda: datetime.now(UTC))

    def new_gate(self):
        return Gate(self.joblist, self.state, self.site)

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

    def look(self, is_closed=None):
        """Look at all jobs as a worker does; return those that may be done."""
        is_closed = is_closed or self.gate.is_closed
        self.state.begin_pass()
        return [
            job_id
            for job_id in self.joblist.job_ids()
            if not is_closed(job_id)
            and self.joblist.status_of(job_id) is JobStatus.TODO
            and self.gate.is_open(job_id)
        ]

    def recorded(self):
        """Return why jobs can't be done, as the last look has recorded it."""
        state = self.state
        return state.blocked, state.stuck, state.premature, state.elsewhere, state.incoming


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def test_jobs_open_one_after_the_other(world):
    for step, job_id in zip(
        CHAIN, ("p0.pack", *(f"p0.{s}.cologne" for s in CHAIN[1:])), strict=True
    ):
        assert world.look() == [job_id], step
        assert world.look() == [job_id], step
        assert len(world.state.premature) == len(CHAIN) - CHAIN.index(step) - 1
        world.set(job_id, JobStatus.SUCCESS)
    assert world.look() == []


def test_a_job_that_can_not_be_done_is_not_read_again_until_its_file_changes(world):
    world.look()
    world.opened.clear()
    assert world.look() == ["p0.pack"]
    assert set(world.opened) == {"p0.pack"}
    assert world.state.premature == {f"p0.{step}.cologne" for step in CHAIN[1:]}
    world.set("p0.pack", JobStatus.ONGOING)
    world.opened.clear()
    assert world.look() == []
    assert set(world.opened) == {"p0.pack"}
    assert world.state.premature == {f"p0.{step}.cologne" for step in CHAIN[1:]}


def test_a_job_opens_in_the_look_in_which_the_one_before_is_done(world):
    world.look()
    world.state.begin_pass()
    assert world.gate.is_closed("p0.copy.cologne")
    world.set("p0.pack", JobStatus.SUCCESS)
    assert not world.gate.is_closed("p0.copy.cologne")
    assert world.gate.is_open("p0.copy.cologne")


def test_an_error_blocks_all_that_come_after_until_the_job_is_put_back(tmp_path):
    world = World(tmp_path, packages=2)
    world.look()
    world.set("p0.pack", JobStatus.ERROR)
    assert world.look() == ["p1.pack"]
    assert world.state.blocked == {f"p0.{step}.cologne" for step in CHAIN[1:]}
    assert world.state.premature == {f"p1.{step}.cologne" for step in CHAIN[1:]}
    world.set("p0.pack", JobStatus.TODO)
    assert world.look() == ["p0.pack", "p1.pack"]
    assert not world.state.blocked


def test_a_job_that_was_put_back_closes_those_after_it(world):
    world.set("p0.pack", JobStatus.SUCCESS)
    assert world.look() == ["p0.copy.cologne"]
    world.set("p0.pack", JobStatus.TODO)
    assert world.look() == ["p0.pack"]


def test_an_order_that_a_person_edits_in_place_counts_at_once(world):
    """Even if the file stays as long as it was, and its time of change is put back."""
    world.look()
    path = world.joblist.path_of("p0.verify.cologne")
    before = os.stat(path)
    with open(path, "r+", encoding="utf-8") as file:
        text = file.read()
        file.seek(0)
        file.write(text.replace("after: p0.unpack.cologne", "after: p0.unpack.cologna"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert world.look() == ["p0.pack"]
    assert world.state.stuck == {"p0.verify.cologne"}
    assert [event.after for event in world.stuck] == ["p0.unpack.cologna"]
    job, log = world.joblist.load("p0.verify.cologne")
    task = replace(job.package, after=())
    world.joblist.save("p0.verify.cologne", replace(job, package=task), log)
    assert world.look() == ["p0.pack", "p0.verify.cologne"]


def test_a_job_that_comes_after_one_more_is_closed_at_once(world):
    """As a relay whose leg another job has taken."""
    world.set("p0.pack", JobStatus.SUCCESS)
    assert world.look() == ["p0.copy.cologne"]
    world.add("other", PackageTask(package="p0", step="verify"))
    job, log = world.joblist.load("p0.copy.cologne")
    task = replace(job.package, after=(*job.package.after, "other"))
    world.joblist.save("p0.copy.cologne", replace(job, package=task), log)
    assert world.look() == ["other"]
    world.set("other", JobStatus.SUCCESS)
    assert world.look() == ["p0.copy.cologne"]


def test_a_job_that_goes_and_comes_back_is_missed_meanwhile(world):
    world.look()
    path = world.joblist.path_of("p0.pack")
    os.rename(path, path + ".aside")
    assert world.look() == []
    assert world.state.stuck == {"p0.copy.cologne"}
    assert world.state.blocked == {f"p0.{step}.cologne" for step in CHAIN[1:]}
    os.rename(path + ".aside", path)
    assert world.look() == ["p0.pack"]
    assert not world.state.stuck
    assert not world.state.blocked


def test_a_job_file_that_becomes_none_is_left_to_be_told(world):
    """The jobs after it are blocked as soon as the worker has told that it is invalid."""
    world.look()
    with open(world.joblist.path_of("p0.copy.cologne"), "w") as file:
        file.write("todo\nnonsense\n")
    assert not world.gate.is_closed("p0.copy.cologne")
    assert not world.gate.is_closed("p0.unpack.cologne")
    assert not world.gate.is_open("p0.unpack.cologne")
    assert "p0.unpack.cologne" in world.state.blocked


def test_jobs_of_another_site_are_read_again_once_their_file_changes(tmp_path):
    world = World(tmp_path, site="cologne")
    assert world.look() == []
    assert world.state.incoming == {"p0.pack", "p0.copy.cologne"}
    world.opened.clear()
    assert world.look() == []
    assert world.opened == []
    assert world.state.incoming == {"p0.pack", "p0.copy.cologne"}
    job, log = world.joblist.load("p0.pack")
    assert job.package is not None
    task = replace(job.package, at=("chile", "cologne"))
    world.joblist.save("p0.pack", replace(job, package=task), log)
    assert world.look() == ["p0.pack"]


class GateMachine(RuleBasedStateMachine):
    """One gate looks again and again; what it says is what a new one says, whatever was changed."""

    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.world = World(Path(self.folder.name), site="cologne", packages=2)
        self.names = self.world.joblist.job_ids()

    def teardown(self):
        self.folder.cleanup()

    @rule(data=st.data(), status=st.sampled_from(JobStatus))
    def change_status(self, data, status):
        self.world.set(data.draw(st.sampled_from(self.names)), status)

    @rule(data=st.data())
    def change_order(self, data):
        job_id = data.draw(st.sampled_from(self.names))
        after = data.draw(st.lists(st.sampled_from([*self.names, "missing"]), max_size=2))
        job, log = self.world.joblist.load(job_id)
        task = replace(job.package, after=tuple(after))
        self.world.joblist.save(job_id, replace(job, package=task), log)

    @invariant()
    def it_says_what_a_new_gate_says(self):
        world = self.world
        found = world.look(), world.recorded()
        world.state, kept_state = world.new_state(), world.state
        world.gate, kept_gate = world.new_gate(), world.gate
        assert found == (world.look(is_closed=lambda job_id: False), world.recorded())
        world.state, world.gate = kept_state, kept_gate


TestGate = GateMachine.TestCase
TestGate.settings = settings(max_examples=12, stateful_step_count=12, deadline=None)


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
    assert sorted(path.name for path in reserved.iterdir()) == ["p0", "p1"]
    assert legs.take("p2", place, "p2.relay.cologne.2", 5) == "p2.relay.cologne.2"
    assert sorted(path.name for path in reserved.iterdir()) == ["p0", "p1", "p2"]
    (tmp_path / "list" / "packages" / "legs" / place / "p0").write_text("damaged")
    legs.reserve("p0", place)
    assert legs.reserved_bytes(place, "another") == 11


def test_temporary_files_of_legs_that_can_not_be_looked_for_stop_no_job(tmp_path):
    world = World(tmp_path)
    packages = tmp_path / "list" / "packages"
    packages.mkdir(exist_ok=True)
    (packages / "legs").write_text("no folder")
    left = packages / "reserved" / "cologne.buffer" / f".p0.{'0' * 12}.tmp"
    left.parent.mkdir(parents=True)
    left.touch()
    Legs(world.joblist).tidy("p0")
    assert not left.exists()
