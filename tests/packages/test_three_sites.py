"""Packages from chile to three sites by a relay, a custom and a direct route; workers are killed.

chile, bonn and dresden are folders, hub is an SSH server, cologne is in S3. At each site two
workers work on the same joblist, in ``make test-wide`` as ranks of mpirun. One that holds a job is
killed again and again.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.commands import BIN, finish, run_ok, start, start_ranks
from tests.faults.proxy import Proxy, proxy_before
from tests.packages.chains import MIB, Chain, make_source, resize, small_disk
from tests.servers.s3 import ACCESS_KEY, SECRET_KEY, S3Server
from tests.servers.sftp import SftpServer, sftp_server
from tests.trees import contents

DEADLINE_SECONDS = 240
SITES = ("chile", "hub", "cologne", "bonn", "dresden")
PLACES = 9
STEPS = ("unpack", "verify", "archive")


@dataclass(frozen=True, kw_only=True)
class Size:
    """How large a show is: the files of an item, its packages, and how many kills there are."""

    items: int
    sizes: tuple[int, ...]
    large: tuple[int, ...] = ()
    package: str
    kills: int
    bandwidth: str
    by_mpirun: bool = False
    deadline_seconds: float = DEADLINE_SECONDS


SMALL = Size(
    items=11,
    sizes=(100_000, 5, 150_000),
    large=(0, 3 * MIB),
    package="2MB",
    kills=6,
    bandwidth="6MB/s",
)
FULL = Size(
    items=59,
    sizes=(5 * MIB, 15 * MIB),
    large=(700 * MIB,),
    package="300MB",
    kills=30,
    bandwidth="60MB/s",
    by_mpirun=True,
    deadline_seconds=1500,
)


@pytest.fixture
def sftp(tmp_path: Path) -> Iterator[SftpServer]:
    (tmp_path / "server").mkdir()
    with sftp_server(tmp_path / "server") as server:
        yield server


@pytest.fixture
def proxy(rclone_s3: S3Server) -> Iterator[Proxy]:
    with proxy_before(rclone_s3.endpoint_url) as running:
        yield running


@dataclass(slots=True)
class Storm:
    """Two workers at each site, started again once they end; who holds a job is killed."""

    chain: Chain
    bandwidth: str
    by_mpirun: bool
    random: random.Random = field(default_factory=lambda: random.Random(7))
    workers: dict[tuple[str, int], subprocess.Popen[str]] = field(default_factory=dict)
    killed: list[str] = field(default_factory=list)

    def rage(self, sites: Sequence[str], kills: int, goal: Sequence[str], seconds: float) -> None:
        """Work at the sites, with so many kills, until the jobs of the goal are done."""
        end = time.monotonic() + seconds
        due, wanted = time.monotonic() + 1.0, len(self.killed) + kills
        try:
            while not self._are_done(goal):
                assert time.monotonic() < end, self.chain.jobs
                for site in sites:
                    self._start(site)
                if time.monotonic() > due and len(self.killed) < wanted and self._kill_a_holder():
                    due = time.monotonic() + self.random.uniform(0.1, 0.6)
                time.sleep(0.05 if len(self.killed) < wanted else 0.5)
        finally:
            for process in self.workers.values():
                with contextlib.suppress(ProcessLookupError):
                    process.terminate()
            for process in self.workers.values():
                finish(process)
            self.workers.clear()

    def _are_done(self, names: Sequence[str]) -> bool:
        jobs = self.chain.jobs
        relays = [name for name in jobs if ".relay." in name and ".bonn" not in name]
        return all(jobs.get(name) == "success" for name in [*names, *relays])

    def _start(self, site: str) -> None:
        command = ["transfer-worker", "-i", self.chain.joblist, "--site", site, "--wait"]
        command += ["--bandwidth", self.bandwidth]
        for number in range(1 if self.by_mpirun else 2):
            process = self.workers.get((site, number))
            if process is not None:
                if process.poll() is None:
                    continue
                finish(process)
            if self.by_mpirun:
                rank = [BIN / command[0], *command[1:]]
                process = start_ranks(rank, rank, env=self.chain.env)
            else:
                process = start(*command, env=self.chain.env)
            self.workers[site, number] = process

    def _kill_a_holder(self) -> bool:
        """Kill a worker that holds a job, as its job file says; return True if there was one."""
        held = [name for name, status in self.chain.jobs.items() if status == "ongoing"]
        self.random.shuffle(held)
        for name in held:
            claims = re.findall(r" claimed worker=\S+:(\d+) ", self.chain.log(name))
            if claims and claims[-1] not in self.killed and self._is_worker(int(claims[-1])):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(claims[-1]), signal.SIGKILL)
                    self.killed.append(claims[-1])
                    return True
        return False

    def _is_worker(self, pid: int) -> bool:
        """Whether a process still is a worker of ours: its number may have been given away."""
        if not self.by_mpirun:
            running = (each for each in self.workers.values() if each.poll() is None)
            return pid in {each.pid for each in running}
        with contextlib.suppress(OSError):
            return b"transfer-worker" in Path(f"/proc/{pid}/cmdline").read_bytes()
        return False


def make_chain(folder: Path, sftp: SftpServer, proxy: Proxy, bucket: str, disk: Path) -> Chain:
    s3 = {"endpoint_url": proxy.endpoint_url, "region": "us-east-1"}
    hub = folder / "hub"
    hub.mkdir()
    return Chain(
        folder,
        places={
            "hub.buffer": f"sftp://{sftp.authority()}{hub}",
            **{
                f"cologne.{kind}": f"s3://{bucket}/{kind}"
                for kind in ("buffer", "processing", "archive")
            },
            "bonn.processing": str(disk),
            "dresden.processing": str(folder / "dresden"),
            "dresden.archive": str(folder / "dresden archive"),
        },
        settings={
            "hub.buffer": sftp.settings(),
            **{f"cologne.{kind}": s3 for kind in ("buffer", "processing", "archive")},
        },
        routes=[
            {"type": "relay", "from": "chile", "to": "cologne", "via": "hub"},
            {"type": "custom", "from": "chile.buffer", "to": "bonn.buffer"},
            {"type": "direct", "from": "chile", "to": "dresden"},
        ],
        env={
            **sftp.environment,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        },
    )


def archived(chain: Chain, item: str) -> list[str]:
    """The sites at which the catalog knows an archived copy of an item."""
    done = run_ok("jobtool", "where", item, "--catalog", chain.catalog, "--json")
    found = [json.loads(line) for line in done.lines]
    return [
        each["site"]
        for each in found
        if each.get("location") == "archive" and each["state"] == "present"
    ]


def show(
    size: Size, folder: Path, sftp: SftpServer, proxy: Proxy, s3: S3Server, disk: Path
) -> None:
    chain = make_chain(folder, sftp, proxy, s3.new_bucket(), disk)
    bucket = chain.places["cologne.buffer"].split("/")[2]
    make_source(chain.source, size.items, size.sizes)
    make_source(chain.source / "large", 1, size.large, seed=2)
    chain.generate(
        *("--package-size", size.package, "--pack", "stream"),
        to=("cologne", "bonn", "dresden"),
        steps=",".join(STEPS),
    )
    packages = chain.packages()
    storm = Storm(chain, size.bandwidth, size.by_mpirun)

    # All arrives at all sites, is unpacked and archived at two; bonn's disk is too small.
    copies = [f"{name}.copy.{site}" for name in packages for site in ("cologne", "bonn", "dresden")]
    steps = [
        f"{name}.{step}.{site}"
        for name in packages
        for step in STEPS
        for site in ("cologne", "dresden")
    ]
    others = [site for site in SITES if site != "bonn"]
    storm.rage(others, size.kills - 2, [*copies, *steps], size.deadline_seconds)
    assert len(storm.killed) == size.kills - 2, "the work was done before all kills"

    # An unpack that fails sends nothing again: not from chile, and not to cologne.
    moves = [name for name in chain.jobs if ".copy." in name or ".relay." in name]
    attempts = {name: chain.job(name).attempts for name in moves}
    tars = {path: path.stat() for path in Path(chain.places["bonn.buffer"]).iterdir()}
    uploaded = proxy.uploaded
    for _ in range(2):
        done = chain.work("bonn")
        assert done.exit_code == 4, done
        assert "No space left" in done.stderr
    assert {chain.jobs[f"{name}.unpack.bonn"] for name in packages} != {"success"}
    resize(disk, "4g")
    storm.rage(
        ("bonn",),
        2,
        [f"{name}.{step}.bonn" for name in packages for step in STEPS],
        size.deadline_seconds,
    )
    assert len(storm.killed) == size.kills
    assert set(chain.jobs.values()) == {"success"}
    assert {name: chain.job(name).attempts for name in moves} == attempts
    assert {path: path.stat().st_mtime_ns for path in tars} == {
        path: stat.st_mtime_ns for path, stat in tars.items()
    }
    assert {path: path.stat().st_ino for path in tars} == {
        path: stat.st_ino for path, stat in tars.items()
    }
    assert proxy.uploaded == uploaded
    # To S3 each package went as a tar, as files and to the archive, and what kills cut off.
    total = sum(len(data) for data in contents(chain.source).values())
    assert uploaded <= 3.2 * total + len(storm.killed) * 24 * MIB

    chain.assert_unpacked(disk)
    chain.assert_unpacked(folder / "dresden")
    # A worker that was killed while it changed a job file has left a temporary file. The next one
    # that goes over the joblist removes it; those of the storm ended with the last job.
    chain.work_ok("chile")
    assert s3.folder is not None
    chain.assert_unpacked(s3.folder / bucket / "processing")
    for place in (
        *(folder / "hub", folder / "bonn.buffer", folder / "bonn.archive"),
        *(folder / "dresden archive", s3.folder / bucket / "archive"),
        s3.folder / bucket / "buffer",
    ):
        chain.assert_packages(place)
    chain.assert_tidy()
    assert sorted(archived(chain, "item00")) == ["bonn", "cologne", "dresden"]
    # At hub; at cologne and bonn in all three locations; at dresden in two: nine for each item.
    few = run_ok("jobtool", "copies", "--less-than", PLACES, "--catalog", chain.catalog)
    assert few.lines == ["💡 0 item(s)."]
    every = run_ok("jobtool", "copies", "--less-than", PLACES + 1, "--catalog", chain.catalog)
    assert every.lines[-1] == f"💡 {size.items + 1} item(s)."


def test_all_arrives_though_workers_are_killed(
    tmp_path: Path, sftp: SftpServer, proxy: Proxy, rclone_s3: S3Server
) -> None:
    (tmp_path / "sites").mkdir()
    with small_disk(tmp_path / "disk", "1m") as disk:
        show(SMALL, tmp_path / "sites", sftp, proxy, rclone_s3, disk)


@pytest.mark.wide
def test_all_arrives_though_thirty_ranks_are_killed(
    tmp_path: Path, sftp: SftpServer, proxy: Proxy, rclone_s3: S3Server
) -> None:
    (tmp_path / "sites").mkdir()
    with small_disk(tmp_path / "disk", "8m") as disk:
        show(FULL, tmp_path / "sites", sftp, proxy, rclone_s3, disk)
