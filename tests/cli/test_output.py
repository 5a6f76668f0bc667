"""Output as programs and other terminals read it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from jobtool.cli.console import Console
from jobtool.names import is_utf8
from tests.commands import BIN, Done, environment, run
from tests.trees import make_plate, statuses, write

WEIRD = "pläte -> #1\n🧬"
NOT_UTF_8 = os.fsdecode(b"caf\xe9")


def workflow(tmp_path: Path, *options: object, **env: str) -> list[Done]:
    """Run the three commands; the plates have names that are hard to print."""
    make_plate(tmp_path / "in", WEIRD)
    make_plate(tmp_path / "in", NOT_UTF_8)
    make_plate(tmp_path / "in", "unfinished", complete=False)
    paths = ("-i", tmp_path / "in", "-o", tmp_path / "list", "-d", tmp_path / "out")
    joblist = ("-i", tmp_path / "list")
    generated = run("generate-joblist", *paths, *options, env=env)
    write(tmp_path / "list" / "odd.txt", b"nonsense")
    worker = run("transfer-worker", *joblist, *options, env=env)
    return [generated, worker, run("summarise-jobs", *joblist, "-v", 2, *options, env=env)]


ENCODINGS = [
    {"LC_ALL": "C.UTF-8"},
    {"LC_ALL": "C", "LANG": "C"},
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    {"PYTHONIOENCODING": "latin-1"},
]
#: The first two are much like the one of the tests themselves.
CASES = [
    pytest.param(env, id=str(env), marks=[pytest.mark.wide] if number < 2 else [])
    for number, env in enumerate(ENCODINGS)
]


@pytest.mark.parametrize("env", CASES)
def test_output_is_json_lines_in_every_encoding(tmp_path: Path, env: dict[str, str]) -> None:
    generated, worker, summary = workflow(tmp_path, "--json", **env)
    assert [generated.exit_code, worker.exit_code, summary.exit_code] == [0, 1, 1]
    assert generated.stderr + worker.stderr + summary.stderr == ""
    told = [[json.loads(line) for line in done.lines] for done in (generated, worker, summary)]
    assert told[0][-1] == {
        "event": "generated",
        "created": 2,
        "existing": 0,
        "invalid": 0,
        "incomplete": 1,
        "unreadable": 0,
        "excluded": 0,
        "names_left_out": 0,
        "dry_run": False,
    }
    names = {f"source_8__J1__{plate}" for plate in (WEIRD, NOT_UTF_8)}
    assert {one["job"] for one in told[1] if one["event"] == "success"} == names
    assert told[1][-1]["event"] == "finished"
    assert {one["job"]: one["status"] for one in told[2][0]["jobs"]} == {
        **dict.fromkeys(names, "success"),
        "odd": "invalid",
    }


@pytest.mark.parametrize("env", CASES)
def test_lines_for_people_are_printed_in_every_encoding(
    tmp_path: Path, env: dict[str, str]
) -> None:
    done = workflow(tmp_path, **env)
    assert [one.exit_code for one in done] == [0, 1, 1]
    assert "".join(one.stderr for one in done) == ""
    assert "Created 2 job(s)" in done[0].stdout
    assert "finished 2 job(s)" in done[1].stdout
    assert "Success jobs: 2" in done[2].stdout
    assert sorted(statuses(tmp_path / "list").values()) == ["nonsense", "success", "success"]


def test_an_error_is_one_line_in_every_encoding(tmp_path: Path) -> None:
    for env in ENCODINGS:
        done = run("summarise-jobs", "-i", tmp_path / f"{WEIRD}{NOT_UTF_8}", env=env)
        assert done.exit_code == 2
        assert len(done.stderr.splitlines()) == 1
        assert "Traceback" not in done.stderr


def test_quiet_says_only_what_matters(tmp_path: Path) -> None:
    generated, worker, summary = workflow(tmp_path, "--verbosity", 0)
    assert [line.split()[0] for line in generated.lines] == ["❗", "-"]
    assert [line.split()[0] for line in worker.lines] == ["❌"]
    assert summary.lines[0].startswith("❗ odd: invalid: line 1")
    assert "💡 Total jobs: 3" in summary.lines


def test_files_are_told_one_by_one_when_asked_for(tmp_path: Path) -> None:
    _, worker, _ = workflow(tmp_path, "--verbosity", 3)
    moved = [line for line in worker.lines if line.endswith("read-back")]
    assert len(moved) == 8


def test_a_reader_that_leaves_early_is_no_traceback(tmp_path: Path) -> None:
    make_plate(tmp_path / "in", "A1")
    paths = ("-i", tmp_path / "in", "-o", tmp_path / "list", "-d", tmp_path / "out")
    run("generate-joblist", *paths)
    from tests.commands import start

    process = start("summarise-jobs", "-i", tmp_path / "list")
    process.stdout.close()
    stderr = process.stderr.read()
    process.stderr.close()
    process.wait(timeout=60)
    assert "Traceback" not in stderr


@pytest.mark.parametrize("encoding", [pytest.param("latin-1", marks=pytest.mark.wide), "ascii"])
def test_symbols_are_plain_where_the_output_is_not_utf8(tmp_path: Path, encoding: str) -> None:
    done = workflow(tmp_path, PYTHONIOENCODING=encoding)
    text = "".join(one.stdout for one in done)
    starts = {line.split()[0] for line in text.splitlines() if line.startswith("[")}
    assert starts == {"[i]", "[ok]", "[!]", "[x]"}
    assert "\\U" not in text.replace("\\U0001f9ec", "")  # that one is in a name
    error = run("summarise-jobs", tmp_path / "none", env={"PYTHONIOENCODING": encoding})
    assert error.stderr.startswith("[x] expected something")
    looked = run("jobtool", "doctor", tmp_path / "list", env={"PYTHONIOENCODING": encoding})
    assert "[ok] pass" in looked.stdout
    assert "\\u" not in looked.stdout


def test_a_terminal_of_the_locale_c_gets_plain_symbols(tmp_path: Path) -> None:
    make_plate(tmp_path / "in", "A1")
    paths = ("-i", tmp_path / "in", "-o", tmp_path / "list", "-d", tmp_path / "out")
    run("generate-joblist", *paths)
    ours, theirs = os.openpty()
    with subprocess.Popen(
        [BIN / "transfer-worker", tmp_path / "list"],
        stdout=theirs,
        stdin=theirs,
        stderr=theirs,
        env=environment({"LC_ALL": "C", "TERM": "xterm"}),
    ) as process:
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # EIO at the end
            while data := os.read(ours, 65536):
                shown += data
    os.close(ours)
    assert process.returncode == 0
    assert shown.isascii()
    assert b"[ok] This worker finished 1 job(s)" in shown


def test_json_is_printed_to_text_in_memory_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    text = io.StringIO()
    monkeypatch.setattr(sys, "stdout", text)
    Console(as_json=True).print_json({"job": WEIRD})
    assert text.getvalue() == '{"job": "pläte -> #1\\n🧬"}\n'


@pytest.mark.parametrize("encoding", [None, "utf-8", "UTF8", "utf_8", "U8"])
def test_utf8_is_known_however_it_is_spelt(encoding: str | None) -> None:
    assert is_utf8(encoding)
    assert not is_utf8("latin-1")
