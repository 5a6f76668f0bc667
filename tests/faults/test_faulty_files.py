"""Any error of a filesystem: no false success, no partial file, and the next run succeeds."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobtool.jobs.journal import read_journals
from tests.commands import environment, run, run_ok
from tests.faults.preloaded import ALWAYS, faults_library, preloaded
from tests.trees import contents, statuses, write

FEWEST_FAULTS = 350


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory, if there is one: syncing a disk hundreds of times takes minutes."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="jobtool-") as folder:
        yield Path(folder)


def test_every_fault_of_every_call_is_survived(memory: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.faulty_files", str(memory)],
        env=environment({"LD_PRELOAD": faults_library()}),
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
    *wrong, struck = done.stdout.splitlines()
    assert wrong == []
    assert int(struck.partition(" ")[0]) >= FEWEST_FAULTS


@pytest.fixture
def joblist(tmp_path: Path) -> Path:
    """A job of a small and a larger file, which replace existing ones."""
    write(tmp_path / "in" / "item" / "file", b"new" * 1000)
    write(tmp_path / "out" / "item" / "file", b"old")
    paths = ("-i", tmp_path / "in", "-o", tmp_path / "list", "-d", tmp_path / "out", "-l", "tree")
    run_ok("generate-joblist", *paths)
    return tmp_path / "list"


@pytest.mark.parametrize("code", ["EDQUOT", "ENOSPC"])
def test_what_close_tells_comes_before_the_old_file_is_replaced(joblist: Path, code: str) -> None:
    folder = joblist.parent
    env = preloaded(faults_library(), call="close", where=".part", code=code)
    done = run("transfer-worker", "-i", joblist, env=env)
    assert done.exit_code == 4
    assert os.strerror(getattr(errno, code)) in done.stderr
    assert contents(folder / "out") == {"item/file": b"old"}
    assert statuses(joblist) == {"item": "todo"}
    run_ok("transfer-worker", "-i", joblist)
    assert contents(folder / "out") == contents(folder / "in")


@pytest.mark.parametrize("times", [1, ALWAYS])
def test_a_failed_sync_leaves_no_receipt_though_the_kernel_tells_of_it_once(
    joblist: Path, times: int
) -> None:
    env = preloaded(faults_library(), call="syncfs", where="/out", code="EIO", times=times)
    done = run("transfer-worker", "-i", joblist, env=env)
    assert done.exit_code == 4
    assert "medium" in done.stderr
    assert statuses(joblist) == {"item": "todo"}
    assert not list((joblist / "receipts").glob("*.parquet"))
    assert not list(read_journals(str(joblist / "journals")))
    run_ok("transfer-worker", "-i", joblist)
    assert contents(joblist.parent / "out") == contents(joblist.parent / "in")
