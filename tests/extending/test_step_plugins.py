"""Steps of packages: found by their entry points, run and resumed one by one, by real workers."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from jobtool.jobs.job import Job, JobStatus, StepState
from jobtool.jobs.joblist import JobList
from tests.blocks import ROOT
from tests.commands import Done, finish, run, start, wait_for
from tests.trees import contents, events, make_items, status_of, statuses

HERE = Path(__file__).parent
STEP = HERE / "step_md5sums.py"
ENTRY_POINTS = """\
[jobtool.steps]
md5sums = step_md5sums:Md5Sums
check = scripted_steps:check
note = scripted_steps:note
misnamed = scripted_steps:misnamed
gone = a_module_that_is_gone:Step
"""


def install(site: Path) -> Path:
    """Lay the steps out as pip would: the modules, and what their metadata says."""
    information = site / "our_steps-1.0.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: our-steps\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(ENTRY_POINTS)
    for module in (STEP, HERE / "scripted_steps.py"):
        shutil.copy(module, site)
    return site


class Site:
    """A cluster with our steps installed: a source, a destination, a joblist."""

    def __init__(self, folder: Path) -> None:
        self.source, self.out, self.joblist = folder / "in", folder / "out", folder / "list"
        self.orders = folder / "orders"
        self.orders.mkdir()
        path = [str(install(folder / "site")), *filter(None, [os.environ.get("PYTHONPATH")])]
        self.env = {"PYTHONPATH": os.pathsep.join(path), "STEPS_FOLDER": str(self.orders)}

    def generate(self, steps: str, *, jobs: int = 1) -> Path:
        """Make a joblist; return the first job's file."""
        make_items(self.source, jobs)
        places = ("-i", self.source, "-o", self.joblist, "-d", self.out, "-l", "tree")
        done = run("generate-joblist", *places, "--steps", steps)
        assert done.exit_code == 0, done
        return self.joblist / "item000.txt"

    def work(self, *options: object) -> Done:
        return run("transfer-worker", "-i", self.joblist, *options, env=self.env)

    def start(self) -> subprocess.Popen[str]:
        return start("transfer-worker", "-i", self.joblist, env=self.env)

    def kill_workers(self, *, after: int) -> None:
        """Start two workers; kill them after some changes of the job files, or when both ended."""
        workers = [self.start(), self.start()]
        seen: set[str] = set()

        def have_gone_far() -> bool:
            seen.add("".join(path.read_text() for path in sorted(self.joblist.glob("*.txt"))))
            return len(seen) > after or all(worker.poll() is not None for worker in workers)

        wait_for(have_gone_far)
        for worker in workers:
            worker.kill()
            finish(worker)

    def order(self, step: str, what: str) -> None:
        (self.orders / f"{step}.order").write_text(what)

    def forget(self, step: str) -> None:
        (self.orders / f"{step}.order").unlink()

    def runs(self, step: str) -> int:
        runs = self.orders / f"{step}.runs"
        return len(runs.read_text().splitlines()) if runs.exists() else 0

    def job(self, name: str = "item000") -> Job:
        return JobList.open(str(self.joblist)).load(name)[0]

    def states(self, name: str = "item000") -> dict[str, StepState]:
        return dict(self.job(name).step_states)

    def times(self) -> dict[str, tuple[int, int]]:
        """Each file at the destination, with what changes when it is written again."""
        paths = [path for path in self.out.rglob("*") if path.is_file()]
        return {str(path): (path.stat().st_ino, path.stat().st_ctime_ns) for path in paths}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def steps_begun(jobfile: Path) -> list[str]:
    return [line.split("step=")[1].split()[0] for line in events(jobfile, "step-begun")]


def state(status: str, attempts: int) -> StepState:
    return StepState(status=JobStatus(status), attempts=attempts)


def assert_sums_hold(out: Path, items: Sequence[str]) -> None:
    for item in items:
        sums = (out / f"{item}.md5").read_text().splitlines()
        assert len(sums) == len(contents(out / item)) > 0
        subprocess.run(["md5sum", "--quiet", "--check", f"{item}.md5"], cwd=out, check=True)


def test_the_page_shows_the_step_as_it_is() -> None:
    page = (ROOT / "docs" / "writing-a-step.md").read_text()
    assert f"```python\n{STEP.read_text()}```" in page
    assert len(STEP.read_text().splitlines()) < 120


