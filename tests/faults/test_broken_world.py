"""An environment problem hands jobs back; a problem of a source fails its job."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.commands import (
    Done,
    assert_one_line_error,
    run,
    run_ok,
    run_without_superpowers,
    unused_port,
)
from tests.trees import contents, events, make_plate, status_of, statuses, write

TODO = {"source_8__J1__A1": "todo", "source_8__J1__A2": "todo"}
WRONG_SECRET = "wrong-secret-that-nobody-may-print"


@pytest.fixture
def plates(tmp_path: Path) -> Path:
    make_plate(tmp_path / "in", "A1")
    make_plate(tmp_path / "in", "A2")
    return tmp_path / "in"


def generated(tmp_path: Path, plates: Path, destination: object) -> Path:
    run_ok("generate-joblist", "-i", plates, "-o", tmp_path / "list", "-d", destination)
    return tmp_path / "list"


def assert_handed_back(done: Done, joblist: Path, *expected: str, times: int = 1) -> None:
    assert_one_line_error(done, 4, *expected)
    assert statuses(joblist) == TODO
    logs = [events(path, "handed-back") for path in sorted(joblist.glob("*.txt"))]
    reasons = [line for log in logs for line in log]
    assert len(reasons) == times
    assert all(text in reason for text in expected for reason in reasons)


def assert_waited_for_credentials(joblist: Path) -> None:
    """A provider is asked three times in a row, and no attempt counts as a failure."""
    assert statuses(joblist) == TODO
    logs = [line for path in joblist.glob("*.txt") for line in events(path, "handed-back")]
    assert len(logs) == 3
    assert all('reason="no credentials"' in line for line in logs)
    assert not [path for path in joblist.glob("*.txt") if "failures:" in path.read_text()]


def worker(joblist: Path, env: Mapping[str, str] | None = None) -> Done:
    return run("transfer-worker", "-i", joblist, env=env)


def test_a_file_in_the_place_of_a_jobs_destination_is_that_jobs_error(
    tmp_path: Path, plates: Path
) -> None:
    joblist = generated(tmp_path, plates, tmp_path / "out")
    (first, *others) = sorted(joblist.glob("*.txt"))
    (destination,) = (
        line.removeprefix("destination: ")
        for line in first.read_text().splitlines()
        if line.startswith("destination: ")
    )
    write(Path(destination), b"I am a file")
    done = worker(joblist)
    assert done.exit_code == 1, done
    assert status_of(first) == "error"
    assert "there is a file where a folder is needed" in events(first, "error")[0]
    assert [status_of(path) for path in others] == ["success"] * len(others)
    assert Path(destination).read_bytes() == b"I am a file"


def test_a_destination_that_is_not_writable_hands_the_job_back(
    tmp_path: Path, plates: Path
) -> None:
    (tmp_path / "out").mkdir(mode=0o555)
    joblist = generated(tmp_path, plates, tmp_path / "out")
    done = run_without_superpowers("transfer-worker", "-i", joblist)
    # Each job once, and the first once more: it could have been that job's own error.
    assert_handed_back(done, joblist, f"{tmp_path}/out", "Permission denied", times=3)
    (tmp_path / "out").chmod(0o755)
    run_ok("transfer-worker", "-i", joblist)
    assert set(statuses(joblist).values()) == {"success"}


def test_a_bucket_that_does_not_exist_hands_the_job_back(
    tmp_path: Path, plates: Path, rclone_s3
) -> None:
    joblist = generated(tmp_path, plates, "s3://no-such-bucket-here/x")
    done = worker(joblist, rclone_s3.environment)
    assert_handed_back(done, joblist, "no-such-bucket-here", rclone_s3.endpoint_url)


def test_a_source_bucket_that_does_not_exist_hands_the_job_back(
    tmp_path: Path, plates: Path, rclone_s3
) -> None:
    joblist = generated(tmp_path, plates, tmp_path / "out")
    for path in joblist.glob("*.txt"):
        path.write_bytes(path.read_bytes().replace(bytes(plates), b"s3://no-such-bucket-here"))
    done = worker(joblist, rclone_s3.environment)
    assert_handed_back(done, joblist, "no-such-bucket-here", rclone_s3.endpoint_url)


def test_wrong_credentials_hand_the_job_back_and_are_shown_nowhere(
    tmp_path: Path, plates: Path, rclone_s3
) -> None:
    joblist = generated(tmp_path, plates, f"s3://{rclone_s3.new_bucket()}")
    env = {**rclone_s3.environment, "AWS_SECRET_ACCESS_KEY": WRONG_SECRET}
    done = run("transfer-worker", "-i", joblist, "-v", 3, env=env)
    assert_handed_back(done, joblist, rclone_s3.endpoint_url, "SignatureDoesNotMatch")
    written = b"".join(contents(joblist).values()).decode()
    assert WRONG_SECRET not in done.stdout + done.stderr + written
    run_ok("transfer-worker", "-i", joblist, env=rclone_s3.environment)
    assert set(statuses(joblist).values()) == {"success"}


def test_no_credentials_at_all_hand_the_job_back(tmp_path: Path, plates: Path, rclone_s3) -> None:
    joblist = generated(tmp_path, plates, f"s3://{rclone_s3.new_bucket()}")
    env = {k: v for k, v in rclone_s3.environment.items() if "KEY" not in k}
    assert_one_line_error(worker(joblist, env), 4, "credentials", "found none")
    assert_waited_for_credentials(joblist)


def test_a_missing_profile_ends_the_worker_before_it_claims(
    tmp_path: Path, plates: Path, rclone_s3
) -> None:
    run_ok(
        *("generate-joblist", "-i", plates, "-o", tmp_path / "list"),
        *("-d", "s3://bucket/x", "--set", "s3.profile=uploads"),
    )
    done = worker(tmp_path / "list", rclone_s3.environment)
    assert_one_line_error(done, 4, "uploads", "profile")
    assert statuses(tmp_path / "list") == TODO
    assert not [
        line for path in (tmp_path / "list").glob("*.txt") for line in events(path, "claimed")
    ]


def test_an_endpoint_that_is_down_hands_the_job_back(
    tmp_path: Path, plates: Path, rclone_s3
) -> None:
    joblist = generated(tmp_path, plates, "s3://bucket/x")
    endpoint = f"http://127.0.0.1:{unused_port()}"
    with open(joblist / "joblist.toml", "a") as file:
        file.write("[transfer]\npatience_seconds = 1\n")
    done = worker(joblist, {**rclone_s3.environment, "AWS_ENDPOINT_URL": endpoint})
    assert_handed_back(done, joblist, "can't reach", endpoint)


def test_an_unreadable_folder_in_a_source_ends_in_error_never_success(
    tmp_path: Path, plates: Path
) -> None:
    joblist = generated(tmp_path, plates, tmp_path / "out")
    closed = next(plates.rglob("A1.zarr/0"))
    closed.chmod(0)
    done = run_without_superpowers("transfer-worker", "-i", joblist)
    assert done.exit_code == 1
    assert done.stderr == ""
    assert f"can't read {closed}: Permission denied" in done.stdout
    assert statuses(joblist) == {"source_8__J1__A1": "error", "source_8__J1__A2": "success"}
    (line,) = events(joblist / "source_8__J1__A1.txt", "error")
    assert "Permission denied" in line
    summary = run("summarise-jobs", "-i", joblist)
    assert summary.exit_code == 1
    assert f"can't read {closed}" in summary.stdout
    closed.chmod(0o755)


def test_an_unreadable_file_in_a_source_ends_in_error_and_holds_metadata_back(
    tmp_path: Path, plates: Path
) -> None:
    joblist = generated(tmp_path, plates, tmp_path / "out")
    closed = next(plates.rglob("A1.zarr/0/0.0"))
    closed.chmod(0)
    done = run_without_superpowers("transfer-worker", "-i", joblist)
    assert done.exit_code == 1
    assert statuses(joblist) == {"source_8__J1__A1": "error", "source_8__J1__A2": "success"}
    (line,) = events(joblist / "source_8__J1__A1.txt", "failed")
    assert str(closed) in line
    assert not list((tmp_path / "out").rglob("A1.zarr/.zgroup"))
    assert list((tmp_path / "out").rglob("A2.zarr/.zgroup"))


def test_an_unreadable_folder_is_told_when_generating(tmp_path: Path, plates: Path) -> None:
    batch = make_plate(plates, "B1", batch="J2").parent
    batch.chmod(0)
    paths = ("-i", plates, "-o", tmp_path / "list", "-d", tmp_path / "out")
    done = run_without_superpowers("generate-joblist", *paths)
    batch.chmod(0o755)
    assert done.exit_code == 1
    assert f"❌ can't read {batch}: Permission denied" in done.stdout
    assert statuses(tmp_path / "list") == TODO


def test_a_vanished_source_ends_in_error(tmp_path: Path, plates: Path) -> None:
    joblist = generated(tmp_path, plates, tmp_path / "out")
    shutil.rmtree(next(plates.rglob("J1/A1")))
    done = worker(joblist)
    assert (done.exit_code, done.stderr) == (1, "")
    assert "found nothing" in done.stdout
    assert statuses(joblist) == {"source_8__J1__A1": "error", "source_8__J1__A2": "success"}


def test_a_broken_link_in_a_source_ends_in_error(tmp_path: Path, plates: Path) -> None:
    joblist = generated(tmp_path, plates, tmp_path / "out")
    link = next(plates.rglob("J1/A1")) / "link"
    os.symlink("nowhere", link)
    done = worker(joblist)
    assert done.exit_code == 1
    assert str(link) in done.stdout
    assert statuses(joblist)["source_8__J1__A1"] == "error"


def test_a_joblist_that_is_not_writable_is_named(tmp_path: Path, plates: Path) -> None:
    joblist = generated(tmp_path, plates, tmp_path / "out")
    for folder in (joblist, joblist / ".claims"):
        folder.chmod(0o555)
    done = run_without_superpowers("transfer-worker", "-i", joblist)
    for folder in (joblist, joblist / ".claims"):
        folder.chmod(0o755)
    assert_one_line_error(done, 4, str(joblist), "Permission denied")
    assert statuses(joblist) == TODO


def test_an_output_path_that_is_not_writable_is_named(tmp_path: Path, plates: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o555)
    paths = ("-i", plates, "-o", tmp_path / "closed" / "list", "-d", tmp_path / "out")
    done = run_without_superpowers("generate-joblist", *paths)
    assert_one_line_error(done, 2, f"{tmp_path}/closed/list", "Permission denied")
