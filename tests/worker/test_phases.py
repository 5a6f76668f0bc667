"""A worker reports the phase that it is in, and what an interruption keeps."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

import pytest

from jobtool.transfer.phases import Phase, Phases
from tests.commands import finish, run, run_ok, start
from tests.gate import gate_before
from tests.prepare import prepare
from tests.trees import events, make_items, status_of, write

MIB = 1024 * 1024
PART = 5 * MIB
SIZE = 8 * PART + 5


def test_a_file_is_at_its_first_phase_then_copied_then_read_back() -> None:
    phases = Phases()
    assert phases.now is Phase.COPYING
    phases.begin(7, 100, first=Phase.CHECKING_PARTS)
    assert phases.now is Phase.CHECKING_PARTS
    phases.arrived(7, 60)
    assert phases.now is Phase.COPYING
    phases.arrived(7, 40)
    assert phases.now is Phase.READING_BACK
    phases.begin(8, 100, first=Phase.COPYING)
    assert phases.now is Phase.COPYING  # as long as any file is
    phases.end(8)
    assert phases.now is Phase.READING_BACK
    phases.end(7)
    phases.all_at(Phase.SYNCING)
    assert phases.now is Phase.SYNCING


def told(lines: list[str], kind: str) -> list[dict[str, object]]:
    return [one for one in map(json.loads, lines) if one["event"] == kind]


def test_the_phases_of_a_job_are_told_in_order(tmp_path: Path) -> None:
    make_items(tmp_path / "in", 1)
    write(tmp_path / "out" / "item000" / "there", b"before")
    paths = ("-o", tmp_path / "list", "-d", tmp_path / "out", "-l", "tree")
    prepare("generate-joblist", tmp_path / "in", *paths)
    done = run_ok("transfer-worker", tmp_path / "list", "--json", "-v", 2)
    assert [one["phase"] for one in told(done.lines, "phase")] == [
        "listing",
        "comparing with the destination",
        "copying",
        "syncing",
        "writing receipts",
    ]


@pytest.fixture
def large(tmp_path: Path, rclone_s3) -> Path:
    """One job of a file of nine parts to S3."""
    write(tmp_path / "in" / "item" / "big", bytes(SIZE))
    url = f"s3://{rclone_s3.new_bucket()}"
    prepare("generate-joblist", tmp_path / "in", "-o", tmp_path / "list", "-d", url, "-l", "tree")
    with open(tmp_path / "list" / "joblist.toml", "a") as toml:
        toml.write(f"[transfer]\npart_size_bytes = {PART}\n")
    return tmp_path / "list"


def test_parts_that_an_interruption_keeps_are_told(large: Path, rclone_s3) -> None:
    with gate_before(rclone_s3.endpoint_url, allowed=2) as gate:
        env = {**rclone_s3.environment, "AWS_ENDPOINT_URL": gate.endpoint_url}
        process = start("transfer-worker", large, "--threads", 1, "--json", env=env)
        gate.wait_until_held()
        process.send_signal(signal.SIGTERM)
        process.stderr.readline(), process.stderr.readline()
        gate.open()
        done = finish(process)
    assert done.exit_code == 3
    (handed_back,) = told(done.lines, "handed-back")
    kept = handed_back["parts_bytes"]
    assert kept in range(3 * PART, 8 * PART, PART)
    assert (handed_back["files_done"], handed_back["files_total"]) == (0, 1)
    assert handed_back["bytes_total"] == SIZE
    (line,) = events(large / "item.txt", "handed-back")
    assert f" files=0/1 bytes=0/{SIZE} parts_bytes={kept} " in line  # exact ones in logs
    (finished,) = told(done.lines, "finished")
    assert (finished["exit_code"], finished["stopped"]) == (3, "SIGTERM")
    every = run("summarise-jobs", large, "-v", 2).stdout
    assert re.search(rf"item +todo +0/1 .*SIGTERM; {kept // MIB}.0 MiB of parts kept", every)
    assert bytes_done(large) == kept
    with gate_before(rclone_s3.endpoint_url, allowed=0) as gate:
        env = {**rclone_s3.environment, "AWS_ENDPOINT_URL": gate.endpoint_url}
        process = start("transfer-worker", large, "--threads", 1, env=env)
        gate.wait_until_held()
        assert bytes_done(large) >= kept
        gate.open()
        assert finish(process).exit_code == 0
    assert status_of(large / "item.txt") == "success"
    assert bytes_done(large) == SIZE


def bytes_done(joblist: Path) -> int:
    """How far the whole list is, as its bar shows it."""
    found = json.loads(run("summarise-jobs", joblist, "-v", 0, "--json").stdout)["estimate"]
    assert found["bytes_total"] == SIZE
    assert found["bytes_left"] == SIZE - found["bytes_done"]
    return int(found["bytes_done"])


def test_people_are_told_what_was_kept_and_what_to_run(large: Path, rclone_s3) -> None:
    with gate_before(rclone_s3.endpoint_url, allowed=2) as gate:
        env = {**rclone_s3.environment, "AWS_ENDPOINT_URL": gate.endpoint_url}
        process = start("transfer-worker", large, "--threads", 1, env=env)
        gate.wait_until_held()
        process.send_signal(signal.SIGTERM)
        process.stderr.readline(), process.stderr.readline()
        gate.open()
        done = finish(process)
    back, finished, following = done.lines[-3:]
    assert re.fullmatch(
        r"❗ item: handed back: SIGTERM; kept: 0 of 1 files, [123][05].0 MiB of parts", back
    )
    assert finished == (
        "❗ Stopped early: SIGTERM. This worker finished 0 job(s), 0 in error, 1 handed back. "
        "The joblist has 1 todo."
    )
    assert following == f"  To do the rest: transfer-worker -i {large}"


def test_work_that_is_left_is_no_tick(tmp_path: Path) -> None:
    make_items(tmp_path / "in", 2)
    paths = ("-o", tmp_path / "a list", "-d", tmp_path / "out", "-l", "tree")
    prepare("generate-joblist", tmp_path / "in", *paths)
    done = run("transfer-worker", tmp_path / "a list", "--max-jobs", 1)
    assert done.exit_code == 3
    assert done.lines[-2:] == [
        "❗ This worker finished 1 job(s), 0 in error. The joblist has 1 todo.",
        f"  To do the rest: transfer-worker -i '{tmp_path}/a list'",
    ]


def test_a_broken_environment_ends_with_what_to_run_then(tmp_path: Path, rclone_s3) -> None:
    make_items(tmp_path / "in", 1)
    paths = ("-o", tmp_path / "list", "-d", "s3://no-such-bucket-here", "-l", "tree")
    prepare("generate-joblist", tmp_path / "in", *paths)
    done = run("transfer-worker", tmp_path / "list", env=rclone_s3.environment)
    assert done.exit_code == 4
    assert done.lines[-2].startswith("❗ This worker finished 0 job(s), 0 in error, 1 handed back.")
    assert done.lines[-1] == f"  Once the cause is fixed: transfer-worker -i {tmp_path}/list"
