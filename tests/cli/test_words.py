"""Command lines as people type them: the joblist with and without -i, misspelt words."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import Done, assert_one_line_error, environment, run, run_ok
from tests.trees import make_items, statuses


@pytest.fixture
def joblist(tmp_path: Path) -> Path:
    make_items(tmp_path / "in", 1)
    done = ("-o", tmp_path / "list", "-d", tmp_path / "out", "-l", "tree")
    run_ok("generate-joblist", "-i", tmp_path / "in", *done)
    return tmp_path / "list"


@pytest.mark.parametrize(
    "command",
    [
        ("transfer-worker", "--dry-run"),
        ("summarise-jobs",),
        ("jobtool", "verify"),
        ("jobtool", "retry"),
        ("jobtool", "clean"),
        ("jobtool", "receipts", "-o", "table.csv"),
        ("jobtool", "sbatch"),
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_every_command_takes_its_joblist_both_ways(
    tmp_path: Path, joblist: Path, command: tuple[str, ...]
) -> None:
    by_argument = run(*command, joblist, cwd=tmp_path)
    by_option = run(*command, "--input_path", joblist, cwd=tmp_path)
    assert without_room(by_argument) == without_room(by_option)
    assert (by_argument.exit_code, by_argument.stderr) == (by_option.exit_code, by_option.stderr)
    assert by_argument.exit_code in (0, 3)
    assert by_argument.stdout
    both = run(*command, joblist, "-i", joblist, cwd=tmp_path)
    assert_one_line_error(both, 2, "JOBLIST", "found both")
    assert_one_line_error(run(*command, cwd=tmp_path), 2, "JOBLIST", "-i", "found neither")


def without_room(done: Done) -> list[str]:
    """What a command told, but for the room on a disk, which others use too."""
    return [line for line in done.lines if not line.startswith("  Room: ")]


def test_options_of_workers_stand_behind_either(joblist: Path) -> None:
    for told in (("-i", joblist), (joblist,)):
        script = run_ok("jobtool", "sbatch", *told, "--", "--threads", 4).stdout
        assert f"joblist={joblist}\n" in script
        assert "--threads 4 &" in script


def test_a_table_is_verified_both_ways(tmp_path: Path, joblist: Path) -> None:
    run_ok("transfer-worker", joblist)
    table = tmp_path / "table.parquet"
    run_ok("jobtool", "receipts", joblist, "-o", table)
    run_ok("jobtool", "verify", table)
    run_ok("jobtool", "verify", "-i", table)


def test_a_source_is_the_argument_or_given_by_the_option(tmp_path: Path) -> None:
    make_items(tmp_path / "in", 1)
    rest = ("-o", tmp_path / "list", "-d", tmp_path / "out", "-l", "tree", "--dry-run")
    by_argument = run_ok("generate-joblist", tmp_path / "in", *rest)
    assert by_argument == run_ok("generate-joblist", "-i", tmp_path / "in", *rest)
    both = run("generate-joblist", tmp_path / "in", "-i", tmp_path / "in", *rest)
    assert_one_line_error(both, 2, "SOURCE", "found both")


def test_the_package_is_a_program(joblist: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "jobtool", "transfer", str(joblist)],
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert statuses(joblist) == {"item000": "success"}
    told = subprocess.run([sys.executable, "-m", "jobtool", "-h"], capture_output=True, text=True)
    assert told.stdout.startswith("Usage: jobtool [OPTIONS]")


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("summarize", "summarise"),
        ("status", "summarise"),
        ("statsu", "summarise"),
        ("transfer-jobs", "transfer"),
        ("transfer_worker", "transfer"),
        ("veryfy", "verify"),
        ("Retry", "retry"),
    ],
)
def test_commands_that_are_nearly_right_are_corrected(word: str, meant: str) -> None:
    done = run("jobtool", word, "list")
    told = f"unknown command '{word}'", f"Did you mean '{meant}'?", "doctor"
    assert_one_line_error(done, 2, *told)


def test_options_that_are_nearly_right_are_corrected(joblist: Path) -> None:
    done = run("transfer-worker", joblist, "--max-job", 3)
    assert_one_line_error(done, 2, "--max-jobs")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[tranfser]\nthreads = 3", ("'tranfser'", "Did you mean 'transfer'?", "credentials")),
        ("[transfer]\nthread = 3", ("[transfer]", "'thread'", "'threads'?", "if_exists")),
        ("leaseseconds = 3", ("'leaseseconds'", "Did you mean 'lease_seconds'?")),
        ("[s3]\nregoin = 3", ("[s3]", "'regoin'", "Did you mean 'region'?", "endpoint_url")),
        ('[credentials]\nprovider = "proces"', ("'proces'", "Did you mean 'process'?")),
    ],
)
def test_a_misspelt_setting_is_refused(joblist: Path, text: str, expected: tuple[str, ...]) -> None:
    toml = joblist / "joblist.toml"
    before = toml.read_text()
    toml.write_text(f"{before}\n{text}" if text.startswith("[") else f"{text}\n{before}")
    assert_one_line_error(run("transfer-worker", joblist), 2, *expected)
    assert statuses(joblist) == {"item000": "todo"}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("-l", "plates", "--set", "bukcet=x"), ("bukcet", "plates")),
        (("-l", "tree", "--set", "transfer.threads=3"), ("transfer.threads", "SCHEME.KEY")),
        (("-l", "tree", "--set", "s3.regoin=x"), ("regoin", "Did you mean 'region'?")),
        (("-l", "partitions", "--set", "dst_image_foldr=/x"), ("'dst_image_folder'?",)),
        (("-l", "manifest", "--set", "max_file=3"), ("Did you mean 'max_files'?",)),
        (
            (
                "-l",
                "tere",
            ),
            ("Did you mean 'tree'?",),
        ),
    ],
    ids=str,
)
def test_a_value_that_nothing_uses_is_refused(
    tmp_path: Path, options: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    make_items(tmp_path / "in", 1)
    paths = ("-i", tmp_path / "in", "-o", tmp_path / "list", "-d", tmp_path / "out")
    assert_one_line_error(run("generate-joblist", *paths, *options), 2, *expected)
    assert not (tmp_path / "list").exists()
