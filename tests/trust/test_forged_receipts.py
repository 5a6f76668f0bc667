"""Forged receipts and job files: what they can't do unnoticed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from jobtool.jobs.joblist import JobList
from jobtool.jobs.records import Receipt
from jobtool.jobs.table import read_table, write_table
from tests.audit.conftest import FILES, Place, make_joblist, transfer, verify
from tests.commands import run_ok
from tests.trees import status_of

VICTIM = "item000/0.bin"


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def forged(joblist: Path, place: Place, **changes: object) -> Receipt:
    """A receipt for a file that was never sent, as good as an outsider can forge it."""
    source = joblist.parent / "in" / VICTIM
    found = source.stat()
    data = source.read_bytes()
    values = {
        "src_path": str(source),
        "dst_path": f"{place.url}/{VICTIM}",
        "size": found.st_size,
        "mtime_ns": found.st_mtime_ns,
        "hashsum_src": md5(data),
        "hashsum_dst": md5(data),
        "verified_by": "read-back" if place.is_local else "etag-md5",
        "verified_at": "2026-11-20T14:31:00Z",
        "worker": "node017:4711",
        "attempt": 1,
        "etag": None if place.is_local else md5(data),
    }
    return Receipt(**(values | changes))


def plant(joblist: Path, receipts: Iterable[Receipt], where: str) -> None:
    if where == "journal":
        journal = JobList.open(str(joblist)).journal_of("item000")
        for receipt in receipts:
            journal.append(receipt)
        journal.close()
    else:
        write_table(JobList.open(str(joblist)).table_path_of("item000"), receipts)


@pytest.fixture
def fresh(tmp_path: Path, place: Place) -> Path:
    """A joblist of one job that isn't begun."""
    return make_joblist(tmp_path, place, count=1)


OTHER_SIZE = b"of another size"


@pytest.mark.parametrize(
    ("place", "where", "there"),
    [
        ("local", "journal", None),
        ("local", "table", OTHER_SIZE),
        ("s3", "journal", OTHER_SIZE),
        ("s3", "table", None),
        pytest.param("local", "journal", OTHER_SIZE, marks=pytest.mark.wide),
        pytest.param("local", "table", None, marks=pytest.mark.wide),
        pytest.param("s3", "journal", None, marks=pytest.mark.wide),
        pytest.param("s3", "table", OTHER_SIZE, marks=pytest.mark.wide),
    ],
    indirect=["place"],
)
def test_a_forged_receipt_of_what_is_not_there_or_of_another_size_skips_nothing(
    fresh: Path, place: Place, where: str, there: bytes | None
) -> None:
    plant(fresh, [forged(fresh, place)], where)
    if there is not None:
        place.raw.write(VICTIM, there)
    assert f"{place.url}/{VICTIM}" in transfer(fresh, place)
    assert place.raw.read(VICTIM) == (fresh.parent / "in" / VICTIM).read_bytes()
    assert verify(fresh, place, "--deep")[0] == 0


@pytest.mark.parametrize(
    ("place", "where"),
    [
        ("local", "journal"),
        ("s3", "table"),
        pytest.param("local", "table", marks=pytest.mark.wide),
        pytest.param("s3", "journal", marks=pytest.mark.wide),
    ],
    indirect=["place"],
)
def test_a_forged_receipt_of_other_bytes_of_the_same_size_is_noticed_by_verify(
    fresh: Path, place: Place, where: str
) -> None:
    data = (fresh.parent / "in" / VICTIM).read_bytes()
    place.raw.write(VICTIM, b"x" * len(data))
    plant(fresh, [forged(fresh, place)], where)
    assert f"{place.url}/{VICTIM}" not in transfer(fresh, place), "sizes are all a worker compares"
    finding = ("changed", f"{place.url}/{VICTIM}")
    for options in ((), ("--deep",)):
        code, told = verify(fresh, place, *options)
        assert (code, told[:-1]) == (1, [finding]), options
    verify(fresh, place, "--deep", "--repair")
    assert transfer(fresh, place) == [f"{place.url}/{VICTIM}"]
    assert place.raw.read(VICTIM) == data
    assert verify(fresh, place, "--deep")[0] == 0


LIES = {
    "no ETag": {"etag": None},
    "an ETag that isn't the digest it claims": {"etag": md5(b"x" * 80)},
    "another kind of proof": {"verified_by": "read-back", "etag": None},
}


