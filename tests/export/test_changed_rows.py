"""Rows that change between two attempts at an export: the destination never has two states."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from tests.commands import finish, run, run_ok, start_module
from tests.export.worlds import LAST, Export, Kills, Row, rows_of
from tests.trees import events, statuses

WITH_RECEIPTS = "after a chunk's record and all receipts"
CHUNK = 100
ROWS = 1000  # ten chunks


@pytest.fixture
def export(tmp_path: Path) -> Export:
    made = Export(tmp_path)
    made.write(rows_of(ROWS))
    return made


def kill_at(step: str, nth: int, export: Export) -> None:
    done = finish(start_module("tests.faults.victim", step, str(nth), str(export.joblist)))
    assert done.exit_code == -signal.SIGKILL, f"{step} wasn't reached {nth} times: {done}"


def killed_in_the_middle(export: Export, *options: object) -> None:
    """Have six chunks arrive with receipts, and a seventh without one."""
    export.generate("--chunk-size", CHUNK, "--staged-chunks", 1, *options)
    kill_at(WITH_RECEIPTS, 7, export)
    assert len(export.parts()) == len(export.receipts()) == 6
    export.assert_honest()


def is_told(export: Export) -> bool:
    return len(events(export.joblist / "rows.txt", "rows-changed")) == 1


def _with_value(rows: list[Row], at: int) -> list[Row]:
    return [*rows[:at], (rows[at][0], "another"), *rows[at + 1 :]]


CHANGES: dict[str, tuple[Callable[[list[Row]], list[Row]], bool]] = {
    "a value in the first chunk": (lambda rows: _with_value(rows, 3), True),
    "a value in the last chunk that has arrived": (lambda rows: _with_value(rows, 599), True),
    "a value in a chunk that hasn't arrived": (lambda rows: _with_value(rows, 700), False),
    "more rows at the end": (lambda rows: rows + rows_of(50, ROWS), False),
    "a row in front": (lambda rows: [(-1, "first"), *rows], True),
    "a row less in the first chunk": (lambda rows: rows[:7] + rows[8:], True),
    "a row twice": (lambda rows: [*rows[:8], *rows[7:]], True),
    "fewer rows than have arrived": (lambda rows: rows[:250], True),
    "rows to the end of a chunk": (lambda rows: rows[:300], True),
    "no rows": (lambda rows: [], True),
    "rows to the end of the last chunk that has arrived": (lambda rows: rows[:600], False),
}


#: The others belong to `make test-wide`.
ALWAYS = (
    "a value in the first chunk",
    "more rows at the end",
    "fewer rows than have arrived",
    "no rows",
    "rows to the end of the last chunk that has arrived",
)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name in ALWAYS else [pytest.mark.wide]) for name in CHANGES],
)
def test_rows_that_change_after_a_kill_are_exported_as_they_are_now(
    export: Export, name: str
) -> None:
    change, is_noticed = CHANGES[name]
    killed_in_the_middle(export)
    kept = Kills(export)
    kept.check()
    export.write(change(rows_of(ROWS)))
    export.work()
    if not is_noticed:
        kept.check()  # what has arrived stays
    export.assert_perfect()
    assert is_told(export) == is_noticed


def test_a_column_of_another_type_is_another_state(export: Export) -> None:
    killed_in_the_middle(export)
    export.write(rows_of(ROWS), kind=pa.int32())
    export.work()
    assert is_told(export)
    export.assert_perfect()


@pytest.mark.wide
def test_rows_in_another_order_are_another_state(tmp_path: Path) -> None:
    export = Export(tmp_path)
    export.query = f"SELECT * FROM '{export.table}'"
    export.write(rows_of(ROWS))
    killed_in_the_middle(export)
    rows = rows_of(ROWS)
    rows[10], rows[20] = rows[20], rows[10]
    export.write(rows)
    export.work()
    assert is_told(export)
    export.assert_perfect()


def test_another_format_in_the_joblist_is_another_state(export: Export) -> None:
    killed_in_the_middle(export)
    toml = export.joblist / "joblist.toml"
    text = toml.read_text()
    toml.write_text(text.replace('output_format = "parquet"', 'output_format = "csv"'))
    export.work()
    assert is_told(export)
    assert {Path(name).suffix for name in export.parts()} == {".csv"}
    export.assert_perfect()


#: Kills after the rows have changed, one after the other.
CLEARING = [
    ("after the rows have changed", 1),
    ("before a stale file is removed", 1),
    ("after a stale file is removed", 4),
    ("before a chunk's record", 1),  # that says that all is cleared
    ("in the middle of a line of the chunks' log", 1),
    ("after a line of the chunks' log", 1),
    ("after a chunk's record", 2),
]


def test_kills_while_changed_rows_are_cleared_mix_nothing(export: Export) -> None:
    killed_in_the_middle(export)
    export.write(_with_value(rows_of(450), 3))
    for step, nth in CLEARING:
        kill_at(step, nth, export)
        export.assert_honest()
    export.work()
    export.assert_perfect()


def test_rows_that_change_twice_are_exported_as_they_are_at_the_end(export: Export) -> None:
    killed_in_the_middle(export)
    export.write(_with_value(rows_of(ROWS), 3))
    kill_at(WITH_RECEIPTS, 9, export)
    export.write(_with_value(rows_of(350), 4))
    kill_at("after a stale file is removed", 2, export)
    export.write(rows_of(250, 5))
    export.work()
    export.assert_perfect()


def test_a_chunk_that_was_recorded_and_never_arrived_is_forgotten_if_there_are_fewer(
    export: Export,
) -> None:
    export.generate("--chunk-size", CHUNK, "--staged-chunks", 1)
    kill_at("after a file is published", 7, export)  # without a receipt
    kill_at("before a file is put", 1, export)  # the eighth, with a record
    export.write(rows_of(600))
    export.work()
    export.assert_perfect()
    assert len(export.parts()) == 6


# After success.


def repaired(export: Export) -> None:
    done = run("jobtool", "verify", "-i", export.joblist, "--repair")
    assert done.exit_code == 1, done


@pytest.fixture
def finished(export: Export) -> Export:
    export.generate("--chunk-size", CHUNK)
    export.work()
    export.assert_perfect()
    return export


def test_a_chunk_that_was_removed_is_made_again_and_only_that(finished: Export) -> None:
    before = finished.identities()
    lost = finished.parts()[4]
    (finished.out / lost).unlink()
    repaired(finished)
    kill_at("after a chunk's record", 1, finished)
    assert not set(LAST) & finished.visible().keys()  # both are withdrawn first
    finished.work()
    finished.assert_perfect()
    after = finished.identities()
    changed = {name for name in before if before[name] != after[name]}
    assert changed - set(LAST) == {lost}


def test_a_chunk_that_is_removed_from_changed_rows_has_all_exported_anew(finished: Export) -> None:
    (finished.out / finished.parts()[4]).unlink()
    finished.write(_with_value(rows_of(450), 20))
    repaired(finished)
    kill_at("before a stale file is removed", 3, finished)  # after _SUCCESS and the manifest
    assert not set(LAST) & finished.visible().keys()
    for step, nth in (("after a chunk's record", 2), ("after a file is published", 5)):
        kill_at(step, nth, finished)
        finished.assert_honest()
    finished.work()
    finished.assert_perfect()
    assert len(finished.parts()) == 5


def test_a_manifest_that_was_written_is_withdrawn_whatever_its_job_says(export: Export) -> None:
    """A kill between ``_SUCCESS`` and the end of its job leaves it ongoing, a retry todo."""
    export.generate("--chunk-size", CHUNK)
    kill_at("after a file is published", ROWS // CHUNK + 2, export)
    assert set(LAST) <= export.visible().keys()
    assert statuses(export.joblist) == {"manifest": "ongoing", "rows": "success"}
    (export.out / export.parts()[0]).unlink()
    export.write(rows_of(ROWS - 1))
    repaired(export)
    kill_at("after a chunk's record", 1, export)
    assert not set(LAST) & export.visible().keys()
    export.work()
    export.assert_perfect()


def test_all_jobs_put_back_withdraw_the_manifest(finished: Export) -> None:
    for path in finished.joblist.glob("*.txt"):
        path.write_text(path.read_text().replace("success\n", "todo\n", 1))
    finished.write(_with_value(rows_of(ROWS), ROWS - 1))
    (finished.out / finished.parts()[-1]).unlink()
    kill_at("after a chunk's record", 1, finished)
    assert not set(LAST) & finished.visible().keys()
    finished.work()
    finished.assert_perfect()


def test_a_retry_of_a_finished_export_sends_no_chunk_again(finished: Export) -> None:
    before = finished.identities()
    run_ok("jobtool", "retry", "-i", finished.joblist, "--job", "rows", "--job", "manifest")
    finished.work()
    finished.assert_perfect()
    after = finished.identities()
    assert {name for name in before if before[name] != after[name]} <= set(LAST)
