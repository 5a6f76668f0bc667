"""Jobs that require a newer version: no command touches them, and all commands say so."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.commands import assert_one_line_error, run, run_ok
from tests.prepare import prepare
from tests.trees import contents, make_items, snapshot, statuses

WHY = "it requires 'packs'; jobtool 0.1.0 knows steps, export, package. Upgrade jobtool."


@pytest.fixture
def joblist(tmp_path: Path) -> Path:
    make_items(tmp_path / "in", 3)
    paths = ("-i", tmp_path / "in", "-o", tmp_path / "list", "-d", tmp_path / "out", "-l", "tree")
    prepare("generate-joblist", *paths)
    return tmp_path / "list"


def make_newer(jobfile: Path, status: str, *, rest: str = "pack: zstd\n") -> bytes:
    """Make a job file require something of a newer version; return it."""
    _, _, header = jobfile.read_text().partition("\n")
    jobfile.write_text(f"{status}\nrequires: packs\n{rest}{header}")
    return jobfile.read_bytes()


@pytest.mark.parametrize("status", ["todo", "ongoing"])
@pytest.mark.parametrize("rest", ["pack: zstd\n", "no key and value\n"])
def test_a_worker_leaves_the_job_as_it_is_and_says_so_once(
    tmp_path: Path, joblist: Path, status: str, rest: str
) -> None:
    newer = joblist / "item001.txt"
    before = make_newer(newer, status, rest=rest)
    done = run("transfer-worker", "-i", joblist)
    assert done.exit_code == 3
    assert [line for line in done.lines if "item001" in line] == [
        f"❗ Left item001.txt as it is: {WHY}"
    ]
    assert newer.read_bytes() == before
    assert statuses(joblist) == {"item000": "success", "item001": status, "item002": "success"}
    assert {Path(path).parts[0] for path in contents(tmp_path / "out")} == {"item000", "item002"}
    assert not list((joblist / "receipts").glob("item001*"))


def test_a_dry_run_says_so_too(joblist: Path) -> None:
    make_newer(joblist / "item001.txt", "todo")
    done = run_ok("transfer-worker", "-i", joblist, "--dry-run")
    assert f"❗ Left item001.txt as it is: {WHY}" in done.lines
    assert sum(line.startswith("💡 Would transfer") for line in done.lines) == 2


def test_the_summary_counts_it_by_its_first_line(joblist: Path) -> None:
    make_newer(joblist / "item000.txt", "success")
    make_newer(joblist / "item001.txt", "todo", rest="no key and value\n")
    done = run_ok("summarise-jobs", "-i", joblist)
    assert "💡 Todo jobs: 2" in done.lines
    assert "✅ Success jobs: 1" in done.lines
    assert f"❗ Jobs that need a newer version: 2, as item000: {WHY}" in done.lines
    assert "Invalid" not in done.stdout


@pytest.mark.parametrize(
    ("status", "command"),
    [
        ("error", ("retry",)),
        ("success", ("retry", "--job", "item001")),
        ("success", ("verify", "--repair")),
        ("error", ("clean", "--yes")),
    ],
)
def test_no_command_touches_it_and_each_says_so(
    joblist: Path, status: str, command: tuple[str, ...]
) -> None:
    run_ok("transfer-worker", "-i", joblist)
    newer = joblist / "item001.txt"
    before = make_newer(newer, status)
    tables = snapshot(joblist / "receipts")
    verb, *options = command
    done = run("jobtool", verb, joblist, *options)
    assert done.exit_code == (3 if verb == "verify" else 1)
    assert f"item001: left as it is: {WHY}" in done.stdout
    assert newer.read_bytes() == before
    assert snapshot(joblist / "receipts") == tables


def test_generating_again_leaves_it_as_it_is(tmp_path: Path, joblist: Path) -> None:
    before = make_newer(joblist / "item001.txt", "todo")
    make_items(tmp_path / "in", 4)
    prepare("generate-joblist", "-i", tmp_path / "in", "-o", joblist)
    assert (joblist / "item001.txt").read_bytes() == before
    assert len(statuses(joblist)) == 4


def test_a_joblist_of_a_newer_version_is_refused_by_every_command(
    tmp_path: Path, joblist: Path
) -> None:
    toml = joblist / "joblist.toml"
    settings = toml.read_text()
    toml.write_text('requires = ["steps", "packs"]\nnovelty = 1\n' + settings)
    before = snapshot(joblist)
    for command in (
        ("transfer-worker", "-i", joblist),
        ("generate-joblist", "-i", tmp_path / "in", "-o", joblist),
        ("summarise-jobs", joblist),
        *(("jobtool", verb, joblist) for verb in ("retry", "verify", "clean")),
    ):
        assert_one_line_error(run(*command), 2, f"{toml}: {WHY}")
    assert snapshot(joblist) == before
    toml.write_text('requires = ["steps"]\n' + settings)
    make_items(tmp_path / "in", 4)
    prepare("generate-joblist", "-i", tmp_path / "in", "-o", joblist)
    assert 'requires = [\n    "steps",\n]' in toml.read_text() or 'requires = ["steps"]' in (
        toml.read_text()
    )
    run_ok("transfer-worker", "-i", joblist)


@pytest.mark.parametrize(
    ("steps", "why"),
    [
        ("check", "--steps: expected 'copy' among the steps; found check"),
        ("copy,copy", "--steps: expected each step once; found 'copy' twice"),
        ("Check,copy", "--steps: expected names of steps"),
        ("copy,", "found ''"),
    ],
)
def test_steps_that_make_no_chain_are_refused(tmp_path: Path, steps: str, why: str) -> None:
    make_items(tmp_path / "in", 1)
    paths = ("-i", tmp_path / "in", "-o", tmp_path / "list", "-d", tmp_path / "out", "-l", "tree")
    assert_one_line_error(run("generate-joblist", *paths, "--steps", steps), 2, why)
    assert not (tmp_path / "list").exists()


def test_jobs_that_are_added_later_have_the_same_steps(tmp_path: Path) -> None:
    make_items(tmp_path / "in", 1)
    paths = ("-i", tmp_path / "in", "-o", tmp_path / "list", "-d", tmp_path / "out", "-l", "tree")
    prepare("generate-joblist", *paths, "--steps", "check, copy")
    make_items(tmp_path / "in", 2)
    prepare("generate-joblist", *paths)
    for item in ("item000", "item001"):
        lines = (tmp_path / "list" / f"{item}.txt").read_text().splitlines()
        assert {"requires: steps", "steps: check, copy"} <= {*lines}


def test_a_joblist_has_one_chain_of_steps(tmp_path: Path, joblist: Path) -> None:
    again = ("-i", tmp_path / "in", "-o", joblist, "--steps")
    done = run("generate-joblist", *again, "check,copy")
    assert_one_line_error(done, 2, "was made with another chain of steps", "leave out --steps")
    prepare("generate-joblist", *again, "copy")
    assert "steps" not in (joblist / "item000.txt").read_text()