@pytest.mark.parametrize("lie", LIES.values(), ids=list(LIES))
def test_a_receipt_that_avoids_the_comparison_of_etags_has_its_file_read(
    tmp_path: Path, s3: Place, lie: dict[str, object]
) -> None:
    fresh = make_joblist(tmp_path, s3, count=1)
    assert (fresh.parent / "in" / VICTIM).stat().st_size == 80
    s3.raw.write(VICTIM, b"x" * 80)
    plant(fresh, [forged(fresh, s3, **lie)], "journal")
    assert f"{s3.url}/{VICTIM}" not in transfer(fresh, s3)
    assert verify(fresh, s3)[1][0] == ("changed", f"{s3.url}/{VICTIM}")
    table = tmp_path / "all.parquet"
    run_ok("jobtool", "receipts", fresh, "-o", table)
    assert verify(table, s3, "--deep")[1][0] == ("changed", f"{s3.url}/{VICTIM}")


def test_a_receipt_with_two_digests_counts_for_nothing(fresh: Path, place: Place) -> None:
    data = (fresh.parent / "in" / VICTIM).read_bytes()
    planted = b"x" * len(data)
    place.raw.write(VICTIM, planted)
    receipt = forged(fresh, place, hashsum_dst=md5(planted), etag=md5(planted))
    plant(fresh, [receipt], "journal")
    assert f"{place.url}/{VICTIM}" in transfer(fresh, place)
    assert place.raw.read(VICTIM) == data


def test_a_finished_job_whose_table_was_given_two_digests_is_unproven_and_repaired(
    joblist: Path, place: Place
) -> None:
    table = JobList.open(str(joblist)).table_path_of("item000")
    rows = [receipt for receipt in read_table(table) if not receipt.dst_path.endswith(VICTIM)]
    planted = b"x" * 80
    place.raw.write(VICTIM, planted)
    plant(joblist, [*rows, forged(joblist, place, hashsum_dst=md5(planted))], "table")
    code, told = verify(joblist, place, "--repair")
    assert code == 1
    assert told[0] == ("unproven", f"{place.url}/{VICTIM}")
    assert transfer(joblist, place) == [f"{place.url}/{VICTIM}"]
    assert verify(joblist, place, "--deep")[0] == 0


def test_receipts_for_what_was_exchanged_at_both_ends_are_found_out_without_receipts(
    tmp_path: Path, local: Place
) -> None:
    """A forgery that isn't noticed, as the threat model says, and its advice against it."""
    fresh = make_joblist(tmp_path, local, count=1)
    data = (fresh.parent / "in" / VICTIM).read_bytes()
    planted = b"x" * len(data)
    local.raw.write(VICTIM, planted)
    plant(
        fresh, [forged(fresh, local, hashsum_src=md5(planted), hashsum_dst=md5(planted))], "table"
    )
    transfer(fresh, local)
    assert verify(fresh, local, "--deep")[0] == 0, "who writes both ends says what is right"
    os.unlink(JobList.open(str(fresh)).table_path_of("item000"))
    run_ok("jobtool", "retry", fresh, "--job", "item000")
    assert f"{local.url}/{VICTIM}" in transfer(fresh, local)
    assert local.raw.read(VICTIM) == data


@pytest.mark.parametrize("log", ["", "2026-11-20T14:31:00Z success files=3 bytes=240\n"])
def test_a_job_file_that_was_made_a_success_is_unproven(
    fresh: Path, place: Place, log: str
) -> None:
    jobfile = fresh / "item000.txt"
    jobfile.write_text(jobfile.read_text().replace("todo", "success", 1) + log)
    assert transfer(fresh, place) == []
    code, told = verify(fresh, place, "--repair")
    assert code == 1
    assert ("unproven", f"{place.url}/item000") in told
    assert status_of(jobfile) == "todo"
    assert len(transfer(fresh, place)) == FILES
    assert verify(fresh, place, "--deep")[0] == 0


def test_a_job_of_no_files_is_as_proven_as_it_can_be(tmp_path: Path, local: Place) -> None:
    (tmp_path / "in" / "item000" / "empty").mkdir(parents=True)
    paths = ("-i", tmp_path / "in", "-o", tmp_path / "list", "-d", local.url, "-l", "tree")
    run_ok("generate-joblist", *paths)
    transfer(tmp_path / "list", local)
    assert verify(tmp_path / "list", local)[0] == 0


@pytest.mark.parametrize("stamp", ["nonsense", "10000-01-01T00:00:00Z", "2026-02-31T00:00:00Z", ""])
def test_a_line_with_a_time_that_is_none_is_passed_over_and_fails_no_job(
    tmp_path: Path, local: Place, stamp: str
) -> None:
    fresh = make_joblist(tmp_path, local, count=1)
    plant(fresh, [forged(fresh, local)], "journal")
    journal = Path(JobList.open(str(fresh)).journal_of("item000").path)
    journal.write_text(journal.read_text().replace("2026-11-20T14:31:00Z", stamp))
    transfer(fresh, local)
    assert status_of(fresh / "item000.txt") == "success"
    assert verify(fresh, local, "--deep")[0] == 0
