"""Exports whose workers are killed: the destination has each row once, and in its order."""

from __future__ import annotations

import itertools
import os
import random
import signal
import time
from pathlib import Path

import pytest

from tests.commands import BIN, finish, run_ok, start, start_module, start_ranks
from tests.export.test_changed_rows import CLEARING, WITH_RECEIPTS
from tests.export.worlds import Export, Kills, rows_of
from tests.faults.victim import EXPORT_STEPS

KILLS = int(os.environ.get("JOBTOOL_TEST_KILLS", "6"))
ROWS = 4000

#: Steps, each with the time at which it is reached, one after the other in one export.
UNSPLIT = {
    "making": [
        ("before a chunk is staged", 1),
        ("before a chunk's record", 2),
        ("in the middle of a line of the chunks' log", 1),
        ("in the middle of a line of the chunks' log", 2),
        ("before the chunks' log is synced", 2),
        ("after a chunk's record", 2),
        ("after a line of the chunks' log", 3),
    ],
    "sending": [
        ("before a file is put", 2),
        ("in the middle of a file's bytes", 1),
        ("before a file is published", 2),
        ("after a file is published", 1),
        ("before a receipt", 2),
        ("after a receipt", 1),
        ("before a staged file is removed", 2),
        ("after a staged file is removed", 1),
        ("in the middle of the journal's lines", 1),
        ("after the journal is flushed", 1),
    ],
    "the end of the rows": [
        ("before the new job file is renamed", 1),
        ("after a line of the chunks' log", 9),  # 8 chunks and the end
        ("before the table", 1),
        ("before the table is renamed", 1),
        ("after the table", 1),
        ("before the journal is removed", 1),
        ("after the journal is removed", 1),
        ("before the staging folder is removed", 1),
        ("before the new job file is renamed", 2),
        ("after the new job file is renamed", 2),
    ],
    "the manifest": [
        ("after a file is published", 9),
        ("before a file is published", 1),  # of _SUCCESS
        ("after a file is published", 1),
        ("after the table", 1),
        ("before leftovers of chunks are removed", 1),
        ("before the staging folder is removed", 1),
        ("before the new job file is renamed", 2),
    ],
}
SPLIT = [
    ("after a chunk's record", 4),
    ("before a file is published", 2),
    ("after the journal is removed", 1),
    ("before the new job file is renamed", 4),
    ("before the table is renamed", 1),
    ("after a receipt", 2),  # of the manifest's
]


@pytest.fixture
def export(folder: Path) -> Export:
    made = Export(folder)
    made.write(rows_of(ROWS))
    return made


def kill_at(step: str, nth: int, export: Export) -> None:
    done = finish(start_module("tests.faults.victim", step, str(nth), str(export.joblist)))
    assert done.exit_code == -signal.SIGKILL, f"{step} wasn't reached {nth} times: {done}"


@pytest.mark.parametrize("name", UNSPLIT)
def test_a_query_exported_through_kills_at_each_step_arrives_once_and_in_order(
    export: Export, name: str
) -> None:
    export.generate("--chunk-size", 500)
    kills = Kills(export)
    for step, nth in UNSPLIT[name]:
        kill_at(step, nth, export)
        kills.check()
    export.work()
    kills.check()
    export.assert_perfect()
    assert [each["rows"] for each in export.manifest()["files"]] == [500] * 8


@pytest.mark.parametrize("kind", ["parquet", pytest.param("csv", marks=pytest.mark.wide)])
def test_ranges_exported_through_kills_arrive_once_and_in_order(export: Export, kind: str) -> None:
    options = ("--split-by", "id", "--splits", 3, "--output-format", kind)
    export.generate("--chunk-size", 300, *options)
    kills = Kills(export)
    for step, nth in SPLIT:
        kill_at(step, nth, export)
        kills.check()
    export.work()
    kills.check()
    export.assert_perfect()


def test_the_kills_are_at_every_step_of_exports() -> None:
    sequences = [*UNSPLIT.values(), SPLIT, CLEARING]
    tried = {step for kills in sequences for step, _ in kills} | {WITH_RECEIPTS}
    assert EXPORT_STEPS.keys() <= tried


def killed_at_random(export: Export, moments: random.Random) -> bool:
    """Kill a worker some events after its start. Return False if it had ended before."""
    options = ("--json", "-v", 3, "--threads", 1)
    process = start("transfer-worker", "-i", export.joblist, *options)
    assert process.stdout is not None
    for _ in range(moments.randrange(1, 20)):
        process.stdout.readline()
    time.sleep(moments.random() * 0.05)
    process.kill()
    return finish(process).exit_code == -signal.SIGKILL


@pytest.mark.parametrize("split", [(), ("--split-by", "id", "--splits", 3)])
def test_workers_killed_at_random_lose_and_repeat_no_row(
    tmp_path: Path, split: tuple[object, ...]
) -> None:
    moments, left = random.Random(str(split)), KILLS // 2
    for number in itertools.count():
        (tmp_path / str(number)).mkdir()
        export = Export(tmp_path / str(number))
        export.write(rows_of(ROWS))
        export.generate("--chunk-size", 100, *split)
        kills = Kills(export)
        while left and killed_at_random(export, moments):
            left -= 1
            kills.check()
        export.work()
        kills.check()
        export.assert_perfect()
        if not left:
            return


def ranks_of(pid: int) -> list[int]:
    """The workers below a mpirun."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                stat = (folder / "stat").read_text().rpartition(")")[2].split()
                command = (folder / "cmdline").read_bytes()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(stat[1]) == pid and b"transfer-worker" in command:
                found.append(int(folder.name))
    return found


def test_ranks_killed_under_mpirun_lose_and_repeat_no_row(tmp_path: Path) -> None:
    moments = random.Random("ranks")
    export = Export(tmp_path)
    export.write(rows_of(ROWS))
    export.generate("--chunk-size", 20, "--split-by", "id", "--splits", 4)
    worker = (BIN / "transfer-worker", "-i", export.joblist, "--threads", 1)
    kills = Kills(export)
    for number in range(2):
        process = start_ranks(worker, worker)
        deadline = time.monotonic() + 60
        while not len(export.times_made()) > 40 * number and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(moments.random() * 0.1)
        for rank in ranks_of(process.pid)[: 1 + number % 2]:  # one of the two, or both
            os.kill(rank, signal.SIGKILL)
        finish(process)
        kills.check()
    assert finish(start_ranks(worker, worker)).exit_code == 0
    kills.check()
    export.assert_perfect()


def test_the_same_command_again_leaves_an_export_that_is_done(export: Export) -> None:
    export.generate("--chunk-size", 1000)
    export.work()
    before = export.identities()
    export.generate("--chunk-size", 1000)
    run_ok("transfer-worker", "-i", export.joblist)
    assert export.identities() == before
    export.assert_perfect()
