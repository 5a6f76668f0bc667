"""What doctor finds in the joblist's folder, alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.cells import cell_len

from jobtool.doctor.checkresult import Subject
from jobtool.doctor.folder import judge_clock, lock_result, probe_folder, space_result
from jobtool.stores.storetype import store_type
from tests.cluster.mounts import mounted
from tests.commands import assert_one_line_error, environment, run, run_without_superpowers
from tests.doctor.examined import examined, listing, make_joblist

HERE = Subject("joblist", "here")


def test_a_healthy_joblist_passes_every_check_and_nothing_is_left(tmp_path: Path) -> None:
    joblist = make_joblist(tmp_path, tmp_path / "out")
    (tmp_path / "out").mkdir()
    before = listing(tmp_path)
    found = examined(run("jobtool", "doctor", joblist, "--json"))
    found.assert_all_pass()
    assert found.done.stderr == ""
    assert listing(tmp_path) == before
    assert found.checks("pass") == [
        ("surroundings", "versions"),
        ("surroundings", "ranks"),
        ("surroundings", "scheduler"),
        ("joblist", "write"),
        ("joblist", "rename"),
        ("joblist", "exclusive create"),
        ("joblist", "hard link"),
        ("joblist", "exchange"),
        ("joblist", "space"),
        ("joblist", "lock on this node"),
        ("joblist", "clock and filesystem"),
        ("joblist", "claims"),
        *[("source", "read")] * 3,
        ("destination", "space"),
        ("destination", "reach and write"),
        ("destination", "digest"),
        ("destination", "create-only"),
        ("destination", "parts"),
        ("destination", "abort"),
        ("destination", "delete"),
        ("destination", "methods"),
    ]


def test_people_get_a_table_of_80_columns(folder: Path) -> None:
    joblist = make_joblist(folder, folder / "out")
    (folder / "in" / "item001").rename(folder / "in" / "moved")
    done = run("jobtool", "doctor", joblist, env={"COLUMNS": "80"})
    assert (done.exit_code, done.stderr) == (4, "")
    rows = [line for line in done.lines if line.startswith((" ", "✅", "❌"))]
    assert max(map(cell_len, rows)) <= 80
    assert any(line.startswith("❌ fail  read ") for line in rows), done.stdout
    assert any(line.strip().startswith("→ Was it moved or removed") for line in rows), done.stdout
    assert done.lines[-1] == "❌ 22 passed, 0 warning(s), 1 failed."


def test_verbosity_0_leaves_out_what_passed(tmp_path: Path) -> None:
    joblist = make_joblist(tmp_path, tmp_path / "out")
    quiet = run("jobtool", "doctor", joblist, "-v", 0)
    assert (quiet.exit_code, quiet.stdout.split()[:2]) == (0, ["✅", "23"]), quiet


def test_a_folder_that_is_no_joblist_is_wrong_usage(tmp_path: Path) -> None:
    assert_one_line_error(run("jobtool", "doctor", tmp_path), 2, str(tmp_path), "joblist.toml")
    assert_one_line_error(run("jobtool", "doctor", tmp_path / "no"), 2, str(tmp_path / "no"))
    assert list(tmp_path.iterdir()) == []


def test_a_read_only_joblist_fails_and_the_rest_is_still_told(tmp_path: Path) -> None:
    joblist = make_joblist(tmp_path, tmp_path / "out")
    (joblist / ".claims").chmod(0o555)
    before = listing(tmp_path)
    found = examined(run_without_superpowers("jobtool", "doctor", joblist, "--json"))
    assert found.done.exit_code == 4
    assert found.checks("fail") == [("joblist", "write")]
    assert "Permission denied" in found.one("joblist", "write")["found"]
    assert found.one("destination", "reach and write")["verdict"] == "pass"
    assert listing(tmp_path) == before


def test_a_missing_folder_of_claims_is_made_and_removed(tmp_path: Path) -> None:
    joblist = make_joblist(tmp_path, tmp_path / "out")
    (joblist / ".claims").rmdir()
    examined(run("jobtool", "doctor", joblist, "--json")).assert_all_pass()
    assert not (joblist / ".claims").exists()


def test_a_filesystem_that_refuses_to_rename_is_told(tmp_path: Path) -> None:
    joblist = make_joblist(tmp_path, tmp_path / "out")
    before = listing(tmp_path)
    with mounted(joblist, "--rename-deny") as place:
        found = examined(run("jobtool", "doctor", place, "--json"))
    assert found.done.exit_code == 4
    assert ("joblist", "rename") in found.checks("fail")
    assert ("joblist", "write") in found.checks("pass")
    assert listing(tmp_path) == before


def test_the_probe_is_removed_when_it_is_interrupted(tmp_path: Path) -> None:
    claims = tmp_path / ".claims"

    def probe() -> None:
        with probe_folder(str(claims), "x") as folder:
            Path(folder, "deep").mkdir()
            Path(folder, "deep", "file").write_bytes(b"data")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        probe()
    assert list(tmp_path.iterdir()) == []


def test_a_lock_that_can_not_be_taken_fails_only_where_locks_are_used(tmp_path: Path) -> None:
    (tmp_path / "lock").mkdir()  # is in the place of the lock's file
    needed = lock_result(HERE, str(tmp_path), is_needed=True)
    assert needed.verdict == "fail"
    assert "Is a directory" in needed.found
    assert 'claims = "lease"' in needed.advice
    assert lock_result(HERE, str(tmp_path), is_needed=False).verdict == "warn"


def test_a_lock_is_tried_from_another_process(tmp_path: Path) -> None:
    assert lock_result(HERE, str(tmp_path), is_needed=True).verdict == "pass"
    # Another process holds the lock, so doctor's process can't take it.
    code = (
        "import sys; from filelock import FileLock; lock = FileLock(sys.argv[1]); lock.acquire();"
        "print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        found = lock_result(HERE, str(tmp_path), is_needed=True)
        holder.kill()
    assert found.verdict == "fail"
    assert "another process couldn't lock" in found.found


def test_little_space_is_a_warning_and_names_the_folder(tmp_path: Path) -> None:
    free_bytes = os.statvfs(tmp_path).f_bavail * os.statvfs(tmp_path).f_frsize
    found = space_result(HERE, str(tmp_path), little_bytes=2 * free_bytes)
    assert (found.verdict, str(tmp_path) in found.advice) == ("warn", True)
    assert space_result(HERE, str(tmp_path), little_bytes=1).verdict == "pass"


@pytest.mark.parametrize(
    ("seconds", "scheme", "verdict"),
    [
        (0.0, "s3", "pass"),
        (1.9, "s3", "pass"),
        (2.0, "file", "warn"),
        (899.0, "s3", "warn"),
        (901.0, "s3", "fail"),
        (90_000.0, "file", "warn"),
        (90_000.0, None, "warn"),
    ],
)
def test_clocks_fail_only_where_s3_would_refuse(
    seconds: float, scheme: str | None, verdict: str
) -> None:
    strictest = None if scheme is None else store_type(scheme)
    found = judge_clock(HERE, "clock", seconds, between="a and b", strictest=strictest)
    assert found.verdict == verdict
    is_said = "S3 refuses requests more than 15 minutes off." in found.advice
    assert is_said == (verdict != "pass" and scheme == "s3")
