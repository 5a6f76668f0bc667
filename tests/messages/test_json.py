"""What commands print with ``--json``: each has a schema, and its numbers are those of the text.

``tests.commands`` validates each line that any test sees. Here every command prints some.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import pkgutil
import re
import shutil
import sqlite3
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import pytest
from jsonschema import Draft202012Validator, ValidationError

import jobtool
from jobtool.cli.main import COMMANDS
from jobtool.cli.schemas import OUTPUTS, closed, schema_of
from jobtool.events import Event
from tests.commands import Done, run
from tests.forked import MAINS
from tests.jsonlines import WHAT_TO_DO, check_line, command_of
from tests.packages.made import manifest_of
from tests.receiving import worlds as arrived
from tests.staging.world import world_in
from tests.trees import make_items, make_plate

#: A command that needs a server, and whose own tests print its JSON: ``test_impala_transfer.py``.
ELSEWHERE = {"impala-transfer"}


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command that there is, those of a group in its place."""
    modules = {**COMMANDS, "impala-transfer": MAINS["impala-transfer"].partition(":")[0]}
    for name, module in modules.items():
        command = import_module(module).cli
        if isinstance(command, click.Group):
            yield from ((f"{name} {inner}", each) for inner, each in command.commands.items())
        else:
            yield name, command


def test_every_command_with_json_has_a_schema() -> None:
    printing = {
        name for name, each in commands() if any("--json" in option.opts for option in each.params)
    }
    assert printing == set(OUTPUTS), f"Commands and schemas differ. {WHAT_TO_DO}."


def test_every_event_is_in_a_schema() -> None:
    for found in pkgutil.walk_packages(jobtool.__path__, "jobtool."):
        if found.name.endswith("events"):
            importlib.import_module(found.name)
    printed = {each for output in OUTPUTS.values() for each in output.all_types()}
    events = {each for each in _below(Event) if each.__module__.startswith("jobtool.")}
    lacking = sorted(f"{each.__module__}.{each.__name__}" for each in events - printed)
    assert lacking == [], f"No command prints these events. {WHAT_TO_DO}."


def _below(kind: type) -> Iterator[type]:
    for each in kind.__subclasses__():
        yield each
        yield from _below(each)


@pytest.mark.parametrize("command", OUTPUTS)
def test_schemas_are_schemas_and_describe_what_they_name(command: str) -> None:
    schema = schema_of(command)
    Draft202012Validator.check_schema(schema)
    for name, values in schema["$defs"].items():
        assert values.get("description") or "event" not in values.get("properties", {}), name


def test_a_field_that_no_schema_names_is_refused_by_tests_and_allowed_to_programs() -> None:
    line = {"event": "receipts", "files": 3, "output": "table.csv", "format": "table"}
    schema = schema_of("receipts")
    check_line("receipts", line)
    Draft202012Validator(schema).validate({**line, "new": 1})
    with pytest.raises(ValidationError):
        Draft202012Validator(closed(schema)).validate({**line, "new": 1})
    with pytest.raises(AssertionError, match=re.escape("jobtool/cli/schemas.py")):
        check_line("receipts", {**line, "new": 1})
    with pytest.raises(AssertionError, match="no schema has the event 'novel'"):
        check_line("receipts", {"event": "novel"})
    with pytest.raises(AssertionError, match="is a required property"):
        check_line("receipts", {"event": "receipts", "files": 3})


