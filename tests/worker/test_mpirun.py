"""Ranks under mpirun transfer a joblist to a bucket. tests.cluster tests how they interact."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from tests.commands import BIN, finish, run_ok, start_ranks
from tests.trees import contents, events, make_items, receipts, statuses

JOBS = 20


def test_two_ranks_send_a_list_to_a_bucket_each_job_once(tmp_path: Path, rclone_s3) -> None:
    bucket = rclone_s3.new_bucket()
    items, joblist = make_items(tmp_path / "in", JOBS), tmp_path / "list"
    run_ok("generate-joblist", "-i", items, "-o", joblist, "-d", f"s3://{bucket}", "-l", "tree")
    worker = (BIN / "transfer-worker", "-i", joblist, "--threads", 2)
    done = finish(start_ranks(worker, worker, env=rclone_s3.environment))
    assert (done.exit_code, done.stderr) == (0, "")
    assert set(statuses(joblist).values()) == {"success"}
    assert contents(rclone_s3.folder / bucket) == contents(items)
    claims = [line for path in joblist.glob("*.txt") for line in events(path, "claimed")]
    assert len(claims) == JOBS
    assert {line.split(" rank=")[1].split(" ")[0] for line in claims} <= {"0", "1"}
    proven = Counter(receipt.dst_path for receipt in receipts(joblist))
    assert proven == {f"s3://{bucket}/{path}": 1 for path in contents(items)}
