"""Lists of other programs as sources: S3 Inventory, `aws s3 ls`, `find`, names."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from jobtool.errors import LayoutError, UsageError
from jobtool.layouts.lists.reading import ListReader
from jobtool.stores.store import Store
from tests.commands import BIN, environment, run, run_ok
from tests.layouts.inventories import COLUMNS, row, write_inventory
from tests.servers.s3 import S3Server

KEYS = (
    "data/a b.tif",
    "data/plus+plus.tif",
    "data/line\nend.tif",
    'data/ünï%20cödé,".tif',
    "data/deep/er/x",
    "other/y",
)
FORMS = ("CSV", "ORC", "Parquet")


def _no_store(url: str) -> Store:
    raise AssertionError(url)


def _read(path: Path) -> tuple[list[tuple[str, str | None, int | None, int | None]], ListReader]:
    reader = ListReader(_no_store)
    found = [
        (os.fsdecode(each.name), each.bucket, each.size, each.mtime_ns)
        for each in reader.read(str(path))
    ]
    return found, reader


def _versions(bucket: str) -> list[list[dict[str, object]]]:
    newest = [row(bucket, key, size) for size, key in enumerate(KEYS)]
    older = [
        row(bucket, KEYS[0], 77, is_latest=False),
        row(bucket, "data/deleted", is_deleted=True),
        row(bucket, "data/deleted", 5, is_latest=False),
        row(bucket, "data/folder/", 0),
    ]
    return [newest[:2], older + newest[2:]]


@pytest.mark.parametrize("form", FORMS)
def test_the_newest_objects_of_an_inventory(tmp_path: Path, form: str) -> None:
    manifest = write_inventory(tmp_path, form, "images", _versions("images"))
    found, reader = _read(manifest)
    modified = 1709296200 * 10**9
    assert found == [(key, "images", size, modified) for size, key in enumerate(KEYS)]
    counts = reader.counts
    assert (counts.old_versions, counts.delete_markers, counts.folders) == (2, 1, 1)


@pytest.mark.parametrize("form", FORMS)
def test_an_inventory_of_current_versions_with_few_columns(tmp_path: Path, form: str) -> None:
    rows = [row("images", key) for key in KEYS]
    manifest = write_inventory(tmp_path, form, "images", [rows], columns=COLUMNS[:2])
    found, _ = _read(manifest)
    assert found == [(key, "images", None, None) for key in KEYS]


@pytest.mark.parametrize("form", ["ORC", "Parquet"])
def test_a_data_file_alone_says_its_columns(tmp_path: Path, form: str) -> None:
    manifest = write_inventory(tmp_path, form, "images", _versions("images"))
    (last,) = manifest.parents[1].glob("data/*1.*")
    found, _ = _read(last)
    assert [name for name, *_ in found] == list(KEYS[2:])


@pytest.mark.parametrize("place", ["data", "", "reports/images/all/data"])
def test_data_files_may_lie_beside_the_manifest(tmp_path: Path, place: str) -> None:
    manifest = write_inventory(tmp_path / "at aws", "CSV", "images", _versions("images"))
    copy = tmp_path / "copy"
    (copy / place).mkdir(parents=True)
    shutil.copy(manifest, copy / "manifest.json")
    for path in manifest.parents[1].glob("data/*"):
        shutil.copy(path, copy / place)
    found, _ = _read(copy / "manifest.json")
    assert [name for name, *_ in found] == list(KEYS)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ("cut", "expected MD5"),
        ("missing", "names the data file"),
        ("form", "expected CSV, ORC or Parquet; found 'Avro'"),
        ("schema", "expected the columns of an S3 Inventory"),
        ("columns", "row 1: expected 3 columns; found 9"),
        ("outside", "expected keys of data files"),
        ("no json", "manifest.json of an S3 Inventory"),
        ("no files", "manifest.json of an S3 Inventory"),
    ],
)
def test_a_damaged_inventory_is_refused(tmp_path: Path, damage: str, told: str) -> None:
    manifest = write_inventory(tmp_path, "CSV", "images", _versions("images"))
    (first, *_) = manifest.parents[1].glob("data/*0.*")
    described = json.loads(manifest.read_text())
    if damage == "cut":
        first.write_bytes(first.read_bytes()[:-9])
    elif damage == "missing":
        first.unlink()
    elif damage == "outside":
        described["files"][0]["key"] = "../../../../etc/passwd"
    else:
        changes = {
            "form": {"fileFormat": "Avro"},
            "schema": {"fileSchema": "Size, ETag"},
            "columns": {"fileSchema": "Bucket, Key, Size"},
            "no files": {"files": None},
        }
        described |= changes.get(damage, {})
    manifest.write_text("{" if damage == "no json" else json.dumps(described))
    with pytest.raises((LayoutError, UsageError), match=told):
        _read(manifest)


def test_a_data_file_without_its_manifest_is_refused(tmp_path: Path) -> None:
    manifest = write_inventory(tmp_path, "CSV", "images", _versions("images"))
    (first, *_) = manifest.parents[1].glob("data/*0.*")
    with pytest.raises(LayoutError, match=r"give its manifest\.json"):
        _read(first)


@pytest.fixture
def objects(tmp_path: Path, rclone_s3: S3Server) -> tuple[str, S3Server]:
    """A bucket that holds all keys but those of which no folder can have a file."""
    bucket = rclone_s3.new_bucket()
    for key in KEYS:
        path = tmp_path / "up" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(key.encode())
    where = ("-i", tmp_path / "up", "-o", tmp_path / "uploading", "-d", f"s3://{bucket}")
    run_ok("generate-joblist", *where, "-l", "tree", "-v", 0, env=rclone_s3.environment)
    run_ok("transfer-worker", "-i", tmp_path / "uploading", "-v", 0, env=rclone_s3.environment)
    return bucket, rclone_s3


def _names(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("form", FORMS)
def test_an_inventory_in_s3_selects_files(
    tmp_path: Path, objects: tuple[str, S3Server], form: str
) -> None:
    bucket, server = objects
    inventories = server.new_bucket()
    kept = [row(bucket, key) for key in (KEYS[0], KEYS[1], KEYS[2], KEYS[5])]
    other = row("another-bucket", "data/x")
    local = tmp_path / "inventory"
    write_inventory(local, form, bucket, [kept, [other]], destination=inventories)
    where = ("-i", local, "-o", tmp_path / "sent", "-d", f"s3://{inventories}", "-l", "tree")
    run_ok("generate-joblist", *where, "-v", 0, env=server.environment)
    run_ok("transfer-worker", "-i", tmp_path / "sent", "-v", 0, env=server.environment)
    url = f"s3://{inventories}/reports/{bucket}/all/2024-03-02T01-00Z/manifest.json"
    jobs, out = tmp_path / "jobs", tmp_path / "out"
    where = ("-i", f"s3://{bucket}/data", "-o", jobs, "-d", out, "-l", "tree")
    done = run("generate-joblist", *where, "--files-from", url, env=server.environment)
    assert done.exit_code == 1
    assert "it is in the bucket another-bucket" in done.stdout + done.stderr
    assert f"it isn't below s3://{bucket}/data" in done.stdout + done.stderr
    run_ok("transfer-worker", "-i", jobs, "-v", 0, env=server.environment)
    assert _names(out) == {key.removeprefix("data/") for key in KEYS[:3]}


def test_an_inventory_as_a_manifest(tmp_path: Path, objects: tuple[str, S3Server]) -> None:
    bucket, server = objects
    rows = [row(bucket, key, len(key.encode())) for key in KEYS]
    manifest = write_inventory(tmp_path / "inventory", "Parquet", bucket, [rows])
    jobs, out = tmp_path / "jobs", tmp_path / "out"
    where = ("-i", manifest, "-o", jobs, "-d", out, "-l", "manifest", "--set", "max_bytes=40")
    options = ("--exclude", "other/", "--max-size", "20", "--min-age", "1d")
    done = run_ok("generate-joblist", *where, *options, env=server.environment)
    assert "Created 2 job(s); 2 row(s) excluded." in done.stdout
    run_ok("transfer-worker", "-i", jobs, "-v", 0, env=server.environment)
    assert _names(out) == {KEYS[0], KEYS[1], KEYS[2], KEYS[4]}
    run_ok("jobtool", "verify", jobs, env=server.environment)
    again = run_ok("generate-joblist", "-i", manifest, "-o", jobs, env=server.environment)
    assert "Created 0 job(s); 2 left as they were" in again.stdout


def test_what_aws_prints_is_a_manifest(tmp_path: Path, objects: tuple[str, S3Server]) -> None:
    bucket, server = objects
    aws = BIN / "aws"
    if not aws.exists():
        pytest.skip("needs the aws command")
    command = [sys.executable, str(aws), "s3", "ls", "--recursive", f"s3://{bucket}/data/deep"]
    options = ["--endpoint-url", server.endpoint_url, "--summarize"]
    printed = subprocess.run(
        [*command, *options], env=environment(server.environment), capture_output=True, check=True
    ).stdout
    listing = tmp_path / "listing.txt"
    listing.write_bytes(printed)
    where = ("-i", listing, "-o", tmp_path / "jobs", "-d", tmp_path / "out", "-l", "manifest")
    asked = ("--list-format", "aws-ls")
    done = run("generate-joblist", *where, *asked, "-v", 0, env=server.environment)
    assert (done.exit_code, "--set root=s3://BUCKET" in done.stderr) == (2, True), done
    root = ("--set", f"root=s3://{bucket}")
    run_ok("generate-joblist", *where, *asked, *root, env=server.environment)
    run_ok("transfer-worker", "-i", tmp_path / "jobs", "-v", 0, env=server.environment)
    assert _names(tmp_path / "out") == {"data/deep/er/x"}


def test_what_find_prints_is_a_manifest(place) -> None:
    names = ("a/1 \n +.bin", "a/2.bin", os.fsdecode(b"b/caf\xe9"))
    for name in names:
        (place.source / name).parent.mkdir(exist_ok=True)
        (place.source / name).write_bytes(b"12345")
    listing = place.source / "found"
    for printed in (["-print0"], ["-printf", "%s %T@ %p\\0"]):
        command = ["find", "a", "b", "-type", "f", *printed]
        found = subprocess.run(command, cwd=place.source, capture_output=True, check=True).stdout
        listing.write_bytes(found)
        form = "null" if printed == ["-print0"] else "find"
        joblist, out = place.root / form, place.root / f"out-{form}"
        where = ("-i", listing, "-o", joblist, "-d", out, "-l", "manifest", "--list-format", form)
        done = run_ok("generate-joblist", *where, "--set", "max_bytes=10")
        assert "Created 2 job(s)." in done.stdout
        run_ok("transfer-worker", "-i", joblist, "-v", 0)
        assert _names(out) == set(names)