class Ran:
    """Runs commands with ``--json``, which validates their lines, and remembers which ran."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def __call__(self, *command: object, code: int = 0, **more: Any) -> list[dict[str, Any]]:
        done: Done = run(*command, "--json", **more)
        assert done.exit_code == code, done
        self.names.add(command_of([*map(str, command)]) or "")
        return [json.loads(line) for line in done.lines]


def test_every_command_prints_what_its_schema_says(tmp_path: Path) -> None:
    ran = Ran()
    for part in (_lists, _packages, _exports, _stages):
        folder = tmp_path / part.__name__
        folder.mkdir()
        part(folder, ran)
    lacking = set(OUTPUTS) - ELSEWHERE - ran.names
    assert not lacking, f"Add a run of {lacking} to this test."


def _lists(folder: Path, ran: Ran) -> None:
    make_plate(folder / "in", "A1", chunks=1)
    make_plate(folder / "in", "A2", chunks=1)
    joblist = folder / "list"
    ran("generate-joblist", folder / "in", "-o", joblist, "-d", folder / "out", "-v", "3")
    ran("summarise-jobs", joblist)
    ran("transfer-worker", joblist, "--dry-run")
    ran("transfer-worker", joblist, "--max-jobs", 1, "-v", "3", code=3)
    (left,) = (path for path in joblist.glob("*.txt") if path.read_text().startswith("todo"))
    source = Path(left.read_text().partition("source: ")[2].partition("\n")[0])
    source.rename(folder / "gone")
    ran("transfer-worker", joblist, "-v", "3", code=1)
    (joblist / "odd.txt").write_text("Done\n")
    summary = ran("summarise-jobs", joblist, code=1)[0]
    assert (summary["error"], summary["invalid"], summary["success"]) == (1, 1, 1)
    for job in summary["jobs"]:
        ran("jobtool", "show", joblist, job["job"], code=0 if job["status"] == "success" else 1)
    (folder / "gone").rename(source)
    (joblist / "odd.txt").unlink()
    ran("jobtool", "methods", joblist)
    ran("jobtool", "retry", joblist)
    ran("jobtool", "pause", joblist)
    ran("summarise-jobs", joblist)
    ran("jobtool", "resume", joblist)
    ran("jobtool", "stop", joblist)
    ran("jobtool", "set", joblist, "bandwidth=1GB/s")
    with (joblist / "joblist.toml").open("a") as settings:
        settings.write('\n[notify]\ncommand = "true"\n')
    ran("jobtool", "notify", joblist)
    ran("jobtool", "excluded", joblist)
    ran("transfer-worker", joblist)
    victim = next(path for path in (folder / "out").rglob("*.log"))
    victim.write_text("changed")
    ran("jobtool", "verify", joblist, code=1)
    ran("jobtool", "verify", joblist, "--repair", code=1)
    ran("transfer-worker", joblist)
    ran("jobtool", "receipts", joblist, "-o", folder / "table.csv")
    ran("jobtool", "report", joblist, "-o", folder / "report.md", "--markdown")
    ran("jobtool", "clean", joblist)
    ran("jobtool", "release", joblist, "-v", "3")
    ran("jobtool", "doctor", joblist)


def _packages(folder: Path, ran: Ran) -> None:
    world = arrived.World(folder / "world")
    tar = world.package("night", {"a": 2})
    ran("jobtool", "ls", tar)
    ran("jobtool", "ls", tar, "--reindex")
    ran("jobtool", "get", tar, "--all", "-d", folder / "unpacked", "-v", "3")
    ran("jobtool", "refs", tar, "-o", folder / "refs.json")
    other = world.package("evening", {"b": 1})
    manifest_of(other).write_text("[]")
    there = ("--unpack", folder / "there", "-o", folder / "list")
    ran("jobtool", "receive", world.buffer, *there, "-v", "3", code=1)
    ran("summarise-jobs", folder / "list")
    ran("transfer-worker", folder / "list", "-v", "3")
    (summary,) = ran("summarise-jobs", folder / "list")
    assert summary["package_steps"]
    ran("jobtool", "show", folder / "list", summary["jobs"][0]["job"])
    ran("jobtool", "catalog", "rebuild", folder / "list", "--catalog", folder / "catalog")
    ran("jobtool", "catalog", "compact", "--catalog", folder / "catalog")
    way = ("--from", "chile", "--to", "cologne", "--probe")
    ran("jobtool", "routes", world.sites, *way)


def _exports(folder: Path, ran: Ran) -> None:
    with contextlib.closing(sqlite3.connect(folder / "rows.db")) as connection, connection:
        connection.execute("CREATE TABLE t (id INTEGER, name TEXT)")
        connection.executemany("INSERT INTO t VALUES (?, ?)", [(n, f"row {n}") for n in range(90)])
    query = (
        "--connection",
        f"sqlite:///{folder}/rows.db",
        "--query",
        "SELECT * FROM t ORDER BY id",
    )
    paths = ("-o", folder / "list", "-d", folder / "out")
    ran("jobtool", "export", *query, *paths, "--split-by", "id", "--count", "-v", "3")
    ran("transfer-worker", folder / "list", "-v", "3")
    (summary,) = ran("summarise-jobs", folder / "list")
    assert (summary["rows_done"], summary["rows_total"]) == (90, 90)


def _stages(folder: Path, ran: Ran) -> None:
    world = world_in(folder / "world")
    env = world.env()
    ran("jobtool", "stage", "d/scan_07", "d/scan_99", "--skip-missing", "--no-run", env=env)
    ran("jobtool", "stage", "d/scan_07", env=env)
    ran("jobtool", "stage", "--list", env=env)
    ran("jobtool", "where", "d/scan_07", env=env)
    ran("jobtool", "copies", "--less-than", 3, env=env)
    ran("jobtool", "unstage", "d/scan_07", env=env)


def _numbers(text: str, pattern: str) -> tuple[int, ...]:
    found = re.search(pattern, text)
    assert found, (pattern, text)
    return tuple(int(group.replace(",", "")) for group in found.groups())


@pytest.fixture
def lists(tmp_path: Path) -> Path:
    """A joblist of two jobs that are done, one in error, one todo and an invalid one."""
    make_items(tmp_path / "in", 4)
    joblist = tmp_path / "list"
    told = ("-o", joblist, "-d", tmp_path / "out", "-l", "tree", "-v", 0)
    assert run("generate-joblist", tmp_path / "in", *told).exit_code == 0
    assert run("transfer-worker", joblist, "--max-jobs", 2).exit_code == 3
    todo = [path for path in sorted(joblist.glob("*.txt")) if path.read_text().startswith("todo")]
    shutil.rmtree(tmp_path / "in" / todo[0].stem)
    assert run("transfer-worker", joblist, "--max-jobs", 1).exit_code in (1, 3)
    (joblist / "odd.txt").write_text("Done\n")
    return joblist


def test_the_summary_as_text_and_as_json_has_the_same_numbers(lists: Path) -> None:
    text = run("summarise-jobs", lists).stdout
    (summary,) = map(json.loads, run("summarise-jobs", lists, "--json").lines)
    assert _numbers(text, r"Total jobs: (\d+)") == (summary["total"],) == (5,)
    for word in ("todo", "ongoing", "success", "error"):
        assert _numbers(text, rf"{word.capitalize()} jobs: (\d+)") == (summary[word],), word
    assert _numbers(text, r"Invalid jobs: (\d+)") == (summary["invalid"],) == (1,)
    assert summary["total"] == len(summary["jobs"])
    for job in summary["jobs"]:
        assert summary[job["status"]] == sum(
            each["status"] == job["status"] for each in summary["jobs"]
        )
        if job["status"] == "success":
            shown = run("jobtool", "show", lists, job["job"]).stdout
            assert _numbers(shown, r"files: ([\d,]+) of ([\d,]+)") == (
                job["files_done"],
                job["files_total"],
            )
    assert summary["bytes_done"] == sum(job["bytes_done"] or 0 for job in summary["jobs"])


def test_findings_as_text_and_as_json_are_the_same(lists: Path) -> None:
    victim = next(path for path in (lists.parent / "out").rglob("*") if path.is_file())
    victim.unlink()
    text = run("jobtool", "verify", lists).stdout
    *findings, total = map(json.loads, run("jobtool", "verify", lists, "--json").lines)
    missing = [each for each in findings if each.get("what") == "missing"]
    assert len(missing) == total["missing"] == 1
    assert _numbers(text, r"(\d+) missing") == (total["missing"],)
    assert missing[0]["path"] in text


def test_a_run_as_text_and_as_json_has_the_same_numbers(tmp_path: Path) -> None:
    make_items(tmp_path / "in", 3)
    found = []
    for number, more in enumerate(((), ("--json",))):
        joblist = tmp_path / f"list{number}"
        told = ("-o", joblist, "-d", tmp_path / f"out{number}", "-l", "tree")
        made = run("generate-joblist", tmp_path / "in", *told, *more).stdout
        found.append((made, run("transfer-worker", joblist, "-v", 2, *more).stdout))
    (made, text), (made_lines, lines) = found
    generated = json.loads(made_lines.splitlines()[-1])
    assert _numbers(made, r"(\d+) job") == (generated["created"],) == (3,)
    events = [json.loads(line) for line in lines.splitlines()]
    done = [each for each in events if each["event"] == "success"]
    (finished,) = (each for each in events if each["event"] == "finished")
    assert len(done) == finished["succeeded"] == 3
    for each in done:
        (line,) = (one for one in text.splitlines() if "✅" in one and each["job"] in one)
        assert _numbers(line, r"([\d,]+) files?") == (each["files"],)
