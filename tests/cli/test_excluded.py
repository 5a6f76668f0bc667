"""`jobtool excluded`: what filters leave out, and its total in `summarise-jobs`."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import jobtool
from tests.commands import Done, assert_one_line_error, run, run_ok
from tests.layouts.inventories import row, write_inventory

FILES = {
    "a/keep.tif": 10,
    "a/leave.tmp": 20,
    "a/cache/deep/one.tif": 5,
    "a/large.tif": 5000,
    "b/odd \udcff\n.tmp": 7,
    "cache/whole.tif": 1,
    "top.tmp": 3,
}
FILTERS = ("--exclude", "*.tmp", "--exclude", "cache/", "--max-size", "1kB")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for name, size in FILES.items():
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * size)
    (tmp_path / "in/a/link.tmp").symlink_to("keep.tif")
    return tmp_path / "in"


@pytest.fixture
def joblist(tmp_path: Path, source: Path) -> Path:
    _generate(source, tmp_path / "jobs", "-l", "tree", *FILTERS)
    return tmp_path / "jobs"


def _generate(source: Path, joblist: Path, *options: object) -> Done:
    where = ("-i", source, "-o", joblist, "-d", joblist.parent / "out", "-v", 0)
    return run_ok("generate-joblist", *where, *options)


def _found(*command: object) -> tuple[dict[str, tuple[str, int | None, str]], dict[str, object]]:
    done = run_ok("jobtool", "excluded", *command, "--json")
    *items, total = map(json.loads, done.lines)
    return {each["path"]: (each["what"], each["size"], each["reason"]) for each in items}, total


def test_all_of_the_source_with_the_rules(source: Path, joblist: Path) -> None:
    found, total = _found(joblist)
    assert {os.path.relpath(path, source): why for path, why in found.items()} == {
        "a/leave.tmp": ("file", 20, "- *.tmp"),
        "a/link.tmp": ("file", 10, "- *.tmp"),
        "a/cache": ("folder", None, "- cache/"),
        "a/large.tif": ("file", 5000, "size"),
        "b/odd \udcff\n.tmp": ("file", 7, "- *.tmp"),
        "cache": ("folder", None, "- cache/"),
        "top.tmp": ("file", 3, "- *.tmp"),
    }
    assert (total["files"], total["bytes"], total["others"]) == (5, 5040, 2)
    assert total["reasons"] == {
        "- *.tmp": {"files": 4, "bytes": 40, "others": 0},
        "- cache/": {"files": 0, "bytes": 0, "others": 2},
        "size": {"files": 1, "bytes": 5000, "others": 0},
    }


def test_the_counts_of_a_job_are_those_of_its_attempt(source: Path, joblist: Path) -> None:
    run_ok("transfer-worker", "-i", joblist, "-v", 0)
    counted = {}
    for job in ("a", "b"):
        found, total = _found(joblist, "--job", job)
        assert len(found) == total["files"] + total["others"]  # type: ignore[operator]
        counted[job] = len(found)
    assert counted == {"a": 4, "b": 1}
    summary = json.loads(run_ok("summarise-jobs", "-i", joblist, "--json").stdout)
    assert summary["excluded"] == 5
    assert {job["job"]: job["excluded"] for job in summary["jobs"]} == counted
    text = run_ok("summarise-jobs", "-i", joblist).stdout
    assert "Left out by filters: 5 (jobtool excluded " in text
    assert jobtool.summarise_jobs(joblist).excluded == 5
    assert jobtool.find_excluded(joblist, jobs=["b"]).files == 1


def test_the_text_is_readable(source: Path, joblist: Path) -> None:
    lines = run_ok("jobtool", "excluded", joblist).lines
    assert f"  {source}/a/leave.tmp (20 B, the rule '- *.tmp')" in lines
    assert f"  {source}/cache (folder, the rule '- cache/')" in lines
    assert f"  {source}/a/large.tif (4.9 KiB, its size)" in lines
    brief = run_ok("jobtool", "excluded", joblist, "-v", 0).lines
    assert brief[0].startswith("💡 Left out: 5 file(s)")
    assert len(brief) == 4


def test_what_a_list_doesnt_name(tmp_path: Path, source: Path) -> None:
    names = tmp_path / "names"
    names.write_text("a/keep.tif\na/leave.tmp\n")
    jobs = tmp_path / "named"
    _generate(source, jobs, "-l", "tree", "--files-from", names, "--exclude", "*.tmp")
    found, _ = _found(jobs)
    reasons = {os.path.relpath(path, source): reason for path, (*_, reason) in found.items()}
    assert reasons == {
        "a/leave.tmp": "- *.tmp",
        "a/link.tmp": "- *.tmp",
        "a/cache": "not named",
        "a/large.tif": "not named",
        "b": "not named",
        "cache": "not named",
        "top.tmp": "- *.tmp",
    }


def test_rows_of_a_manifest_and_items_of_packages(tmp_path: Path, source: Path) -> None:
    rows = [row("images", name, 10) for name in ("a/1.tif", "a/2.tmp", "b/3.tmp")]
    manifest = write_inventory(tmp_path / "inventory", "ORC", "images", [rows])
    jobs = tmp_path / "table"
    _generate(manifest, jobs, "-l", "manifest", "--exclude", "*.tmp")
    found, _ = _found(jobs)
    assert set(found) == {"s3://images/a/2.tmp", "s3://images/b/3.tmp"}
    packed = tmp_path / "packed"
    _generate(source, packed, "-l", "packages", *FILTERS)
    found, total = _found(packed)
    assert (len(found), total["bytes"]) == (7, 5040)


def test_a_joblist_without_filters_leaves_nothing_out(tmp_path: Path, source: Path) -> None:
    _generate(source, tmp_path / "jobs", "-l", "tree")
    assert run_ok("jobtool", "excluded", tmp_path / "jobs").lines == [
        "💡 Left out: nothing. The joblist has no filters."
    ]


def test_mistakes_are_told(tmp_path: Path, source: Path, joblist: Path) -> None:
    done = run("jobtool", "excluded", joblist, "--job", "nowhere")
    assert_one_line_error(done, 2, "expected the name of a job", "found nowhere")
    source.rename(tmp_path / "elsewhere")
    assert_one_line_error(run("jobtool", "excluded", joblist), 1, "found nothing")
