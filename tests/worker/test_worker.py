"""A worker takes jobs from ``todo`` to ``success`` between stores of every kind."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from tests.commands import finish, run, run_ok, start
from tests.gate import gate_before
from tests.prepare import prepare
from tests.trees import (
    contents,
    events,
    make_items,
    make_plate,
    receipts,
    snapshot,
    status_of,
    statuses,
    write,
)


def upload(server, bucket: str, folder: Path) -> None:
    for path, data in contents(folder).items():
        server.client.put_object(Bucket=bucket, Key=path, Body=data)


def download(server, bucket: str) -> dict[str, bytes]:
    client = server.client
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    keys = [item["Key"] for page in pages for item in page.get("Contents", ())]
    return {key: client.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}


@pytest.fixture(params=["local", "s3"])
def source(request, tmp_path: Path, rclone_s3) -> tuple[object, dict[str, bytes]]:
    """Two items, one of which has a file in parts; where they are and what they hold."""
    items = make_items(tmp_path / "in", 2)
    write(items / "item000" / "deep" / "big.bin", bytes(range(256)) * 45_000)  # 11.5 MB
    write(items / "item001" / "empty", b"")
    if request.param == "local":
        return items, contents(items)
    bucket = rclone_s3.new_bucket()
    upload(rclone_s3, bucket, items)
    return f"s3://{bucket}", contents(items)


@pytest.mark.parametrize("destination", ["local", "s3"])
def test_every_pair_of_stores_is_transferred_and_proven(
    tmp_path: Path, source, destination: str, rclone_s3
) -> None:
    where, expected = source
    bucket = rclone_s3.new_bucket() if destination == "s3" else None
    url = f"s3://{bucket}" if bucket else str(tmp_path / "out")
    paths = ("-i", where, "-o", tmp_path / "list", "-d", url, "-l", "tree")
    prepare("generate-joblist", *paths, env=rclone_s3.environment)
    run_ok("transfer-worker", "-i", tmp_path / "list", env=rclone_s3.environment)

    assert statuses(tmp_path / "list") == {"item000": "success", "item001": "success"}
    assert (download(rclone_s3, bucket) if bucket else contents(tmp_path / "out")) == expected
    found = receipts(tmp_path / "list")
    assert {receipt.dst_path for receipt in found} == {f"{url}/{path}" for path in expected}
    assert len(found) == len(expected)
    for receipt in found:
        path = receipt.dst_path.removeprefix(f"{url}/")
        digest = hashlib.md5(expected[path]).hexdigest()
        assert (receipt.hashsum_src, receipt.hashsum_dst) == (digest, digest)
        assert receipt.size == len(expected[path])
        assert receipt.src_path == f"{where}/{path}"
    assert os.listdir(tmp_path / "list" / "journals") == []


def test_modification_times_arrive(tmp_path: Path, rclone_s3) -> None:
    items = make_items(tmp_path / "in", 1)
    os.utime(items / "item000" / "0.bin", ns=(1_234_567_890_123_456_789,) * 2)
    bucket = rclone_s3.new_bucket()
    for source, destination in ((items, f"s3://{bucket}"), (f"s3://{bucket}", tmp_path / "out")):
        joblist = tmp_path / f"list-{len(list(tmp_path.iterdir()))}"
        paths = ("-i", source, "-o", joblist, "-d", destination, "-l", "tree")
        prepare("generate-joblist", *paths, env=rclone_s3.environment)
        run_ok("transfer-worker", "-i", joblist, env=rclone_s3.environment)
    assert os.stat(tmp_path / "out" / "item000" / "0.bin").st_mtime_ns == 1_234_567_890_123_456_789


def test_the_metadata_of_a_data_set_comes_last(tmp_path: Path) -> None:
    plate = make_plate(tmp_path / "in", "A1", chunks=5)
    for name in (".zattrs", ".zmetadata", "0/.zarray", "0/zarr.json"):
        write(plate / "A1.zarr" / name, name.encode())
    paths = ("-i", tmp_path / "in", "-o", tmp_path / "list", "-d", tmp_path / "out")
    prepare("generate-joblist", *paths)
    done = run_ok("transfer-worker", "-i", tmp_path / "list", "-v", 3, "--threads", 4)
    order = [
        line.split()[0].removeprefix(f"{plate}/") for line in done.lines if "read-back" in line
    ]
    assert len(order) == 11
    assert set(order[6:8]) == {"A1.zarr/0/.zarray", "A1.zarr/0/zarr.json"}
    assert set(order[8:]) == {"A1.zarr/.zgroup", "A1.zarr/.zattrs", "A1.zarr/.zmetadata"}


@pytest.fixture
def joblist(tmp_path: Path) -> Path:
    """Three jobs of two files each."""
    make_items(tmp_path / "in", 3)
    paths = ("-i", tmp_path / "in", "-o", tmp_path / "list", "-d", tmp_path / "out", "-l", "tree")
    prepare("generate-joblist", *paths)
    return tmp_path / "list"


def test_max_jobs_leaves_the_rest_and_says_so_by_exit_3(joblist: Path) -> None:
    left = [2, 1]
    for todo in left:
        assert run("transfer-worker", "-i", joblist, "--max-jobs", 1).exit_code == 3
        assert list(statuses(joblist).values()).count("todo") == todo
    assert run("transfer-worker", "-i", joblist, "--max-jobs", 1).exit_code == 0
    assert set(statuses(joblist).values()) == {"success"}


def test_max_jobs_reached_before_the_orphans_is_work_left(joblist: Path) -> None:
    orphan = joblist / "item001.txt"
    orphan.write_bytes(orphan.read_bytes().replace(b"todo", b"ongoing", 1))
    assert run("transfer-worker", "-i", joblist, "--max-jobs", 2).exit_code == 3
    assert status_of(orphan) == "ongoing"
    assert run("transfer-worker", "-i", joblist).exit_code == 0
    assert status_of(orphan) == "success"


def test_a_dry_run_tells_all_jobs_and_touches_nothing(tmp_path: Path, joblist: Path) -> None:
    before = snapshot(tmp_path)
    done = run_ok("transfer-worker", "-i", joblist, "--dry-run")
    assert "💡 Dry run: enabled" in done.lines
    told = [line for line in done.lines if line.startswith("💡 Would transfer ")]
    assert told == [
        f"💡 Would transfer item{n:03d}: {tmp_path}/in/item{n:03d} -> {tmp_path}/out/item{n:03d}"
        for n in range(3)
    ]
    assert snapshot(tmp_path) == before


def test_a_worker_with_nothing_to_do_changes_nothing(joblist: Path) -> None:
    run_ok("transfer-worker", "-i", joblist)
    before = contents(joblist)
    run_ok("transfer-worker", "-i", joblist)
    assert contents(joblist) == before


def test_an_item_that_is_one_file_is_a_job(tmp_path: Path) -> None:
    write(tmp_path / "in" / "raw -> data.tar", b"tar")
    paths = ("-i", tmp_path / "in", "-o", tmp_path / "list", "-d", tmp_path / "out", "-l", "tree")
    prepare("generate-joblist", *paths)
    run_ok("transfer-worker", "-i", tmp_path / "list")
    assert contents(tmp_path / "out") == {"raw -> data.tar": b"tar"}


def test_each_attempt_is_logged_with_its_worker_and_counts(joblist: Path) -> None:
    run_ok("transfer-worker", "-i", joblist)
    for jobfile in joblist.glob("*.txt"):
        (claimed,), (success,) = events(jobfile, "claimed"), events(jobfile, "success")
        assert " rank=0 claim=" in claimed
        assert claimed.endswith(" attempt=1")
        assert " files=2 bytes=160 " in success
        assert "attempts: 1\n" in jobfile.read_text()


def test_a_job_put_back_while_a_worker_is_at_another_is_done_by_it(
    tmp_path: Path, rclone_s3
) -> None:
    bucket = rclone_s3.new_bucket()
    make_items(tmp_path / "in", 2, files=3)
    paths = ("-i", tmp_path / "in", "-o", tmp_path / "list", "-d", f"s3://{bucket}", "-l", "tree")
    prepare("generate-joblist", *paths)
    with gate_before(rclone_s3.endpoint_url, allowed=4) as gate:
        env = {**rclone_s3.environment, "AWS_ENDPOINT_URL": gate.endpoint_url}
        process = start("transfer-worker", "-i", tmp_path / "list", "--threads", 1, env=env)
        gate.wait_until_held()
        assert statuses(tmp_path / "list") == {"item000": "success", "item001": "ongoing"}
        run_ok("jobtool", "retry", tmp_path / "list", "--job", "item000")
        gate.open()
        assert finish(process).exit_code == 0
    assert set(statuses(tmp_path / "list").values()) == {"success"}


def test_what_was_lent_of_a_job_that_is_not_done_is_left_by_other_workers(
    tmp_path: Path, joblist: Path
) -> None:
    (tmp_path / "in" / "item000" / "link").symlink_to("nowhere")
    for name in ("item000", "item001"):
        write(joblist / "journals" / f"{name}.blocks" / "000001.jsonl")
    assert run("transfer-worker", "-i", joblist).exit_code == 1
    assert statuses(joblist)["item000"] == "error"
    left = [path.name for path in (joblist / "journals").glob("*.blocks")]
    assert left == ["item000.blocks"]
