"""The examples make the same data each time, and zarr and pyarrow read its copies."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest
import zarr

from tests.commands import run_ok
from tests.trees import contents, receipts, statuses

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
UNFINISHED = "A1179999"
OBJECTS = (
    "results/aggregated/broad/cellpainting-gallery/cpg0016-jump/source_8/workspace/segmentation/"
    "cellpose/objects"
)


def make(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(EXAMPLES / script), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


SMALL = {
    "make_plates.py": ("--wells", 2, "--image-size", 128),
    "make_partitions.py": ("--servers", 2, "--partitions", 2, "--rows", 30),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folders = {script: tmp_path_factory.mktemp("made") / "out" for script in SMALL}
    for script, folder in folders.items():
        done = make(script, folder, *SMALL[script])
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith(f"{folder}: ")
    return folders


@pytest.fixture(scope="module")
def plates(made) -> Path:
    return made["make_plates.py"]


@pytest.fixture(scope="module")
def images(made) -> Path:
    return made["make_partitions.py"] / "images"


@pytest.mark.wide
@pytest.mark.parametrize("script", SMALL)
def test_the_same_arguments_make_the_same_bytes(made, tmp_path: Path, script: str) -> None:
    make(script, tmp_path / "again", *SMALL[script])
    assert contents(tmp_path / "again") == contents(made[script])
    make(script, tmp_path / "other", *SMALL[script], "--seed", 9)
    assert contents(tmp_path / "other") != contents(made[script])


@pytest.mark.parametrize("script", SMALL)
def test_a_folder_in_use_is_refused_and_left_alone(tmp_path: Path, script: str) -> None:
    (tmp_path / "mine").write_text("precious")
    done = make(script, tmp_path)
    assert done.returncode == 2
    assert "not empty" in done.stderr
    assert contents(tmp_path) == {"mine": b"precious"}


def assert_no_difference(source: Path, destination: Path) -> None:
    command = ["diff", "-r", "-x", UNFINISHED, str(source), str(destination)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def assert_zarr_reads_the_same(source: Path, destination: Path) -> None:
    """Every array of every plate, opened by zarr in both places."""
    formats = set()
    stores = [path for path in source.rglob("*.zarr") if UNFINISHED not in str(path)]
    for path in stores:
        ours = zarr.open_group(path, mode="r")
        theirs = zarr.open_group(destination / path.relative_to(source), mode="r")
        formats.add(ours.metadata.zarr_format)
        arrays = {
            name: found
            for name, found in ours.members(max_depth=None)
            if isinstance(found, zarr.Array)
        }
        assert arrays
        for name, array in arrays.items():
            np.testing.assert_array_equal(theirs[name][:], array[:])
        assert dict(theirs.attrs) == dict(ours.attrs)
    assert (len(stores), formats) == (4, {2, 3})


def test_plates_in_a_folder_are_byte_identical_and_zarr_opens_them(
    plates: Path, tmp_path: Path
) -> None:
    paths = ("-i", plates / "results", "-o", tmp_path / "list", "-d", tmp_path / "out")
    done = run_ok("generate-joblist", *paths)
    assert f"  - {plates}/{OBJECTS}/J1/{UNFINISHED}" in done.lines
    run_ok("transfer-worker", "-i", tmp_path / "list")
    assert_no_difference(plates / OBJECTS, tmp_path / "out" / "source_8")
    assert_zarr_reads_the_same(plates / OBJECTS, tmp_path / "out" / "source_8")
    big = [receipt for receipt in receipts(tmp_path / "list") if receipt.part_size]
    assert len(big) == 2, "the large chunk of each batch goes in parts"


def test_plates_on_s3_are_what_rclone_says_they_are_and_come_back_as_zarr(
    plates: Path, tmp_path: Path, rclone_s3
) -> None:
    url = f"s3://{rclone_s3.new_bucket()}/plates"
    run_ok("generate-joblist", "-i", plates, "-o", tmp_path / "list", "-d", url)
    run_ok("transfer-worker", "-i", tmp_path / "list", env=rclone_s3.environment)
    finished = ("--exclude", f"{UNFINISHED}/**")
    remote = f"s3:{url.removeprefix('s3://')}/source_8"
    rclone_s3.rclone("check", "--download", *finished, str(plates / OBJECTS), remote)
    with pytest.raises(AssertionError):  # the check works: it finds an extra plate
        rclone_s3.rclone("check", "--download", str(plates / OBJECTS), remote)

    back = ("-i", f"{url}/source_8", "-o", tmp_path / "back", "-d", tmp_path / "out")
    run_ok("generate-joblist", *back, "-l", "tree", env=rclone_s3.environment)
    run_ok("transfer-worker", "-i", tmp_path / "back", env=rclone_s3.environment)
    assert_no_difference(plates / OBJECTS, tmp_path / "out")
    assert_zarr_reads_the_same(plates / OBJECTS, tmp_path / "out")


def test_partitions_in_two_stores_are_data_sets_that_pyarrow_reads(
    images: Path, tmp_path: Path, rclone_s3
) -> None:
    bucket = rclone_s3.new_bucket()
    folders = {"dst_image_folder": f"s3://{bucket}/images", "dst_error_folder": tmp_path / "errors"}
    values = [f"--set={name}={value}" for name, value in folders.items()]
    done = run_ok("generate-joblist", "-i", images, "-o", tmp_path / "list", *values)
    assert "💡 Created 3 job(s); 1 not finished." in done.lines
    run_ok("transfer-worker", "-i", tmp_path / "list", env=rclone_s3.environment)
    assert set(statuses(tmp_path / "list").values()) == {"success"}

    rclone_s3.rclone("copy", f"s3:{bucket}/images", str(tmp_path / "images"))
    for kind, table in (("images", "successes.parquet"), ("errors", "errors.parquet")):
        finished = [path.parent for path in images.rglob("completed")]
        tables = [
            pq.read_table(folder / table, partitioning=None)
            for folder in finished
            if (folder / table).exists()
        ]
        expected = pyarrow.concat_tables(tables)
        found = pyarrow.dataset.dataset(tmp_path / kind, partitioning="hive").to_table()
        assert set(found.column("server").to_pylist()) <= {
            "https___a.example_80",
            "https___b.example",
        }
        assert found.select(expected.column_names).sort_by("uuid") == expected.sort_by("uuid")
    assert len(list((tmp_path / "images").rglob("*.parquet"))) == 3
    assert len(list((tmp_path / "errors").rglob("*.parquet"))) == 2


def test_a_copy_that_lost_a_byte_is_seen_by_these_tests(plates: Path, tmp_path: Path) -> None:
    shutil.copytree(plates / OBJECTS / "J2", tmp_path / "J2")
    chunk = max((tmp_path / "J2").rglob("*"), key=lambda path: path.stat().st_size)
    chunk.write_bytes(chunk.read_bytes()[:-1])
    with pytest.raises(AssertionError):
        assert_no_difference(plates / OBJECTS / "J2", tmp_path / "J2")
