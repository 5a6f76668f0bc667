"""Ranks under mpirun transfer a joblist to a bucket. tests.cluster tests how they interact."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.commands import BIN, finish, start_ranks
from tests.prepare import prepare
from tests.trees import contents, events, make_items, receipts, statuses

JOBS = 20


def test_two_ranks_send_a_list_to_a_bucket_each_job_once(tmp_path: Path, rclone_s3) -> None:
    bucket = rclone_s3.new_bucket()
    items, joblist = make_items(tmp_path / "in", JOBS), tmp_path / "list"
    prepare("generate-joblist", "-i", items, "-o", joblist, "-d", f"s3://{bucket}", "-l", "tree")
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


@pytest.mark.parametrize("local_size", ["2", "1"])  # on one host; as if on two
def test_ranks_agree_on_a_name_and_use_mpi_only_if_the_launcher_gives_none(
    local_size: str,
) -> None:
    code = (
        "import json, os, sys; from jobtool.worker.environment import joined; found = "
        "joined(os.environ); print(json.dumps([found.rank, found.size, found.is_mpi, found.run, "
        "'mpi4py' in sys.modules]))"
    )
    rank = ("env", f"OMPI_COMM_WORLD_LOCAL_SIZE={local_size}", sys.executable, "-c", code)
    done = finish(start_ranks(rank, rank))
    assert done.exit_code == 0, done.stderr
    first, second = sorted(json.loads(line) for line in done.stdout.splitlines())
    assert first[:3] == [0, 2, True]
    assert second[0] == 1
    assert first[1:] == second[1:]
    assert (bool(first[3]), first[4]) == (True, local_size == "1")
