"""A job costs few file operations, and no more in a long joblist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.cluster.operations import (
    KINDS,
    count,
    job_files_opened,
    make_joblist,
    need_strace,
    per_job,
    strace_opens,
    trace,
)
from tests.commands import BIN, finish, run, start_ranks
from tests.trees import statuses

FEW, MANY = 60, 240

#: What the system calls of a job may be about, and how many may be: those of docs/design.md and a
#: few more, so that a look that is added somewhere is noticed.
MOST = {
    "job file": 22,
    "list folder": 6,
    "journal": 18,
    "receipts": 15,
    "source": 13,
    "destination": 21,
}

#: The same by the kind of claims. How filelock looks at its files and in /proc changes a little
#: from version to version.
MOST_BY_CLAIMS = {"lock": {"claim": 10, "other": 11}, "lease": {"claim": 40, "other": 25}}


@pytest.fixture(autouse=True)
def strace() -> None:
    need_strace()


def test_a_job_of_a_long_list_costs_what_one_of_a_short_list_does(tmp_path: Path) -> None:
    joblists = {size: make_joblist(tmp_path / str(size), size) for size in (1, FEW, MANY)}
    for is_done in (False, True):
        counts = {size: count(joblist) for size, joblist in joblists.items()}
        few = sum(per_job(counts[FEW], counts[1], FEW - 1).values())
        many = sum(per_job(counts[MANY], counts[1], MANY - 1).values())
        assert few > 1  # at least, its file is read
        assert few < 2.1 or not is_done  # opened and read, and nothing else
        # Not exactly: a folder of many names is read in several calls.
        assert many == pytest.approx(few, rel=0.02, abs=0.1)


@pytest.mark.parametrize("claims", ["lock", "lease"])
def test_a_job_costs_what_must_be_done_for_it_and_little_more(tmp_path: Path, claims: str) -> None:
    """Calls are counted by the file that they access. Those that a job needs are found once."""
    joblists = [make_joblist(tmp_path / str(size), size) for size in (1, 11)]
    found = [trace(joblist, claims=claims) for joblist in joblists]
    each = per_job(found[1], found[0], 10)
    assert each["job file", "rename"] == 2  # to ongoing and to success
    assert each["job file", "fsync"] == 2
    assert each["receipts", "rename"] == 1
    assert each["journal", "unlink"] == 1
    assert each["source", "pread64"] == 1
    assert each["destination", "pwrite64"] == 1
    assert each["destination", "renameat"] == 1

    most = MOST | MOST_BY_CLAIMS[claims]
    most["other"] += len(tmp_path.parts)  # a claim's path is resolved folder by folder
    assert most.keys() == {*KINDS}
    totals = {
        kind: sum(number for (its, _), number in each.items() if its == kind) for kind in KINDS
    }
    assert {kind: totals[kind] for kind in KINDS if totals[kind] > most[kind]} == {}, totals
    assert {kind for kind, _ in each} <= {*KINDS}


def test_a_job_file_is_opened_once_if_the_job_is_done_and_three_times_to_do_it(
    tmp_path: Path,
) -> None:
    joblist = make_joblist(tmp_path / "few", 5)
    assert run("transfer-worker", "-i", joblist, "--max-jobs", 3).exit_code == 3
    done = {stem for stem, status in statuses(joblist).items() if status == "success"}
    assert len(done) == 3
    trace(joblist)
    # One to do is looked at before it is claimed, read when it is, since another may have done it
    # meanwhile, and read again before its last change, since a person may have added to its log.
    expected = {stem: 1 if stem in done else 3 for stem in statuses(joblist)}
    assert job_files_opened(joblist.parent / "trace", joblist) == expected


def test_of_ranks_only_the_first_reads_the_files_of_jobs_that_are_done(tmp_path: Path) -> None:
    joblist = make_joblist(tmp_path / "some", 12)
    assert run("transfer-worker", "-i", joblist, "--max-jobs", 9).exit_code == 3
    done = {stem for stem, status in statuses(joblist).items() if status == "success"}
    assert len(done) == 9
    outputs = [tmp_path / f"rank-{rank}" for rank in range(2)]
    worker = (BIN / "transfer-worker", "-i", joblist)
    told = finish(start_ranks(*((*strace_opens(output), *worker) for output in outputs)))
    assert told.exit_code == 0, told
    assert set(statuses(joblist).values()) == {"success"}
    first, second = (job_files_opened(output, joblist) for output in outputs)
    assert {stem: first[stem] for stem in done} == dict.fromkeys(done, 1)
    assert not done & {*second}
    # The second rank got the list from the first, which is checked.
    assert re.search(r'/runs/[^/"]+/scan", .*\) = \d', outputs[1].read_text(errors="replace"))
