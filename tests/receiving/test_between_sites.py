"""Packages go from a sender's joblist to a receiver's, which share no filesystem."""

from __future__ import annotations

import pytest

from jobtool.jobs.job import Job
from jobtool.jobs.joblist import JobList
from jobtool.jobs.packagesettings import PackageSettings
from jobtool.jobs.packagetask import PackageTask, job_name
from jobtool.jobs.requirements import PACKAGE
from jobtool.jobs.settings import Settings
from jobtool.packages.memberfile import write_members
from jobtool.packages.members import Member, MemberList, in_package_order
from tests.commands import BIN, finish, run, run_ok, start_module, start_ranks
from tests.packages.made import tree
from tests.receiving.worlds import World, events_of
from tests.trees import statuses


class Sender:
    """A joblist at chile that packs items while it sends them to cologne, by the hub."""

    def __init__(self, world: World) -> None:
        self.source = world.folder / "source"
        self.source.mkdir()
        packages = PackageSettings(
            sites=str(world.sites), origin="chile.buffer", to=("cologne",), backoff_seconds=1
        )
        settings = Settings(id="sender", requires=(PACKAGE,), packages=packages)
        self.joblist = JobList.create(str(world.folder / "sent"), settings)
        (world.folder / "sent/packages").mkdir()

    def package(self, name: str, items: dict[str, int]) -> None:
        """Make a package's member list and its first job."""
        members = MemberList()
        for item, count in items.items():
            members.start_item(item)
            (self.source / item).mkdir()
            for number in range(count):
                path = self.source / item / str(number)
                path.write_bytes(f"{item} {number} ".encode() * 5_000)
                stat = path.stat()
                members.add(
                    Member(path=f"{item}/{number}", size=stat.st_size, mtime_ns=stat.st_mtime_ns)
                )
        write_members(self.joblist.members_path_of(name), in_package_order(members))
        task = PackageTask(package=name, step="copy", to="cologne", at=("chile",), packs=True)
        self.joblist.add(
            Job(
                name=job_name(name, "copy", "cologne"),
                source=str(self.source),
                requires=(PACKAGE,),
                package=task,
            )
        )
        self.joblist.flush()


def test_two_joblists_hand_over_through_a_bucket(tmp_path, rclone_s3, monkeypatch):
    for name, value in rclone_s3.environment.items():
        monkeypatch.setenv(name, value)
    world = World(tmp_path, f"s3://{rclone_s3.new_bucket()}")
    buffer = world.sites.read_text().split("[sites.cologne.buffer]\nurl = ")[1].split('"')[1]
    sender = Sender(world)
    sender.package("night-1", {"a": 5, "b": 3})
    sent = ("transfer-worker", "-i", sender.joblist.path, "-v", 0)
    run_ok(*sent, "--site", "chile")
    done = world.receive(*world.at_cologne, "--then", "unpack,verify,archive", url=buffer)
    assert "❌" not in done.stdout  # it is at the hub: cologne's buffer has nothing
    assert world.job_files() == {}
    run_ok(*sent, "--site", "hub")
    assert world.receive(url=buffer).exit_code == 0
    assert len(world.job_files()) == 3
    sender.package("night-2", {"c": 4})
    run_ok(*sent)
    assert events_of(world.receive("--json", url=buffer))[-1]["new"] == 1
    worker = (BIN / "transfer-worker", "-i", world.joblist, "--site", "cologne", "--threads", 2)
    done = finish(start_ranks(worker, worker))
    assert (done.exit_code, done.stderr) == (0, "")
    assert set(statuses(world.joblist).values()) == {"success"}
    assert world.unpacked() == tree(sender.source)
    archived = {path.name for path in (world.folder / "cologne/arc").iterdir()}
    assert {name for name in archived if name.endswith(".tar")} == {"night-1.tar", "night-2.tar"}
    run_ok("jobtool", "verify", world.joblist, "--deep", "--sample", "50%")


