"""Transfers from the members of a package: whole commands, kills, damage, archived tars."""

from __future__ import annotations

import contextlib
import os
import random
import time
from pathlib import Path

import pytest

from tests.commands import BIN, finish, mpirun_environment, run, run_ok, start, wait_for
from tests.faults.proxy import Fault, proxy_before
from tests.packages.made import (
    MTIME_NS,
    forge,
    index_of,
    item,
    make_package,
    make_tar,
    manifest_of,
    rows,
)
from tests.trees import contents, events, receipts, status_of, statuses

MIB = 1024 * 1024
PART_BYTES = 5 * MIB
CHOSEN = random.Random(16)

HOSTILE = {
    "i/new\nline": b"1",
    "i/ -> 'x' \"y\" #?%2F": b"2" * 700,
    "i/" + os.fsdecode(b"bytes-\xff"): b"3",
    "i/ü/" + "long/" * 60 + "end": b"4",
    "i/empty": b"",
    "i/z.zarr/zarr.json": b"{}",
    "i/z.zarr/c/0": b"5" * 5000,
}
SMALL = {f"i/{number:04}": b"%d " % number * 300 for number in range(600)}


def generate(tar: str | Path, joblist: Path, destination, *, env=None, settings: str = "") -> Path:
    url = tar if isinstance(tar, str) else f"package+file://{tar}"
    run_ok("generate-joblist", "-i", url, "-o", joblist, "-d", destination, "-l", "tree", env=env)
    with (joblist / "joblist.toml").open("a") as file:
        file.write(f"\n[transfer]\npart_size_bytes = {PART_BYTES}\n{settings}")
    return joblist


def flip(tar: Path, path: str, place: int = 0) -> None:
    """Change a byte of a member, without another size or time of the tar."""
    (row,) = [row for row in rows(tar) if row.path == path]
    found = tar.stat()
    with tar.open("r+b") as file:
        file.seek(row.offset + place)
        byte = file.read(1)
        file.seek(row.offset + place)
        file.write(bytes([byte[0] ^ 1]))
    os.utime(tar, ns=(found.st_atime_ns, found.st_mtime_ns))


def upload(server, bucket: str, tar: Path, **changes) -> str:
    """Put a package below a prefix of a bucket; return the URL of its members."""
    for path in (tar, index_of(tar), manifest_of(tar)):
        more = changes if path == tar else {}
        server.client.put_object(
            Bucket=bucket, Key=f"d/{path.name}", Body=path.read_bytes(), **more
        )
    return f"package+s3://{bucket}/d/{tar.name}"


def test_members_arrive_with_times_and_modes_and_verify(tmp_path):
    tar = make_package(tmp_path, HOSTILE | SMALL | {"j": b"one file"})
    joblist = generate(tar, tmp_path / "list", tmp_path / "out")
    run_ok("transfer-worker", joblist)
    assert contents(tmp_path / "out") == HOSTILE | SMALL | {"j": b"one file"}
    found = os.stat(tmp_path / "out" / "i" / "new\nline")
    assert (found.st_mtime_ns, found.st_mode & 0o7777) == (MTIME_NS, 0o640)
    assert "0 missing, 0 changed" in run_ok("jobtool", "verify", joblist).stdout
    (tmp_path / "out" / "j").write_bytes(b"another!")
    assert run("jobtool", "verify", joblist, "--deep").exit_code == 1
    sources = {receipt.src_path for receipt in receipts(joblist)}
    assert f"package+file://{tar}/i/new\nline" in sources


def test_a_tar_without_an_index_arrives(tmp_path):
    files = {"d/a": b"1" * 1000, "d/b": b"", "c": b"2" * 300_000}
    tar = make_tar(tmp_path / "p.tar", [item(name, data) for name, data in files.items()])
    run_ok("transfer-worker", generate(tar, tmp_path / "list", tmp_path / "out"))
    assert contents(tmp_path / "out") == files


def test_a_damaged_member_fails_alone_and_gets_no_name(tmp_path):
    files = SMALL | {"i/large": CHOSEN.randbytes(6 * MIB), "i/zarr.json": b"{}", "j/a": b"1"}
    tar = make_package(tmp_path, files)
    for path in ("i/0300", "i/large"):
        flip(tar, path, 5)
    joblist = generate(tar, tmp_path / "list", tmp_path / "out")
    done = run("transfer-worker", joblist)
    assert done.exit_code == 1
    assert statuses(joblist) == {"i": "error", "j": "success"}
    kept = {path for path in files if path not in ("i/0300", "i/large", "i/zarr.json")}
    assert set(contents(tmp_path / "out")) == kept
    log = (joblist / "i.txt").read_text()
    for path in ("i/0300", "i/large"):
        (row,) = [row for row in rows(tar) if row.path == path]
        assert f"{tar}/{path}: expected MD5 {row.md5}, as the index says; found " in log
    assert "fetch it again" in log

    make_package(tmp_path, files)  # fetched again
    run_ok("jobtool", "retry", joblist)
    run_ok("transfer-worker", joblist)
    assert contents(tmp_path / "out") == files


