"""Wrong input: one clear line on standard error and the documented exit code."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.commands import assert_one_line_error, run
from tests.prepare import prepare
from tests.trees import contents, make_items, make_plate, snapshot, statuses, write


@pytest.fixture
def joblist(tmp_path: Path) -> Path:
    """A joblist of one plate."""
    make_plate(tmp_path / "in", "A1")
    paths = ("-i", tmp_path / "in", "-o", tmp_path / "list", "-d", tmp_path / "out")
    prepare("generate-joblist", *paths)
    return tmp_path / "list"


def generate(tmp_path: Path, *options: object):
    return run("generate-joblist", "-i", tmp_path / "in", "-o", tmp_path / "list", *options)


COMMANDS = ("generate-joblist", "transfer-worker", "summarise-jobs")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_missing_input_path_is_named(tmp_path: Path, command: str) -> None:
    output = ("-o", tmp_path / "list") if command == "generate-joblist" else ()
    done = run(command, "-i", tmp_path / "nowhere", *output)
    assert_one_line_error(done, 2, f"{tmp_path}/nowhere", "found nothing")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", COMMANDS)
def test_an_input_path_that_is_a_file_is_named(tmp_path: Path, command: str) -> None:
    write(tmp_path / "in")
    output = ("-o", tmp_path / "list", "-l", "tree", "-d", tmp_path / "out")
    done = run(command, "-i", tmp_path / "in", *(output if command == "generate-joblist" else ()))
    assert_one_line_error(done, 2, f"{tmp_path}/in", "found a file")
    assert not (tmp_path / "list").exists()


@pytest.mark.parametrize("layout", ["auto", "tree", "plates", "partitions"])
def test_an_empty_tree_makes_no_joblist(tmp_path: Path, layout: str) -> None:
    (tmp_path / "in").mkdir()
    folders = ("--set", "dst_image_folder=/a", "--set", "dst_error_folder=/b")
    told = folders if layout in ("auto", "partitions") else ()
    done = generate(tmp_path, "-l", layout, "-d", tmp_path / "out", *told)
    assert_one_line_error(done, 2, f"{tmp_path}/in", "found none")
    assert not (tmp_path / "list").exists()


@pytest.mark.parametrize("command", ["transfer-worker", "summarise-jobs"])
def test_a_folder_that_is_no_joblist_is_refused_and_left_alone(
    tmp_path: Path, command: str
) -> None:
    write(tmp_path / "folder" / "notes.txt", b"todo: buy milk")
    before = snapshot(tmp_path)
    done = run(command, "-i", tmp_path / "folder")
    assert_one_line_error(done, 2, f"{tmp_path}/folder", "joblist.toml", "generate-joblist")
    assert snapshot(tmp_path) == before


def test_an_output_path_that_holds_something_else_is_refused(tmp_path: Path) -> None:
    make_items(tmp_path / "in", 1)
    write(tmp_path / "list" / "holiday.jpg")
    before = snapshot(tmp_path)
    assert_one_line_error(generate(tmp_path, "-d", tmp_path / "out"), 2, "holiday.jpg")
    assert snapshot(tmp_path) == before


def test_an_output_path_that_is_a_file_is_refused(tmp_path: Path) -> None:
    make_items(tmp_path / "in", 1)
    write(tmp_path / "list")
    assert_one_line_error(generate(tmp_path, "-d", tmp_path / "out"), 2, "found a file")


def test_an_unknown_layout_is_named_with_the_known_ones(tmp_path: Path) -> None:
    make_items(tmp_path / "in", 1)
    done = generate(tmp_path, "-l", "palets", "-d", tmp_path / "out")
    assert_one_line_error(done, 2, "palets", "plates", "partitions", "tree", "manifest")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[layout", "isn't valid TOML"),
        ("pattern = '{x}'", "[layout]"),
        ("[layout]\nname = '{x}'", "pattern"),
        ("[layout]\npattern = '{x}'\nname = '{y}'\ndestination = '{destination}/{x}'", "{y}"),
        ("[layout]\npattern = '{x}'\nname = '{x}'\nretries = 3", "retries"),
        ("[layout]\npattern = '{x'\nname = 'x'\ndestination = '/out'", "{x"),
        ("[layout]\npattern = '{x}'\nname = '{x'\ndestination = '/out'", "{x"),
        ("[layout]\npattern = '{x}'\nname = '{x}'", "destination"),
    ],
)
def test_a_malformed_layout_file_is_named_with_its_fault(
    tmp_path: Path, text: str, expected: str
) -> None:
    make_items(tmp_path / "in", 1)
    write(tmp_path / "my.toml", text.encode())
    done = generate(tmp_path, "-l", tmp_path / "my.toml", "-d", tmp_path / "out")
    assert_one_line_error(done, 2, "my.toml", expected)
    assert not (tmp_path / "list").exists()


def test_a_missing_layout_file_is_named(tmp_path: Path) -> None:
    make_items(tmp_path / "in", 1)
    done = generate(tmp_path, "-l", tmp_path / "my.toml", "-d", tmp_path / "out")
    assert_one_line_error(done, 2, "my.toml", "No such file")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("format = ", "isn't valid TOML"),
        ("format = 2", "format"),
        ("", "format"),
        ("format = 1\n[transfer]\nthreads = 'many'", "threads"),
        ("format = 1\n[s3]\nendpont_url = 'http://localhost'", "endpont_url"),
        ("format = 1\n[s3]\nsecret_access_key = 'sesame-open'", "secret_access_key"),
    ],
)
def test_a_malformed_joblist_toml_is_named_and_no_job_touched(
    joblist: Path, text: str, expected: str
) -> None:
    write(joblist / "joblist.toml", text.encode())
    before = snapshot(joblist)
    done = run("transfer-worker", "-i", joblist)
    assert_one_line_error(done, 2, "joblist.toml", expected)
    assert "sesame-open" not in done.stdout + done.stderr
    assert snapshot(joblist) == before


@pytest.mark.parametrize("key", ["s3.secret_access_key", "s3.source.session_token", "password"])
def test_a_secret_given_to_the_generator_is_never_written(tmp_path: Path, key: str) -> None:
    make_items(tmp_path / "in", 1)
    done = generate(tmp_path, "-d", tmp_path / "out", "--set", f"{key}=sesame-open")
    assert_one_line_error(done, 2, key.rpartition(".")[2])
    assert b"sesame-open" not in b"".join(contents(tmp_path).values())
    assert "sesame-open" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("command", "arguments", "expected"),
    [
        ("generate-joblist", ("--bogus",), "--bogus"),
        ("generate-joblist", ("-i", "x"), "--output-path"),
        ("generate-joblist", ("-i", "x", "-o", "y", "-v", "9"), "9"),
        ("generate-joblist", ("-i", "", "-o", "y"), "empty"),
        ("generate-joblist", ("-i", ".", "-o", "y", "--set", "x"), "KEY=VALUE"),
        ("generate-joblist", ("-i", ".", "-o", "y", "-d", "gopher://x/y"), "gopher"),
        ("transfer-worker", ("--bogus",), "--bogus"),
        ("transfer-worker", ("-i", "x", "--threads", "0"), "--threads"),
        ("transfer-worker", ("-i", "x", "--max-jobs", "-1"), "--max-jobs"),
        ("transfer-worker", (), "--input-path"),
        ("summarise-jobs", ("--bogus",), "--bogus"),
        ("jobtool", ("sumarise",), "sumarise"),
        ("jobtool", ("transfer", "--bogus"), "--bogus"),
    ],
)
def test_a_wrong_command_line_is_one_line(
    tmp_path: Path, command: str, arguments: tuple[str, ...], expected: str
) -> None:
    (tmp_path / "inside").mkdir()
    assert_one_line_error(run(command, *arguments, cwd=tmp_path), 2, expected)
    assert [path.name for path in tmp_path.iterdir()] == ["inside"]


def test_a_destination_is_asked_for_where_the_layout_needs_one(tmp_path: Path) -> None:
    make_plate(tmp_path / "in", "A1")
    assert_one_line_error(generate(tmp_path), 2, "--destination")
    assert not (tmp_path / "list").exists()


def test_first_line_done_is_named_never_claimed_and_exit_1(tmp_path: Path, joblist: Path) -> None:
    jobfile = joblist / "source_8__J1__A1.txt"
    jobfile.write_bytes(jobfile.read_bytes().replace(b"todo", b"Done", 1))
    make_plate(tmp_path / "in", "A2")
    prepare("generate-joblist", "-i", tmp_path / "in", "-o", joblist)
    before = jobfile.read_bytes()
    worker = run("transfer-worker", "-i", joblist)
    assert worker.exit_code == 1
    assert "❌ Invalid job file source_8__J1__A1.txt: line 1: expected one of" in worker.stdout
    assert jobfile.read_bytes() == before
    assert set(contents(tmp_path / "out")) >= {"source_8/J1/A2/segmentation.log"}
    assert not (tmp_path / "out" / "source_8" / "J1" / "A1").exists()
    summary = run("summarise-jobs", "-i", joblist)
    assert summary.exit_code == 1
    assert "❗ Invalid jobs: 1" in summary.lines
    line = next(line for line in summary.lines if "source_8__J1__A1" in line)
    assert line.startswith("❗ source_8__J1__A1: invalid: line 1: expected one of")
    assert "found 'Done'" in summary.stdout
    assert statuses(joblist) == {"source_8__J1__A1": "Done", "source_8__J1__A2": "success"}