def test_steps_are_done_in_order_and_each_is_told(site: Site) -> None:
    jobfile = site.generate("check, copy, md5sums")
    done = site.work()
    assert (done.exit_code, done.stderr) == (0, "")
    lines = jobfile.read_text().splitlines()
    assert lines[:2] == ["success", "requires: steps"]
    assert "steps: check, copy, md5sums" in lines
    for step in ("check", "copy", "md5sums"):
        assert f"step.{step}: success attempts=1" in lines
    assert steps_begun(jobfile) == ["check", "copy", "md5sums"]
    assert len(events(jobfile, "step-done")) == 3
    (told,) = events(jobfile, "check.told")
    assert "receipts=0" in told
    (written,) = events(jobfile, "md5sums.written")
    assert "files=2" in written
    (success,) = events(jobfile, "success")
    assert "files=2" in success
    assert_sums_hold(site.out, ["item000"])


def test_workers_that_are_killed_again_and_again_do_each_step_of_each_job(site: Site) -> None:
    jobs = [f"item{number:03d}" for number in range(4)]
    site.generate("check, copy, md5sums", jobs=len(jobs))
    chance = random.Random(7)
    for _ in range(8):
        site.kill_workers(after=chance.randrange(1, 9))
    done = site.work()
    assert done.exit_code == 0, done
    assert set(statuses(site.joblist).values()) == {"success"}
    assert_sums_hold(site.out, jobs)
    for job in jobs:
        assert contents(site.out / job) == contents(site.source / job)
        states = site.states(job)
        assert {found.status for found in states.values()} == {"success"}
        begun = steps_begun(site.joblist / f"{job}.txt")
        assert {step: begun.count(step) for step in states} == {
            step: found.attempts for step, found in states.items()
        }
        # No step is begun after it, or a later one, is done.
        assert begun == sorted(begun, key=["check", "copy", "md5sums"].index)
    assert not list(site.out.glob(".jobtool-*"))


@pytest.mark.parametrize("step", ["check", "note"])
def test_a_step_whose_worker_is_killed_is_done_again_and_no_other(site: Site, step: str) -> None:
    jobfile = site.generate("check, copy, note")
    site.order(step, "die")
    assert site.work().exit_code == -signal.SIGKILL
    assert status_of(jobfile) == "ongoing"
    assert site.states()[step] == state("ongoing", 1)
    assert f"; step {step}" in run("jobtool", "summarise", site.joblist, "-v", 2).stdout
    before = site.times()
    assert site.work().exit_code == 0
    expected = {name: state("success", 1 + (name == step)) for name in ("check", "copy", "note")}
    assert site.states() == expected
    assert {name: site.runs(name) for name in ("check", "note")} == {
        name: 1 + (name == step) for name in ("check", "note")
    }
    assert before == (site.times() if step == "note" else {})


def test_a_later_step_that_fails_never_sends_the_data_again(site: Site) -> None:
    jobfile = site.generate("check, copy, note")
    site.order("note", "refuse")
    done = site.work()
    assert done.exit_code == 1
    assert "step note: there is no such project" in done.stdout + done.stderr
    assert (status_of(jobfile), site.states()["note"]) == ("error", state("error", 1))
    (error,) = events(jobfile, "error")
    assert "step=note" in error
    before = site.times()
    shutil.rmtree(site.source)  # files that aren't read again needn't exist
    site.forget("note")
    assert run("jobtool", "retry", site.joblist).exit_code == 0
    assert site.work().exit_code == 0
    assert status_of(jobfile) == "success"
    assert site.states() == {
        "check": state("success", 1),
        "copy": state("success", 1),
        "note": state("success", 2),
    }
    (success,) = events(jobfile, "success")
    assert "files=2" in success
    assert site.times() == before
    assert run("jobtool", "verify", site.joblist).exit_code == 0


def test_a_step_that_may_pass_is_tried_as_often_as_the_joblist_says(site: Site) -> None:
    jobfile = site.generate("copy, note")
    site.order("note", "fail")
    assert site.work().exit_code == 1
    job = site.job()
    assert (job.failures, job.requires_intervention) == (3, True)
    assert site.states()["note"] == state("error", 3)
    assert steps_begun(jobfile) == ["copy", "note", "note", "note"]
    done = run("jobtool", "summarise", site.joblist, "--json")
    (line,) = json.loads(done.stdout)["jobs"]
    assert (line["files_done"], line["files_total"]) == (2, 2)
    assert line["steps"] == {"copy": "success", "note": "error"}


