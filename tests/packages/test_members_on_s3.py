"""Members of packages on S3, or on their way to it: kills, damage, requests, archived tars."""

from __future__ import annotations

import contextlib
import random
import time
from pathlib import Path

import pytest

from tests.commands import BIN, finish, mpirun_environment, run, run_ok, start, wait_for
from tests.faults.proxy import Fault, proxy_before
from tests.packages.made import index_of, make_package, manifest_of
from tests.packages.test_member_transfers import PART_BYTES, SMALL, flip, generate
from tests.trees import contents, events, receipts, status_of

CHOSEN = random.Random(61)


def upload(server, bucket: str, tar: Path, **changes) -> str:
    """Put a package below a prefix of a bucket; return the URL of its members."""
    for path in (tar, index_of(tar), manifest_of(tar)):
        more = changes if path == tar else {}
        server.client.put_object(
            Bucket=bucket, Key=f"d/{path.name}", Body=path.read_bytes(), **more
        )
    return f"package+s3://{bucket}/d/{tar.name}"


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
    assert len(of_tar) < 20  # for 300 members
    assert all(span and tag for span, tag in of_tar)
    ends = [list(map(int, span.removeprefix("bytes=").split("-"))) for span, _ in of_tar]
    assert sum(last + 1 - first for first, last in ends) < 1.2 * tar.stat().st_size


@pytest.mark.wide
def test_two_ranks_share_the_members_of_one_job(tmp_path, rclone_s3):
    tar = make_package(tmp_path, SMALL)
    bucket, target = rclone_s3.new_bucket(), rclone_s3.new_bucket()
    url = upload(rclone_s3, bucket, tar)
    env = rclone_s3.environment
    joblist = generate(url, tmp_path / "list", f"s3://{target}", env=env)

    def slow_until_helped(request, forward):
        if not has_recorded(joblist):
            time.sleep(0.3)
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
