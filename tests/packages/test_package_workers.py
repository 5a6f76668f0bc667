"""Workers of several sites on one joblist of packages: who does what, who waits, how each ends."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest

from tests.cluster.test_sharing import slow
from tests.commands import (
    BIN,
    assert_one_line_error,
    finish,
    run,
    start,
    start_ranks,
    wait_for,
)
from tests.faults.proxy import proxy_before
from tests.packages.chains import KIB, MIB, ROUTES, Chain, make_source
from tests.servers.s3 import S3Server
from tests.trees import contents, events


@pytest.fixture
def chain(folder: Path) -> Chain:
    made = Chain(folder)
    make_source(made.source, 2, (0, 300, 60 * KIB))
    made.routes = [dict(ROUTES[1])]
    made.write_sites()
    return made


def test_a_site_that_nobody_knows_is_an_error_with_the_likely_one(chain: Chain) -> None:
    chain.generate(to=("bonn",))
    done = chain.work("bon")
    assert_one_line_error(done, 2, "--site", "found bon", "Did you mean 'bonn'")
    assert set(chain.jobs.values()) == {"todo"}


def test_a_site_without_work_now_says_so(chain: Chain) -> None:
    chain.generate(to=("bonn",))
    done = chain.work("bonn")
    assert (done.exit_code, done.stderr) == (5, ""), done
    assert "3 waiting for steps that come before, 1 for workers at other sites" in done.stdout
    assert "once these are done: transfer-worker" in done.stdout
    assert set(chain.jobs.values()) == {"todo"}
    assert not chain.log("list-0001.unpack.bonn")


def test_a_worker_that_waits_gets_what_others_make_ready(chain: Chain) -> None:
    chain.generate(to=("bonn",))
    waiting = start("transfer-worker", "-i", chain.joblist, "--site", "bonn", "--wait")
    hub = start("transfer-worker", "-i", chain.joblist, "--site", "hub", "--wait")
    try:
        wait_for(lambda: len(list(chain.joblist.glob(".claims/workers/*"))) >= 2)
        chain.work_ok("chile")
        for done in (finish(hub), finish(waiting)):
            assert (done.exit_code, done.stderr) == (0, ""), done
    finally:
        for process in (waiting, hub):
            process.kill()
    chain.assert_done(unpacked_at=("bonn",))


def test_two_ranks_do_different_packages(chain: Chain) -> None:
    make_source(chain.source, 8, (0, 300, 60 * KIB))
    chain.generate("--package-size", "60kB", to=("bonn",))
    assert len(chain.packages()) == 8
    worker = [BIN / "transfer-worker", "-i", chain.joblist, "--site", "chile"]
    done = finish(start_ranks(worker, worker))
    assert done.exit_code == 0, done
    assert "These 2 workers finished" in done.stdout
    for site in ("hub", "bonn"):
        chain.work_ok(site)
    chain.assert_done(unpacked_at=("bonn",))
    for name in chain.jobs:
        assert len(events(chain.joblist / f"{name}.txt", "claimed")) == 1, name


def test_a_large_tar_is_relayed_by_two_workers_at_once(chain: Chain, rclone_s3: S3Server) -> None:
    """The one that holds the job gives parts of the tar away."""
    bucket, part_bytes = rclone_s3.new_bucket(), 5 * MIB
    make_source(chain.source, 1, (60 * MIB,))
    chain.routes = [dict(ROUTES[0])]
    chain.env |= rclone_s3.environment
    with proxy_before(rclone_s3.endpoint_url, slow(0.4)) as proxy:
        chain.places["cologne.buffer"] = f"s3://{bucket}/packages"
        chain.settings["cologne.buffer"] = {"endpoint_url": proxy.endpoint_url}
        chain.write_sites()
        chain.generate(to=("cologne",), steps=None)
        with (chain.joblist / "joblist.toml").open("a") as file:
            file.write(f"\n[transfer]\npart_size_bytes = {part_bytes}\n")
        chain.work_ok("chile")
        command = ("transfer-worker", "-i", chain.joblist, "--site", "hub", "--threads", "1")
        holder = start(*command, env=chain.env)
        relay = "list-0001.relay.cologne.2"
        wait_for(lambda: chain.jobs.get(relay) == "ongoing")
        helper = start(*command, "-v", "2", env=chain.env)
        done, helped = finish(holder), finish(helper)
    assert done.exit_code == 0, done
    assert f"Helped with {relay}.txt" in helped.stdout
    chain.assert_done(unpacked_at=())
    assert len(events(chain.joblist / f"{relay}.txt", "claimed")) == 1
    assert rclone_s3.folder is not None
    chain.assert_packages(rclone_s3.folder / bucket / "packages")


def test_a_stop_hands_the_package_back_and_the_next_worker_goes_on(chain: Chain) -> None:
    make_source(chain.source, 2, (1 * MIB, 2 * MIB))
    chain.generate(to=("bonn",))
    slow = start("transfer-worker", "-i", chain.joblist, "--site", "chile", "--bandwidth", "1MB/s")
    wait_for(lambda: "planned" in chain.log("list-0001.copy.bonn"))
    slow.send_signal(signal.SIGTERM)
    done = finish(slow)
    assert done.exit_code == 3, done
    assert chain.jobs["list-0001.copy.bonn"] == "todo"
    job = chain.job("list-0001.copy.bonn")
    assert (job.failures, job.package.way[1]) == (0, "hub.buffer")
    assert events(chain.joblist / "list-0001.copy.bonn.txt", "handed-back")
    for site in ("chile", "hub", "bonn"):
        chain.work_ok(site)
    chain.assert_done(unpacked_at=("bonn",))


def test_without_its_catalog_the_work_is_done_and_the_catalog_made_up_for(chain: Chain) -> None:
    chain.generate(to=("bonn",))
    chain.catalog.write_text("a file is in the way")
    for site in ("chile", "hub", "bonn"):
        done = chain.work(site)
        assert done.exit_code == 0, done
        assert "catalog" in done.stdout
        assert "jobtool catalog rebuild" in done.stdout
    chain.assert_done(unpacked_at=("bonn",))
    chain.catalog.unlink()
    rebuilt = run("jobtool", "catalog", "rebuild", chain.joblist, "--catalog", chain.catalog)
    assert rebuilt.exit_code == 0, rebuilt
    found = run("jobtool", "where", "item00", "--catalog", chain.catalog)
    assert found.exit_code == 0, found
    for place in ("hub", "bonn"):
        assert place in found.stdout


def test_a_step_that_fails_does_not_hold_other_packages_up(chain: Chain) -> None:
    chain.generate("--package-size", "60kB", to=("bonn",))
    for site in ("chile", "hub"):
        chain.work_ok(site)
    tar = Path(chain.places["bonn.buffer"]) / "list-0001.tar"
    data = bytearray(tar.read_bytes())
    data[len(data) // 2] ^= 1
    tar.write_bytes(data)
    done = chain.work("bonn")
    assert done.exit_code == 1, done
    assert "2 after jobs in error, 1 in error" in done.stdout
    assert "To see why: summarise-jobs" in done.stdout
    assert chain.jobs["list-0001.unpack.bonn"] == "error"
    for step in ("unpack", "verify", "archive"):
        assert chain.jobs[f"list-0002.{step}.bonn"] == "success"


def test_a_job_of_another_site_behind_an_error_counts_once(chain: Chain) -> None:
    chain.generate("--package-size", "60kB", to=("bonn",))
    for site in ("chile", "hub"):
        chain.work_ok(site)
    (Path(chain.places["bonn.buffer"]) / "list-0001.tar").write_bytes(b"nothing of it")
    assert chain.work("bonn", "--max-jobs", "1").exit_code in (1, 3)
    if "error" not in chain.jobs.values():  # the other package was the first
        assert chain.work("bonn").exit_code == 1
    done = chain.work("hub")
    assert done.exit_code == 1, done
    told = re.search(r"has (\d+) after jobs in error, (\d+) for workers at other", done.stdout)
    assert told is not None, done
    assert sum(map(int, told.groups())) == list(chain.jobs.values()).count("todo")


def test_a_member_that_is_in_the_way_is_named(chain: Chain) -> None:
    """A folder where a member goes: an error of this job that names it, and all else arrives."""
    chain.generate(to=("bonn",))
    for site in ("chile", "hub"):
        chain.work_ok(site)
    way = Path(chain.places["bonn.processing"]) / "item00" / "é0"
    way.mkdir(parents=True)
    done = chain.work("bonn")
    assert done.exit_code == 1, done
    assert "item00/é0" in done.stdout
    os.rmdir(way)
    chain.retry()
    chain.work_ok("bonn")
    chain.assert_done(unpacked_at=("bonn",))
    assert contents(chain.source).keys() == contents(way.parents[1]).keys()
