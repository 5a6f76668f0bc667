"""Jobs of packages that come after jobs which aren't there, or after each other."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from msgspec.structs import replace

from jobtool.jobs.job import JobStatus
from jobtool.jobs.joblist import JobList
from jobtool.names import quote
from tests.commands import finish, start
from tests.packages.chains import KIB, Chain, make_source


@pytest.fixture
def chain(folder: Path) -> Chain:
    made = Chain(folder)
    make_source(made.source, 2, (0, 300, 60 * KIB))
    return made


def edit(chain: Chain, name: str, old: str, new: str) -> None:
    """Edit a job file by hand."""
    path = chain.joblist / f"{name}.txt"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize("options", [(), ("--wait",)])
def test_a_job_after_a_missing_one_is_told_and_ends_the_wait(
    chain: Chain, options: tuple[str, ...]
) -> None:
    """Its steps that come later are blocked, too; all else is done."""
    chain.generate()
    edit(chain, "list-0001.unpack.bonn", "list-0001.copy.bonn", "list-0001.copy.bon")
    done = chain.work(None, *options)
    assert done.exit_code == 1, done
    told = done.stdout + done.stderr
    assert (
        "list-0001.unpack.bonn can't begin: it comes after job 'list-0001.copy.bon', which isn't "
        "in the joblist. Correct the line package.after in its file" in told
    )
    assert told.count("can't begin") == 1
    assert "3 after jobs in error or missing ones" in told
    left = [name for name, status in chain.jobs.items() if status != "success"]
    assert sorted(left) == [f"list-0001.{step}.bonn" for step in ("archive", "unpack", "verify")]
    edit(chain, "list-0001.unpack.bonn", "list-0001.copy.bon\n", "list-0001.copy.bonn\n")
    chain.work_ok()
    chain.assert_done()


def test_the_job_of_a_leg_that_was_removed_is_made_again(chain: Chain) -> None:
    chain.generate(to=("cologne",))
    chain.work_ok("chile")
    (chain.joblist / "list-0001.relay.cologne.2.txt").unlink()
    done = chain.work("cologne", "--wait")
    assert done.exit_code == 1, done
    hint = "jobtool retry --job list-0001.copy.cologne"
    assert hint in done.stdout + done.stderr
    chain.retry("--job", "list-0001.copy.cologne")
    for site in ("chile", "hub", "cologne"):
        chain.work_ok(site)
    chain.assert_done(unpacked_at=("cologne",))


def test_a_job_after_an_invalid_one_ends_the_wait(chain: Chain) -> None:
    chain.generate(to=("cologne",))
    edit(chain, "list-0001.copy.cologne", "package.packs: true", "package.packs: perhaps")
    done = chain.work(None, "--wait")
    assert done.exit_code == 1, done
    assert "3 after jobs in error" in done.stdout


def test_two_moves_that_come_after_each_other_are_both_done(chain: Chain) -> None:
    """The one that has the leg goes first, though the other was to bring the package before."""
    chain.generate(steps=None)
    joblist = JobList.open(str(chain.joblist))
    names = ("list-0001.copy.bonn", "list-0001.copy.cologne")
    for name, other, to in zip(names, reversed(names), ("bonn", "cologne"), strict=True):
        job, log = joblist.load(name)
        assert job.package is not None
        assert job.status is JobStatus.TODO
        way = ("chile.buffer", "hub.buffer", f"{to}.buffer")
        task = replace(job.package, after=(*job.package.after, other), way=way)
        joblist.save(name, replace(job, package=task), log)
    leg = chain.joblist / "packages" / "legs" / "hub.buffer" / "list-0001"
    leg.parent.mkdir(parents=True)
    leg.write_text('{"job":"list-0001.copy.cologne","bytes":1}')
    chain.work_ok()
    chain.assert_done(unpacked_at=())
    assert chain.job(names[0]).package.brought_by == names[1]  # type: ignore[union-attr]


def test_a_worker_that_waits_says_what_for(chain: Chain) -> None:
    chain.generate(to=("bonn",))
    waiting = start("transfer-worker", "-i", chain.joblist, "--site", "bonn", "--wait")
    last_resort = threading.Timer(60, waiting.kill)
    last_resort.start()
    assert waiting.stdout is not None
    told = "Waiting for 4 job(s) that come after others, such as list-0001.archive.bonn after"
    assert any(told in line for line in waiting.stdout)
    waiting.terminate()
    done = finish(waiting)
    last_resort.cancel()
    assert "Waiting for" not in done.stdout
    assert done.stdout.endswith(" --site bonn\n")


def test_a_dry_run_shows_the_steps_of_its_site_and_what_they_come_after(chain: Chain) -> None:
    chain.generate(to=("bonn",), steps="unpack,verify")
    told = chain.work("bonn", "--dry-run").stdout.splitlines()
    assert [line.partition(" ")[2] for line in told if "Would" in line] == [
        f"Would do list-0001.unpack.bonn: package list-0001 -> "
        f"{quote(chain.places['bonn.processing'])}, after list-0001.copy.bonn",
        "Would do list-0001.verify.bonn: package list-0001, after list-0001.unpack.bonn",
    ]
