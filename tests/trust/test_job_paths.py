"""Names in a job file that would leave their roots: one clear error each, and nothing written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.commands import run, run_ok
from tests.trees import contents, events, status_of, write

OUTSIDE = "path without empty parts, '.' or '..'"
BAD = {
    "up": ("ok -> ../escaped", OUTSIDE),
    "up later": ("ok -> a/../../escaped", OUTSIDE),
    "up in the source": ("../private -> copy", OUTSIDE),
    "dot": ("ok -> ./copy", OUTSIDE),
    "empty part": ("ok -> a//copy", OUTSIDE),
    "ends in a slash": ("ok -> a/", OUTSIDE),
    "NUL": ('ok -> "a\\u0000b"', OUTSIDE),
    "NUL in the source": ('"o\\u0000k" -> copy', OUTSIDE),
    "absolute and up": ("ok -> {out}/../escaped", OUTSIDE),
    "absolute source and up": ("{in}/../private -> copy", OUTSIDE),
    "percent in a URL": ("ok -> file://{out}/%2e%2e/escaped", OUTSIDE),
    "unknown scheme": ("ok -> swift://host/x", "'swift'"),
    "a place that can only be read": ("ok -> ftp://host/x", "ftp:// can only be a source"),
    "twice": ("ok -> copy", "the destination of two files"),
    "twice, once absolute": ("ok -> {out}/copy", "the destination of two files"),
    "through a link": ("out of it/private -> new", "leads through a link to a place outside"),
    "a link": ("leads out -> new", "leads through a link to a place outside"),
}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A source with links that lead out, a private file beside it, and a joblist without jobs."""
    write(tmp_path / "in" / "ok")
    write(tmp_path / "private", b"private")
    write(tmp_path / "behind" / "private", b"private")
    (tmp_path / "in" / "out of it").symlink_to(tmp_path / "behind")
    (tmp_path / "in" / "leads out").symlink_to(tmp_path / "private")
    (tmp_path / "list").mkdir()
    write(tmp_path / "list" / "joblist.toml", b"format = 1\n")
    return tmp_path


def job(place: Path, *lines: str, destination: str | None = None) -> Path:
    names = {"in": place / "in", "out": place / "out"}
    header = ["todo", f"source: {place / 'in'}", f"destination: {destination or place / 'out'}"]
    text = "".join(f"{line}\n" for line in [*header, *lines, "---"])
    for name, path in names.items():
        text = text.replace("{" + name + "}", str(path))
    return write(place / "list" / "job.txt", os.fsencode(text))


@pytest.mark.parametrize("name", BAD)
def test_a_name_that_would_leave_its_root_is_one_clear_error_and_nothing_is_written(
    place: Path, name: str
) -> None:
    line, reason = BAD[name]
    jobfile = job(place, "file: ok -> copy", f"file: {line}")
    before = contents(place / "in"), contents(place / "behind")
    done = run("transfer-worker", "-i", place / "list")
    assert (done.exit_code, done.stderr) == (1, "")
    assert status_of(jobfile) == "error"
    (error,) = events(jobfile, "error")
    assert reason in error
    assert "unexpected" not in error
    assert contents(place / "out").keys() <= {"copy"}
    assert not (place / "escaped").exists()
    assert (contents(place / "in"), contents(place / "behind")) == before


@pytest.mark.parametrize(
    ("destination", "reason"),
    [
        ("{out}/../escaped", OUTSIDE),
        ('"{out}/a\\u0000b"', "without NUL"),
        ("s3://bucket//to", "Did you mean s3://bucket/to?"),
        ("s3://bucket/results/./x", "Did you mean s3://bucket/results/x?"),
        ("s3:/bucket/to", "Did you mean s3://bucket/to?"),
    ],
)
def test_a_destination_that_is_none_makes_the_job_invalid(
    place: Path, destination: str, reason: str
) -> None:
    jobfile = job(place, destination=destination)
    before = jobfile.read_bytes()
    done = run("transfer-worker", "-i", place / "list", "--links", "skip")
    assert done.exit_code == 1
    (line,) = [line for line in done.lines if line.startswith("❌")]
    assert "destination: " in line
    assert reason in line
    assert jobfile.read_bytes() == before
    assert not (place / "escaped").exists()


def test_an_absolute_destination_is_what_the_job_file_says_and_may_lie_anywhere(
    place: Path,
) -> None:
    job(place, f"file: ok -> {place}/anywhere/copy", "file: ok -> {out}/copy")
    run_ok("transfer-worker", "-i", place / "list")
    assert contents(place / "anywhere") == {"copy": b"data"}
    assert contents(place / "out") == {"copy": b"data"}


def test_an_absolute_destination_below_the_jobs_own_goes_through_no_link(place: Path) -> None:
    jobfile = job(place, "file: ok -> {out}/link/copy")
    (place / "out").mkdir()
    (place / "out" / "link").symlink_to(place / "behind")
    assert run("transfer-worker", "-i", place / "list").exit_code == 1
    assert "found a link to" in events(jobfile, "error")[0]
    assert contents(place / "behind") == {"private": b"private"}