@pytest.mark.parametrize("steps", [(), ("--then", "archive", "--archive", "kept")])
def test_a_hub_carries_packages_on(tmp_path, steps):
    world = World(tmp_path)
    world.buffer = world.folder / "hub/buffer"
    world.package("night-1", {"a": 2})
    world.package("night-2", {"b": 2})
    options = ("--sites", world.sites, "--site", "hub", "--to", "cologne")
    done = run(
        "jobtool", "receive", world.buffer, "-o", "arrived", *options, *steps, cwd=world.folder
    )
    assert (done.exit_code, done.stderr) == (0, "")
    run_ok("transfer-worker", "-i", world.joblist, "--site", "cologne", "-v", 0)
    assert set(statuses(world.joblist).values()) == {"todo"}
    run_ok("transfer-worker", "-i", world.joblist, "--site", "hub", "-v", 0)
    assert set(statuses(world.joblist).values()) == {"success"}
    for path in world.buffer.glob("night-*.tar*"):
        assert (world.folder / "cologne/buffer" / path.name).read_bytes() == path.read_bytes()
        assert not steps or (world.folder / "kept" / path.name).exists()
    job, _ = JobList.open(str(world.joblist)).load("night-1.copy.cologne")
    assert job.package.way == ("hub.buffer", "cologne.buffer")


def test_packages_elsewhere_are_not_carried_on(tmp_path):
    world = World(tmp_path)
    world.package("night-1", {"a": 2})
    options = ("--sites", world.sites, "--site", "hub", "--to", "cologne")
    assert world.receive(*options, url=world.folder / "hub/buffer").exit_code == 0
    done = world.receive(url=world.buffer)
    assert done.exit_code == 2
    assert "expected packages at" in done.stderr
    assert world.job_files() == {}


@pytest.mark.parametrize(
    "point", ["after a package is recorded as received", "after a job of a received package"]
)
@pytest.mark.parametrize("nth", [1, 4])
def test_a_kill_leaves_what_the_next_run_completes(tmp_path, point, nth):
    world = World(tmp_path)
    for number in range(4):
        world.package(f"night-{number}", {f"item-{number}": 1})
    asked = (world.buffer, "-o", world.joblist, *world.at_cologne, "--then", "unpack,archive")
    killed = finish(start_module("tests.receiving.victim", point, str(nth), *map(str, asked)))
    assert killed.exit_code == -9, killed
    before = world.job_files()
    assert len(before) < 8
    assert world.receive().exit_code == 0
    assert {name: world.job_files()[name] for name in before} == before
    assert set(world.job_files()) == {
        f"night-{number}.{step}.cologne" for number in range(4) for step in ("unpack", "archive")
    }
    run_ok("transfer-worker", "-i", world.joblist, "-v", 0)
    assert {path.split("/")[0] for path in world.unpacked()} == {
        f"item-{number}" for number in range(4)
    }


def test_what_is_done_here_and_sent_on_is_released(tmp_path):
    world = World(tmp_path)
    world.buffer = world.folder / "hub/buffer"
    tar = world.package("night-1", {"a": 2})
    data = tar.read_bytes()
    options = ("--sites", world.sites, "--site", "hub", "--to", "cologne", "--release", "buffers")
    done = world.receive(*options, "--then", "archive", "--archive", tmp_path / "kept")
    assert (done.exit_code, done.stderr) == (0, "")
    job, _ = JobList.open(str(world.joblist)).load("night-1.release.hub")
    assert job.package.after == ("night-1.archive.hub", "night-1.copy.cologne")
    run_ok("transfer-worker", "-i", world.joblist, "--site", "hub", "-v", 0)
    assert set(statuses(world.joblist).values()) == {"success"}
    assert not tar.exists()
    assert (tmp_path / "kept/night-1.tar").read_bytes() == data
    assert (tmp_path / "cologne/buffer/night-1.tar").read_bytes() == data
    before = world.job_files()
    assert events_of(world.receive("--json"))[-1]["new"] == 0
    assert world.job_files() == before
