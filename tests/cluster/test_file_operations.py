"""What a job costs a filesystem doesn't depend on how many jobs there are."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster.operations import KINDS, count, make_joblist, need_strace, per_job, trace

FEW, MANY = 60, 240


@pytest.fixture(autouse=True)
def strace() -> None:
    need_strace()


def test_a_job_of_a_long_list_costs_what_one_of_a_short_list_does(tmp_path: Path) -> None:
    joblists = {size: make_joblist(tmp_path / str(size), size) for size in (1, FEW, MANY)}
    for _ in ("to do", "all done"):
        counts = {size: count(joblist) for size, joblist in joblists.items()}
        few = sum(per_job(counts[FEW], counts[1], FEW - 1).values())
        many = sum(per_job(counts[MANY], counts[1], MANY - 1).values())
        assert few > 1  # at least, its file is read
        # Not exactly: a folder of many names is read in several calls.
        assert many == pytest.approx(few, rel=0.02, abs=0.1)


def test_calls_are_counted_for_the_file_that_they_are_about(tmp_path: Path) -> None:
    """What must be done for a job is found, once, whatever else is done."""
    found = [trace(make_joblist(tmp_path / str(size), size)) for size in (1, 11)]
    each = per_job(found[1], found[0], 10)
    assert {kind for kind, _ in each} <= {*KINDS}
    assert each["job file", "rename"] == 2  # to ongoing and to success
    assert each["job file", "fsync"] == 2
    assert each["receipts", "rename"] == 1
    assert each["journal", "unlink"] == 1
    assert each["source", "pread64"] == 1
    assert each["destination", "pwrite64"] == 1
    assert each["destination", "renameat"] == 1
