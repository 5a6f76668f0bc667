"""Exports that are stopped, that wait for a slow database, or whose destination is slow."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from tests.commands import Done, finish, start, wait_for
from tests.export.worlds import LAST, Export, rows_of
from tests.trees import events, status_of, statuses

#: Takes DuckDB hours, and gives no row meanwhile.
LONG = "SELECT sum(hash(range)) AS id, 'a' AS text FROM range(100000000000000)"

#: A query that DuckDB describes at once, for the generation of the joblist.
SHORT = "SELECT sum(hash(range)) AS id, 'a' AS text FROM range(10)"


@pytest.fixture
def endless(tmp_path: Path) -> Export:
    """An export whose query gives nothing for hours."""
    export = Export(tmp_path, query=SHORT)
    export.generate("--chunk-size", 100)
    set_query(export, LONG)
    return export


def set_query(export: Export, query: str) -> None:
    toml = export.joblist / "joblist.toml"
    text = toml.read_text()
    assert export.query in text
    toml.write_text(text.replace(export.query, query))
    export.query = query


def assert_handed_back(export: Export, done: Done, exit_code: int = 3) -> None:
    assert done.exit_code == exit_code, done
    assert set(statuses(export.joblist).values()) == {"todo"}
    assert len(events(export.joblist / "rows.txt", "handed-back")) == 1
    assert not export.staging.exists()
    assert not set(LAST) & export.visible().keys()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_interrupts_a_query_that_computes(endless: Export, number: signal.Signals) -> None:
    process = start("transfer-worker", "-i", endless.joblist)
    wait_for(lambda: status_of(endless.joblist / "rows.txt") == "ongoing")
    time.sleep(1)  # until it computes, most probably; the result is the same before that
    process.send_signal(number)
    assert_handed_back(endless, finish(process))


def test_a_time_limit_interrupts_a_query_that_computes(endless: Export) -> None:
    limits = ("--time-limit", "4s", "--grace", 2)
    process = start("transfer-worker", "-i", endless.joblist, *limits)
    assert_handed_back(endless, finish(process))


class SlowFile:
    """A CSV file that DuckDB reads from, and that has its rows only once ``give`` is called."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "slow.csv"
        self.query = (
            f"SELECT * FROM read_csv('{self.path}', auto_detect = false, header = false, "
            "columns = {'id': 'BIGINT', 'text': 'VARCHAR'})"
        )
        os.mkfifo(self.path)

    def give(self) -> None:
        with open(self.path, "w") as file:
            file.writelines(f"{number},text\n" for number in range(100))


def slow_export(tmp_path: Path) -> tuple[Export, SlowFile]:
    slow = SlowFile(tmp_path)
    export = Export(tmp_path, query=slow.query)
    export.generate("--chunk-size", 50)
    return export, slow


def test_a_worker_that_waits_for_rows_is_not_taken_for_one_that_hangs(tmp_path: Path) -> None:
    export, slow = slow_export(tmp_path)
    toml = export.joblist / "joblist.toml"
    toml.write_text("stall_seconds = 1\nclaims = 'lease'\nlease_seconds = 2\n" + toml.read_text())
    process = start("transfer-worker", "-i", export.joblist)
    wait_for(lambda: status_of(export.joblist / "rows.txt") == "ongoing")
    time.sleep(4)
    slow.give()
    done = finish(process)
    assert (done.exit_code, done.stderr) == (0, ""), done
    assert "nothing moved" not in done.stdout
    assert len(events(export.joblist / "rows.txt", "claimed")) == 1
    assert export.read().num_rows == export.manifest()["rows"] == 100


def test_a_database_that_can_not_be_interrupted_is_left_alone(tmp_path: Path) -> None:
    """No interruption reaches a thread that waits for a file to be opened."""
    export, _ = slow_export(tmp_path)
    process = start("transfer-worker", "-i", export.joblist)
    wait_for(lambda: status_of(export.joblist / "rows.txt") == "ongoing")
    time.sleep(1)
    process.send_signal(signal.SIGTERM)
    assert_handed_back(export, finish(process))


class Watch(threading.Thread):
    """Counts how many files wait in a folder at most."""

    def __init__(self, folder: Path) -> None:
        super().__init__(daemon=True)
        self.most = 0
        self._folder = folder
        self._is_over = threading.Event()

    def run(self) -> None:
        while not self._is_over.wait(0.005):
            try:
                self.most = max(self.most, len(os.listdir(self._folder)))
            except FileNotFoundError:
                continue

    def end(self) -> int:
        self._is_over.set()
        self.join()
        return self.most


@pytest.mark.parametrize("room", [pytest.param(1, marks=pytest.mark.wide), 2])
def test_no_more_files_wait_than_was_asked_for(tmp_path: Path, room: int) -> None:
    """A slow destination holds the query back: 40 chunks of 20 kB, at 200 kB/s."""
    export = Export(tmp_path)
    export.query = "SELECT range AS id, md5(range::VARCHAR) AS text FROM range(12000) ORDER BY id"
    export.generate("--chunk-size", 400, "--staged-chunks", room, "--compression", "none")
    watch = Watch(export.staging / "rows")
    watch.start()
    export.work("--bandwidth", "200kB/s")
    most = watch.end()
    assert 1 <= most <= room
    export.assert_perfect()
    assert len(export.parts()) == 30


def test_a_stop_leaves_what_has_arrived_and_the_next_worker_goes_on(tmp_path: Path) -> None:
    export = Export(tmp_path)
    export.write(rows_of(20000))
    export.generate("--chunk-size", 500, "--compression", "none", "--staged-chunks", 1)
    process = start("transfer-worker", "-i", export.joblist, "--bandwidth", "400kB/s")
    wait_for(lambda: len(export.parts()) >= 4)
    process.send_signal(signal.SIGTERM)
    assert_handed_back(export, finish(process))
    before = export.identities()
    assert 4 <= len(before) < 40
    assert export.receipts().keys() == before.keys()
    export.work()
    export.assert_perfect()
    assert before.items() <= export.identities().items()