def test_what_is_there_already_is_compared_with_the_index(tmp_path):
    files = {"i/a": b"1" * 1000, "i/b": b"2" * 1000}
    tar = make_package(tmp_path, files)
    flip(tar, "i/a")
    out = tmp_path / "out" / "i"
    out.mkdir(parents=True)
    (out / "a").write_bytes(b"0" + b"1" * 999)  # as it is in the tar
    (out / "b").write_bytes(files["i/b"])
    joblist = generate(tar, tmp_path / "list", tmp_path / "out")
    assert run("transfer-worker", joblist).exit_code == 1
    log = (joblist / "i.txt").read_text()
    assert f"{tar}/i/a: expected MD5" in log
    assert f"{tar}/i/b: expected MD5" not in log


def test_a_damaged_large_member_isnt_published_in_parts(tmp_path, rclone_s3):
    large, other = CHOSEN.randbytes(3 * PART_BYTES), CHOSEN.randbytes(2 * PART_BYTES + 3)
    tar = make_package(tmp_path, {"i/large": large, "i/other": other, "i/small": b"1"})
    flip(tar, "i/large", 2 * PART_BYTES)
    bucket, env = rclone_s3.new_bucket(), rclone_s3.environment
    joblist = generate(tar, tmp_path / "list", f"s3://{bucket}/x", env=env)
    done = run("transfer-worker", joblist, env=env)
    assert done.exit_code == 1
    assert contents(rclone_s3.folder / bucket / "x") == {"i/other": other, "i/small": b"1"}
    assert "i/large: expected MD5" in (joblist / "i.txt").read_text()
    uploads = rclone_s3.client.list_multipart_uploads(Bucket=bucket)
    assert not uploads.get("Uploads")

    make_package(tmp_path, {"i/large": large, "i/other": other, "i/small": b"1"})
    run_ok("jobtool", "retry", joblist)
    run_ok("transfer-worker", joblist, env=env)
    assert (rclone_s3.folder / bucket / "x" / "i" / "large").read_bytes() == large


def test_a_killed_worker_is_followed_by_one_that_sends_the_rest(tmp_path, rclone_s3):
    files = SMALL | {"i/large": CHOSEN.randbytes(6 * PART_BYTES)}
    tar = make_package(tmp_path, files)
    bucket, env = rclone_s3.new_bucket(), rclone_s3.environment
    joblist = generate(tar, tmp_path / "list", f"s3://{bucket}/x", env=env)
    slow = Fault(lambda request: request.is_put or request.is_part, lagging, 10**9)
    with proxy_before(rclone_s3.endpoint_url, slow) as proxy:
        env |= {"AWS_ENDPOINT_URL": proxy.endpoint_url}
        worker = start("transfer-worker", joblist, "--threads", 2, env=env)
        wait_for(lambda: recorded(joblist) > 10)
        worker.kill()
        worker.wait()
        assert status_of(joblist / "i.txt") == "ongoing"
        run_ok("transfer-worker", joblist, env=env)
    assert contents(rclone_s3.folder / bucket / "x") == files
    assert proxy.uploaded < 2 * sum(map(len, files.values()))
    assert len(receipts(joblist)) == len(files)
    assert {receipt.attempt for receipt in receipts(joblist)} == {1, 2}


def lagging(request, forward):
    time.sleep(0.02)
    return forward(request)


def recorded(joblist: Path) -> int:
    with contextlib.suppress(FileNotFoundError):
        return (joblist / "journals" / "i.jsonl").read_bytes().count(b"\n")
    return 0


def has_recorded(joblist: Path) -> bool:
    """Whether a helper has recorded something."""
    for path in joblist.glob("journals/*.blocks/*.jsonl"):
        with contextlib.suppress(FileNotFoundError):  # over, and forgotten meanwhile
            if path.stat().st_size:
                return True
    return False


