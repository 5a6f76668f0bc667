"""The surface of the commands: options, help, versions, and what starting one costs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import jobtool
from tests.commands import environment, run, run_ok
from tests.trees import make_items, make_plate, statuses

COMMANDS = ("generate-joblist", "transfer-worker", "summarise-jobs")
SAME = (("generate", COMMANDS[0]), ("transfer", COMMANDS[1]), ("summarise", COMMANDS[2]))
HEAVY = ("boto3", "botocore", "obstore", "pyarrow", "mpi4py", "rich", "numpy")


@pytest.mark.parametrize("spelling", ["dashes", "underscores"])
def test_every_long_option_takes_dashes_and_underscores(tmp_path: Path, spelling: str) -> None:
    def spelled(*options: object) -> list[str]:
        texts = [str(option) for option in options]
        if spelling == "dashes":
            return texts
        return [
            "--" + text[2:].replace("-", "_") if text.startswith("--") else text for text in texts
        ]

    make_items(tmp_path / "in", 2)
    paths = spelled("--input-path", tmp_path / "in", "--output-path", tmp_path / "list")
    options = ("--destination", tmp_path / "out", "--layout", "tree", "--verbosity", 0)
    run_ok("generate-joblist", *paths, *spelled(*options, "--dry-run"))
    run_ok("generate-joblist", *paths, *spelled(*options))
    joblist = spelled("--input-path", tmp_path / "list", "--verbosity", 0)
    worker = ("--threads", 2, "--max-jobs", 9)
    run_ok("transfer-worker", *joblist, *spelled(*worker, "--dry-run"))
    assert set(statuses(tmp_path / "list").values()) == {"todo"}
    run_ok("transfer-worker", *joblist, *spelled(*worker, "--json"))
    run_ok("summarise-jobs", *joblist)
    assert set(statuses(tmp_path / "list").values()) == {"success"}


@pytest.mark.parametrize("command", COMMANDS)
def test_underscores_reach_every_option_that_the_help_names(command: str) -> None:
    options = set(re.findall(r"--[a-z]+(?:-[a-z]+)+", run_ok(command, "--help").stdout))
    assert options
    for option in options:
        spelled = "--" + option[2:].replace("-", "_")
        assert "there is no option" not in run(command, spelled).stderr


def test_jobtool_has_the_same_commands(tmp_path: Path) -> None:
    make_plate(tmp_path / "in", "A1")
    outputs = []
    for commands in ([("jobtool", short) for short, _ in SAME], [(name,) for _, name in SAME]):
        place = tmp_path / f"as-{len(outputs)}"
        generate, transfer, summarise = commands
        paths = ("-i", tmp_path / "in", "-o", place / "list", "-d", place / "out")
        done = [
            run_ok(*generate, *paths),
            run_ok(*transfer, "-i", place / "list"),
            run_ok(*summarise, "-i", place / "list"),
        ]
        texts = [one.stdout.replace(str(place), "PLACE") for one in done]
        outputs.append([re.sub(r"in [0-9.]+ s", "in a moment", text) for text in texts])
    assert outputs[0] == outputs[1]


@pytest.mark.parametrize("command", [*COMMANDS, *(f"jobtool {short}" for short, _ in SAME)])
def test_help_ends_with_an_example_and_the_exit_codes(command: str) -> None:
    text = run_ok(*command.split(), "--help").stdout
    assert text == run_ok(*command.split(), "-h").stdout
    example, codes = text.index("Example:"), text.index("Exit codes:")
    assert text.index("Options:") < example < codes
    assert re.search(r"\n +.*(generate-joblist|transfer-worker|summarise-jobs) -i", text[example:])
    assert re.findall(r"^ +(\d)  \S", text[codes:], re.MULTILINE) == [*"012345"]


@pytest.mark.parametrize("command", [*COMMANDS, "jobtool"])
def test_every_command_tells_the_version(command: str) -> None:
    assert jobtool.__version__ in run_ok(command, "--version").stdout


def modules_after(code: str, cwd: Path) -> set[str]:
    script = f"import sys, json\n{code}\nprint('MODULES' + json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        env=environment(),
        cwd=cwd,
        timeout=60,
    )
    assert "MODULES" in done.stdout, done.stderr
    return {name.partition(".")[0] for name in json.loads(done.stdout.partition("MODULES")[2])}


def call(module: str, *arguments: object) -> str:
    return (
        f"from jobtool.cli.{module} import cli\n"
        f"try:\n    cli({[str(one) for one in arguments]!r})\n"
        "except SystemExit:\n    pass"
    )


@pytest.mark.parametrize("module", ["generate", "transfer", "summarise"])
def test_help_imports_none_of_the_heavy_libraries(module: str, tmp_path: Path) -> None:
    found = modules_after(call(module, "--help"), tmp_path)
    assert "jobtool" in found
    assert not found & set(HEAVY)


def test_local_plates_and_summaries_need_no_heavy_library(tmp_path: Path) -> None:
    make_plate(tmp_path / "in", "A1")
    paths = ("-i", tmp_path / "in", "-o", tmp_path / "list", "-d", tmp_path / "out")
    assert not modules_after(call("generate", *paths), tmp_path) & set(HEAVY)
    assert not modules_after(call("summarise", "-i", tmp_path / "list"), tmp_path) & set(HEAVY)
    assert statuses(tmp_path / "list") == {"source_8__J1__A1": "todo"}


def test_a_local_transfer_needs_neither_s3_nor_mpi(tmp_path: Path) -> None:
    make_plate(tmp_path / "in", "A1")
    run_ok(
        "generate-joblist", "-i", tmp_path / "in", "-o", tmp_path / "list", "-d", tmp_path / "out"
    )
    found = modules_after(call("transfer", "-i", tmp_path / "list"), tmp_path)
    assert statuses(tmp_path / "list") == {"source_8__J1__A1": "success"}
    assert not found & {"boto3", "botocore", "obstore", "mpi4py", "rich"}