def test_what_a_step_gets_wrong_is_an_error_of_its_job_alone(site: Site) -> None:
    jobfile = site.generate("note, copy", jobs=2)
    site.order("note", "be wrong")
    done = site.work()
    assert done.exit_code == 1
    assert list(statuses(site.joblist).values()) == ["error", "error"]
    (error,) = events(jobfile, "error")
    assert "step note: unexpected ValueError: seven" in error
    assert not site.out.exists()


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        ("exit", "it tried to end the worker's process (SystemExit(2))"),
        ("stop", "it stopped, though nothing asked it to: its own program was stopped"),
    ],
)
def test_a_step_that_ends_its_worker_or_stops_unasked_is_an_error_of_its_job_alone(
    site: Site, order: str, reason: str
) -> None:
    jobfile = site.generate("copy, note", jobs=2)
    site.order("note", order)
    assert site.work().exit_code == 1
    assert list(statuses(site.joblist).values()) == ["error", "error"]
    assert (site.runs("note"), len(steps_begun(jobfile))) == (2, 2)
    (error,) = events(jobfile, "error")
    assert f"step note: {reason}" in error


def test_the_steps_behind_a_copy_that_is_done_again_are_done_again(site: Site) -> None:
    jobfile = site.generate("copy, check, note")
    site.order("note", "refuse")
    assert site.work().exit_code == 1
    assert site.runs("check") == 1
    (site.joblist / "receipts" / "item000.parquet").unlink()  # what proves the copy
    site.forget("note")
    assert run("jobtool", "retry", site.joblist).exit_code == 0
    assert site.work().exit_code == 0
    assert status_of(jobfile) == "success"
    assert {name: site.runs(name) for name in ("check", "note")} == {"check": 2, "note": 2}
    assert site.states()["check"] == state("success", 2)


def test_a_step_that_is_asked_to_stop_hands_its_job_back(site: Site) -> None:
    jobfile = site.generate("copy, note")
    site.order("note", "wait")
    worker = site.start()
    wait_for(lambda: site.runs("note") == 1 or worker.poll() is not None)
    worker.send_signal(signal.SIGTERM)
    assert finish(worker).exit_code == 3
    assert status_of(jobfile) == "todo"
    assert site.states() == {"copy": state("success", 1), "note": state("todo", 1)}
    (handed_back,) = events(jobfile, "handed-back")
    assert "step=note" in handed_back
    site.forget("note")
    assert site.work().exit_code == 0
    assert site.states()["copy"] == state("success", 1)


def test_a_success_that_is_put_back_is_done_again_from_its_first_step(site: Site) -> None:
    jobfile = site.generate("check, copy, note")
    assert site.work().exit_code == 0
    jobfile.write_bytes(jobfile.read_bytes().replace(b"success", b"todo", 1))  # by hand
    assert site.work().exit_code == 0
    assert run("jobtool", "retry", site.joblist, "--job", "item000").exit_code == 0
    assert site.work().exit_code == 0
    (site.out / "item000" / "0.bin").unlink()
    run("jobtool", "verify", site.joblist, "--repair")
    assert site.work().exit_code == 0
    assert contents(site.out / "item000") == contents(site.source / "item000")
    assert set(site.states().values()) == {state("success", 4)}
    assert site.runs("check") == site.runs("note") == 4


def test_a_success_with_a_step_that_is_not_done_is_none(site: Site) -> None:
    jobfile = site.generate("copy, note")
    assert site.work().exit_code == 0
    text = jobfile.read_text()
    jobfile.write_text(text.replace("step.note: success attempts=1\n", ""))
    done = run("jobtool", "verify", site.joblist)
    assert done.exit_code == 1
    assert "its step note isn't done" in done.stdout


@pytest.mark.parametrize(
    ("step", "why"),
    [
        ("noted", "no package that is installed here provides its step 'noted'"),
        ("misnamed", "expected a step of that name, with a method run; found Scripted 'another'"),
        ("gone", "a_module_that_is_gone:Step, can't be loaded here: ModuleNotFoundError"),
    ],
)
def test_a_worker_without_the_plug_in_leaves_the_job_as_it_is(
    site: Site, step: str, why: str
) -> None:
    jobfile = site.generate(f"{step}, copy")
    before = jobfile.read_bytes()
    done = site.work()
    assert done.exit_code == 3
    (line,) = [line for line in done.lines if "item000.txt" in line]
    assert why in line
    assert jobfile.read_bytes() == before
    assert not site.out.exists()