def test_small_members_on_s3_take_few_requests(tmp_path, rclone_s3):
    tar = make_package(tmp_path, SMALL | {"i/large": CHOSEN.randbytes(PART_BYTES + 1)})
    bucket, ranges = rclone_s3.new_bucket(), []

    def noted(request, forward):
        ranges.append((request.path, request.headers.get("range"), request.headers.get("if-match")))
        return forward(request)

    with proxy_before(rclone_s3.endpoint_url, Fault(lambda r: r.is_get, noted, 10**9)) as proxy:
        env = rclone_s3.environment | {"AWS_ENDPOINT_URL": proxy.endpoint_url}
        url = upload(rclone_s3, bucket, tar)
        joblist = generate(url, tmp_path / "list", tmp_path / "out", env=env)
        ranges.clear()
        run_ok("transfer-worker", joblist, env=env)
    assert len(receipts(joblist)) == len(SMALL) + 1
    of_tar = [(span, tag) for path, span, tag in ranges if path.endswith("/p.tar")]
    assert len(of_tar) < 20  # for 600 members
    assert all(span and tag for span, tag in of_tar)
    ends = [list(map(int, span.removeprefix("bytes=").split("-"))) for span, _ in of_tar]
    assert sum(last + 1 - first for first, last in ends) < 1.2 * tar.stat().st_size


def test_two_ranks_share_the_members_of_one_job(tmp_path, rclone_s3):
    tar = make_package(tmp_path, SMALL)
    bucket, target = rclone_s3.new_bucket(), rclone_s3.new_bucket()
    url = upload(rclone_s3, bucket, tar)
    env = rclone_s3.environment
    joblist = generate(url, tmp_path / "list", f"s3://{target}", env=env)

    def slow_until_helped(request, forward):
        if not has_recorded(joblist):
            time.sleep(0.15)
        return forward(request)

    slow = Fault(lambda request: request.is_put, slow_until_helped, 10**9)
    with proxy_before(rclone_s3.endpoint_url, slow) as proxy:
        env |= {**mpirun_environment(), "AWS_ENDPOINT_URL": proxy.endpoint_url}
        command = ("mpirun", "--oversubscribe", "-n", 2, BIN / "transfer-worker", "-i", joblist)
        done = finish(start(*command, "--threads", 1, env=env))
    assert done.exit_code == 0, done
    assert contents(rclone_s3.folder / target) == SMALL
    assert events(joblist / "i.txt", "helped")
    assert len({receipt.worker for receipt in receipts(joblist)}) == 2


def test_a_job_waits_for_an_archived_tar(tmp_path, moto_s3):
    from moto.core import DEFAULT_ACCOUNT_ID
    from moto.moto_api import state_manager
    from moto.s3.models import s3_backends

    files = {f"i/{number}": b"1" * number for number in range(40)} | {"i/zarr.json": b"{}"}
    tar = make_package(tmp_path, files)
    bucket = moto_s3.new_bucket()
    url = upload(moto_s3, bucket, tar, StorageClass="GLACIER")
    key = s3_backends[DEFAULT_ACCOUNT_ID]["aws"].buckets[bucket].keys["d/p.tar"]
    state_manager.set_transition("s3::keyrestore", {"progression": "manual", "times": 10**9})
    asked = Fault(lambda request: "restore" in request.query, lambda r, forward: forward(r), 10**9)
    gets = Fault(
        lambda request: request.is_get and request.path.endswith("/p.tar"),
        lambda request, forward: forward(request),
        10**9,
    )
    try:
        with proxy_before(moto_s3.endpoint_url, asked, gets) as proxy:
            env = moto_s3.environment | {"AWS_ENDPOINT_URL": proxy.endpoint_url}
            table = "[s3.source]\nrestore_days = 3\nrestore_check_seconds = 1\n"
            joblist = generate(url, tmp_path / "list", tmp_path / "out", env=env, settings=table)
            done = run("transfer-worker", joblist, env=env)
            assert done.exit_code == 5, done
            assert status_of(joblist / "i.txt") == "todo"
            assert (asked.hits, gets.hits) == (1, 1)
            assert "it is archived (GLACIER), and a restore was asked for" in done.stdout
            key.status = "RESTORED"
            wait_for(lambda: run("transfer-worker", joblist, env=env).exit_code == 0)
    finally:
        state_manager.unset_transition("s3::keyrestore")
    assert contents(tmp_path / "out") == files


def test_a_hostile_index_makes_no_joblist(tmp_path):
    tar = make_package(tmp_path, {"a": b"1"})
    (row,) = rows(tar)
    forge(tar, [type(row)("../a", row.offset, row.size, row.md5, row.mtime_ns, row.mode)])
    words = ("-i", f"package+file://{tar}", "-o", tmp_path / "list", "-d", tmp_path / "out")
    done = run("generate-joblist", *words, "-l", "tree")
    assert done.exit_code == 1
    assert "expected the relative path of a member" in done.stderr
    assert not (tmp_path / "list").exists()


@pytest.mark.parametrize("place", ["/nothing/p.tar", "/nothing/folder"])
def test_a_place_that_is_no_package_is_named(tmp_path, place):
    words = ("-i", f"package+file://{place}", "-o", tmp_path / "list", "-d", tmp_path / "out")
    done = run("generate-joblist", *words, "-l", "tree")
    assert done.exit_code == 2, done
    assert place in done.stderr
