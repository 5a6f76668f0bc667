"""What doctor does when ranks differ, or fall silent."""

from __future__ import annotations

import re
import shutil
import signal
import sys
from pathlib import Path

import pytest

from tests.commands import finish, run, start_ranks
from tests.doctor.examined import (
    DOCTOR,
    as_node,
    eventually,
    examined,
    held_by,
    listing,
    make_joblist,
)
from tests.gate import gate_before
from tests.needs import need_hosts

#: A rank that stops answering after some steps, or one that waits only briefly for others.
RANK = """
import os, sys, time
from jobtool.doctor.ranks import Ranks
from jobtool.doctor.run import diagnose
from jobtool.errors import JobtoolError
from jobtool.jobs.joblist import JobList
from jobtool.worker.environment import detect

class Fading(Ranks):
    steps = int(sys.argv[2])
    def gather(self, *arguments, **options):
        self.fade()
        return super().gather(*arguments, **options)
    def broadcast(self, *arguments, **options):
        self.fade()
        return super().broadcast(*arguments, **options)
    def fade(self):
        self.steps -= 1
        if self.steps < 0:
            time.sleep(100)

environment = detect(os.environ)
ranks = Fading(environment, timeout_seconds=1)
try:
    found = diagnose(lambda: JobList.open(sys.argv[1]), environment, os.environ, ranks=ranks)
    for finding in found.results:
        print(finding.text(), flush=True)
    assert found.is_broken_off
    code = found.exit_code
except JobtoolError as error:
    print(type(error).__name__, error, flush=True)
    code = error.exit_code
ranks.abort(code)
"""
PATIENT = 10_000
IN_THE_MIDDLE = 4  # the probe's folder has been made


@pytest.fixture
def other_nodes() -> None:
    """Ranks under host names of their own."""
    need_hosts()


@pytest.mark.parametrize("steps", [0, IN_THE_MIDDLE])
@pytest.mark.parametrize("silent", [0, 1])
def test_a_silent_rank_is_named_and_nothing_hangs_or_is_left(
    tmp_path: Path, silent: int, steps: int
) -> None:
    joblist = make_joblist(tmp_path, tmp_path / "out")
    before = listing(tmp_path)
    counts = [steps if rank == silent else PATIENT for rank in range(2)]
    done = finish(start_ranks(*((sys.executable, "-c", RANK, joblist, count) for count in counts)))
    assert done.exit_code == 4, done
    assert re.search(rf"rank {silent}( of 2)? doesn't answer", done.stdout), done
    # What rank 0 found before is still reported.
    assert ("joblist: write: pass" in done.stdout) == (silent == 1 and steps > 0)
    assert listing(tmp_path) == before


def test_ctrl_c_under_mpirun_leaves_nothing(tmp_path: Path, rclone_s3) -> None:
    bucket = rclone_s3.new_bucket()
    joblist = make_joblist(tmp_path, f"s3://{bucket}/p")
    before = listing(tmp_path)
    with gate_before(rclone_s3.endpoint_url, allowed=1) as gate:
        env = {**rclone_s3.environment, "AWS_ENDPOINT_URL": gate.endpoint_url}
        program = (DOCTOR, "doctor", joblist)
        process = start_ranks(program, program, env=env)
        gate.wait_until_held()
        process.send_signal(signal.SIGINT)
        gate.open()
        done = finish(process)
        assert done.exit_code != 0, done
        assert "Traceback" not in done.stderr
        # mpirun kills its ranks before they have cleaned up at the server: another process does.
        assert eventually(lambda: held_by(rclone_s3, bucket) == ([], [], []))
        assert eventually(lambda: listing(tmp_path) == before)


def test_ranks_that_look_at_different_folders_are_told(tmp_path: Path) -> None:
    joblist = make_joblist(tmp_path, tmp_path / "out")
    shutil.copytree(joblist, tmp_path / "copy")
    before = listing(tmp_path)
    program = (DOCTOR, "doctor", joblist, "--json")
    found = examined(finish(start_ranks(program, (DOCTOR, "doctor", tmp_path / "copy"))))
    assert found.done.exit_code == 4
    assert found.checks("fail") == [("nodes", "seen by other ranks")]
    assert "isn't seen by rank 1 (" in found.one("nodes", "seen by other ranks")["found"]
    assert listing(tmp_path) == before


def test_a_rank_without_the_joblist_is_wrong_usage_for_all(tmp_path: Path) -> None:
    joblist = make_joblist(tmp_path, tmp_path / "out")
    done = finish(start_ranks((DOCTOR, "doctor", joblist), (DOCTOR, "doctor", tmp_path / "no")))
    assert done.exit_code == 2, done
    told = [line for line in done.stderr.splitlines() if line.startswith("❌")]
    assert len(told) == 1
    assert "rank 1 (" in told[0]
    assert str(tmp_path / "no") in told[0]
    assert "Traceback" not in done.stderr


@pytest.mark.usefixtures("other_nodes")
def test_each_node_tries_the_stores_with_its_own_credentials(tmp_path: Path, rclone_s3) -> None:
    bucket = rclone_s3.new_bucket()
    joblist = make_joblist(tmp_path, f"s3://{bucket}/p")
    before = listing(tmp_path), held_by(rclone_s3, bucket)
    program = (DOCTOR, "doctor", joblist, "--json")
    wrong = {"AWS_SECRET_ACCESS_KEY": "not-the-right-one"}
    found = examined(
        finish(
            start_ranks(
                program,
                as_node("node-b", *program),
                as_node("node-b", *program, env=wrong),  # not asked: the node was
                as_node("node-c", *program, env=wrong),
                env=rclone_s3.environment,
            )
        )
    )
    assert found.done.exit_code == 4, found.done
    assert found.checks("fail") == [("destination", "reach and write")]
    (failed,) = [finding for finding in found.findings if finding["verdict"] == "fail"]
    assert failed["found"].startswith("on node-c: ")
    assert "SignatureDoesNotMatch" in failed["found"]
    assert "well on 1 other node" in found.one("nodes", "reach from other nodes")["found"]
    assert "2 on node-b" in found.one("surroundings", "ranks")["found"]
    assert (listing(tmp_path), held_by(rclone_s3, bucket)) == before


@pytest.mark.usefixtures("other_nodes")
def test_a_destination_that_several_nodes_make_is_not_left(tmp_path: Path) -> None:
    joblist = make_joblist(tmp_path, tmp_path / "new" / "out")
    before = listing(tmp_path)
    program = (DOCTOR, "doctor", joblist, "--json")
    others = [as_node(f"node-{name}", *program) for name in "bc"]
    found = examined(finish(start_ranks(program, *others)))
    found.assert_all_pass()
    assert listing(tmp_path) == before


def test_tasks_without_mpi_leave_the_talking_to_the_first(tmp_path: Path) -> None:
    joblist = make_joblist(tmp_path, tmp_path / "out")
    task = {"SLURM_PROCID": "1", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "2"}
    other = run("jobtool", "doctor", joblist, env=task)
    assert (other.exit_code, other.stdout, other.stderr) == (0, "", "")
    found = examined(run("jobtool", "doctor", joblist, "--json", env={**task, "SLURM_PROCID": "0"}))
    found.assert_all_pass(but=[("surroundings", "ranks")])
    assert "can't talk to each other" in found.one("surroundings", "ranks")["found"]
