"""A job file cut short at any byte is the same job or an invalid one, never another."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.commands import run, run_ok
from tests.trees import contents, make_partition, make_plate

NEW_FORM = b"""todo
source: {tmp}/in/A1
destination: {tmp}/out/deep/path/to/A1
field.plate: A1
file: segmentation.log -> logs/A1.log
file: A1.zarr/.zgroup -> groups/A1/.zgroup
---
2026-11-20T14:31:00Z claimed worker=node017:4711 rank=3 attempt=1
"""
OLD_FORM = b"""ongoing
{tmp}/in/A1
---
uploading A1
"""


@pytest.mark.parametrize("form", [NEW_FORM, OLD_FORM], ids=["job file", "older form"])
def test_a_truncated_job_file_never_sends_anything_elsewhere(tmp_path: Path, form: bytes) -> None:
    plate = make_plate(tmp_path / "made", "A1")
    shutil.copytree(plate, tmp_path / "in" / "A1")
    paths = ("-i", tmp_path / "in", "-o", tmp_path / "list", "-d", tmp_path / "out")
    run_ok("generate-joblist", *paths, "-l", "tree")
    (tmp_path / "list" / "A1.txt").unlink()
    whole = form.replace(b"{tmp}", bytes(tmp_path))
    for end in range(len(whole)):
        (tmp_path / "list" / f"cut{end:03d}.txt").write_bytes(whole[:end])
    header = whole.index(b"---") + 3
    todo_before = contents(tmp_path / "list")

    done = run("transfer-worker", "-i", tmp_path / "list", "--json")
    assert done.exit_code == 1
    told = [json.loads(line) for line in done.lines]
    valid = {f"cut{end:03d}" for end in range(header, len(whole))}
    assert {one["job"] for one in told if one["event"] == "success"} == valid
    assert {one["stem"] for one in told if one["event"] == "invalid"} == {
        f"cut{end:03d}" for end in range(header)
    }

    expected = contents(tmp_path / "in" / "A1")
    if form is NEW_FORM:
        expected = {
            "deep/path/to/A1/logs/A1.log": expected["segmentation.log"],
            "deep/path/to/A1/groups/A1/.zgroup": expected["A1.zarr/.zgroup"],
        }
    else:
        expected = {f"A1/{path}": data for path, data in expected.items()}
    assert contents(tmp_path / "out") == expected
    assert {path.name for path in tmp_path.iterdir()} == {"made", "in", "list", "out"}
    after = contents(tmp_path / "list")
    for end in range(header):
        assert after[f"cut{end:03d}.txt"] == todo_before[f"cut{end:03d}.txt"]

    summary = json.loads(run("summarise-jobs", "-i", tmp_path / "list", "--json").stdout)
    invalid = {job["job"] for job in summary["jobs"] if job["status"] == "invalid"}
    assert invalid == {f"cut{end:03d}" for end in range(header)}
    assert summary["success"] == len(whole) - header


def test_generating_again_over_a_truncated_job_makes_no_second_one(tmp_path: Path) -> None:
    make_partition(tmp_path / "in", "a", 0)
    folders = [f"--set=dst_{kind}_folder={tmp_path}/{kind}" for kind in ("image", "error")]
    paths = ("-i", tmp_path / "in", "-o", tmp_path / "list", *folders)
    run_ok("generate-joblist", *paths)
    jobfile = tmp_path / "list" / "a__0.txt"
    for cut in (40, 3, 0):
        jobfile.write_bytes(jobfile.read_bytes()[:cut])
        assert "Created 0 job(s); 1 left as they were." in run_ok("generate-joblist", *paths).stdout
        assert [path.name for path in (tmp_path / "list").glob("*.txt")] == ["a__0.txt"]
