"""The command lines that people script, and what they print.

The expected lines are those of the workflow that the commands replace, with the paths and counts
of the tree made here.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.commands import run, run_ok
from tests.trees import contents, make_plate, statuses

PLATES = {"J1": ("A1170383", "A1170384"), "J2": ("A1170401",), "J3": ("A1170501", "A1170502")}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    root = tmp_path / "snakemake" / "results"
    for batch, plates in PLATES.items():
        for plate in plates:
            make_plate(root, plate, batch=batch)
    return root


@pytest.fixture
def joblist(tmp_path: Path, results: Path) -> Path:
    command = ("generate-joblist", "--input_path", results, "--output_path", "./source08")
    run_ok(*command, "--destination", tmp_path / "moved", cwd=tmp_path)
    return tmp_path / "source08"


def test_generating_prints_what_the_workflow_prints(tmp_path: Path, results: Path) -> None:
    command = ("generate-joblist", "--input_path", results, "--output_path", "./source08")
    options = ("--verbosity", 1, "--destination", tmp_path / "moved")
    assert run_ok(*command, *options, cwd=tmp_path).lines == [
        f"💡 Valid input path: {results}",
        f"❗ The output path '{tmp_path}/source08' does not exist.",
        f"💡 Creating output path: {tmp_path}/source08",
        f"💡 Valid output path: {tmp_path}/source08",
        "💡 Dry run: disabled",
        "💡 Verbosity level: 1",
        "💡 Found 1 source(s):",
        "  - source_8",
        "💡 Found 3 batch(es) for source 'source_8'.",
        "💡 Found 2 plate(s) for source 'source_8' in batch 'J1'.",
        "💡 Found 1 plate(s) for source 'source_8' in batch 'J2'.",
        "💡 Found 2 plate(s) for source 'source_8' in batch 'J3'.",
        "💡 Creating joblist in output directory.",
        "💡 Created 5 job(s).",
        "✅ Processing complete.",
    ]
    assert set(statuses(tmp_path / "source08")) == {
        f"source_8__{batch}__{plate}" for batch, plates in PLATES.items() for plate in plates
    }


def test_the_command_line_without_a_destination_works_once_it_was_given(
    tmp_path: Path, results: Path, joblist: Path
) -> None:
    make_plate(results, "A1170402", batch="J2")
    command = ("generate-joblist", "--input_path", results, "--output_path", "./source08")
    lines = run_ok(*command, "--verbosity", 1, cwd=tmp_path).lines
    assert lines[:2] == [f"💡 Valid input path: {results}", f"💡 Valid output path: {joblist}"]
    assert "💡 Created 1 job(s); 5 left as they were." in lines
    assert len(statuses(joblist)) == 6


def test_transferring_prints_what_the_workflow_prints(
    tmp_path: Path, results: Path, joblist: Path
) -> None:
    lines = run_ok(
        "transfer-worker", "--input_path", "./source08", "--verbosity", 1, cwd=tmp_path
    ).lines
    assert lines[:5] == [
        f"💡 Valid input path: {joblist}",
        "💡 Dry run: disabled",
        "💡 Verbosity level: 1",
        f"💡 Found 5 job file(s) in '{joblist}'.",
        "💡 Scanning for 'todo' status...",
    ]
    for batch, plates in PLATES.items():
        for plate in plates:
            at = lines.index(f"💡 Found 'todo' job: source_8__{batch}__{plate}.txt")
            source = next(results.glob(f"**/{batch}/{plate}"))
            destination = tmp_path / "moved" / "source_8" / batch / plate
            assert lines[at + 1] == f"💡 Copying files from '{source}' to '{destination}'..."
            assert contents(destination) == contents(source)


def test_transferring_to_s3_says_so(tmp_path: Path, results: Path, rclone_s3) -> None:
    destination = f"s3://{rclone_s3.new_bucket()}/cpg0016"
    command = ("generate-joblist", "--input_path", results, "--output_path", "./source08")
    run_ok(*command, "-d", destination, cwd=tmp_path)
    options = ("--input_path", "./source08", "--verbosity", 1, "--max_jobs", 1)
    done = run("transfer-worker", *options, cwd=tmp_path, env=rclone_s3.environment)
    assert done.exit_code == 3, done
    found = [line for line in done.lines if line.startswith("💡 Found 'todo' job: ")]
    batch, plate = found[0].removesuffix(".txt").split("__")[1:]
    source = next(results.glob(f"**/{batch}/{plate}"))
    assert f"💡 Uploading files from '{source}' to S3..." in done.lines


def test_summarising_prints_what_the_workflow_prints(tmp_path: Path, joblist: Path) -> None:
    head = [
        f"💡 Valid input path: {joblist}",
        "💡 Dry run: disabled",
        "💡 Verbosity level: 1",
        "💡 Found 5 job file(s).",
    ]
    for todo, done in ((5, 0), (0, 5)):
        lines = run_ok("summarise-jobs", "-i", "./source08", cwd=tmp_path).lines
        assert lines[: len(head)] == head
        begin = lines.index("💡 Total jobs: 5")  # tables come between
        assert lines[begin + 1 : begin + 5] == [
            f"💡 Todo jobs: {todo}",
            "💡 Ongoing jobs: 0",
            f"✅ Success jobs: {done}",
            "❌ Error jobs: 0",
        ]
        run_ok("transfer-worker", "-i", "./source08", cwd=tmp_path)
