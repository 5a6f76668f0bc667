"""A limit holds over the ranks of a run, and changes while a worker runs.

No test asks whether a transfer is fast: only that one isn't faster than its limit, and that one
that would take an hour ends once its limit is gone.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.commands import BIN, finish, run_ok, start, start_ranks, wait_for
from tests.trees import contents, statuses

RANKS = 4
MEGABYTE = 1_000_000

pytestmark = pytest.mark.wide


def make_joblist(folder: Path, *, jobs: int, files: int, file_bytes: int) -> Path:
    for job in range(jobs):
        for number in range(files):
            path = folder / "in" / f"item{job}" / f"{number:03}.bin"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(os.urandom(file_bytes))
    paths = ("-i", folder / "in", "-o", folder / "list", "-d", folder / "out", "-l", "tree")
    run_ok("generate-joblist", *paths)
    return folder / "list"


@pytest.mark.parametrize(("files", "file_bytes"), [(40, 400_000), (1, 16 * MEGABYTE)])
def test_ranks_together_are_no_faster_than_the_limit(
    tmp_path: Path, files: int, file_bytes: int
) -> None:
    joblist = make_joblist(tmp_path, jobs=RANKS, files=files, file_bytes=file_bytes)
    worker = (BIN / "transfer-worker", "-i", joblist, "--bandwidth", "10MB/s")
    started = time.monotonic()
    done = finish(start_ranks(*[worker] * RANKS))
    seconds = time.monotonic() - started
    assert (done.exit_code, done.stderr) == (0, "")
    assert contents(tmp_path / "out") == contents(tmp_path / "in")
    # Half a second's bytes may be taken at once after a pause, by all ranks together.
    assert RANKS * files * file_bytes <= 10 * MEGABYTE * (seconds + 0.5)


def test_a_limit_goes_away_while_a_worker_runs_and_a_broken_file_keeps_it(tmp_path: Path) -> None:
    joblist = make_joblist(tmp_path, jobs=1, files=100, file_bytes=MEGABYTE)
    toml = joblist / "joblist.toml"
    whole = toml.read_text()
    toml.write_text(f'{whole}\n[transfer]\nbandwidth = "30kB/s"\n')  # it would take an hour
    log = tmp_path / "log"
    with log.open("w") as file:
        worker = start("transfer-worker", "-i", joblist)
        try:
            assert worker.stdout is not None
            for line in worker.stdout:
                file.write(line)
                if "Copying files" in line:
                    toml.write_text("half of a li")
                if "can't be read again" in line:
                    break
            assert worker.poll() is None
            toml.write_text(f'{whole}\n[transfer]\nbandwidth = "unlimited"\n')
            done = finish(worker)
        finally:
            worker.kill()
    assert (done.exit_code, done.stderr) == (0, "")
    assert "Limits: 30kB/s, shared by all workers that move data." in log.read_text()
    assert "Limits: none apply now." in done.stdout
    assert statuses(joblist) == {"item0": "success"}


def test_a_stop_ends_the_wait_for_a_limit(tmp_path: Path) -> None:
    joblist = make_joblist(tmp_path, jobs=1, files=100, file_bytes=MEGABYTE)
    worker = start("transfer-worker", "-i", joblist, "--bandwidth", "30kB/s")
    try:
        wait_for(lambda: any((joblist / ".claims").glob("movers/*")))
        worker.terminate()
        done = finish(worker)
    finally:
        worker.kill()
    assert done.exit_code == 3, done
    assert statuses(joblist) == {"item0": "todo"}
    assert not any((joblist / ".claims" / "movers").iterdir())
