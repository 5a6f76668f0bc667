"""Receipts without MD5, for files that services have compared: `verify --deep` says what it did."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from msgspec.structs import replace

from jobtool.jobs.joblist import JobList
from jobtool.jobs.table import read_table, write_table
from tests.audit.conftest import (
    FILES,
    Place,
    make_joblist,
    send,
    tally,
    transfer,
    verify,
    without_bytes,
)
from tests.commands import run_ok

VICTIM = "item000/0.bin"


@pytest.fixture
def unread(tmp_path: Path, local: Place) -> Path:
    """A finished joblist of one job whose receipts have a checksum, and no MD5.

    The checksum is of a kind that a local destination can't find out.
    """
    joblist = make_joblist(tmp_path, local, count=1)
    send(joblist, local)
    table = JobList.open(str(joblist)).table_path_of("item000")
    proven = {"hashsum_src": None, "hashsum_dst": None, "checksum": "COMPOSITE-CRC32C:00000000"}
    receipts = [replace(receipt, **proven) for receipt in read_table(table)]
    write_table(table, receipts)
    return joblist


def test_such_a_receipt_counts(unread: Path, local: Place) -> None:
    assert verify(unread, local)[0] == 0
    run_ok("jobtool", "retry", unread, "--job", "item000")
    assert transfer(unread, local) == []


def test_without_the_checksum_both_sides_are_read(unread: Path, local: Place) -> None:
    code, (told,) = verify(unread, local, "--deep")
    assert (code, without_bytes(told)) == (0, tally(files=FILES, by_source=FILES))
    assert (
        run_ok("jobtool", "verify", "--deep", unread)
        .lines[-1]
        .endswith(f" {FILES} file(s) without MD5 were compared with the source.")
    )
    local.flip_a_bit(VICTIM)
    code, told = verify(unread, local, "--deep", "--repair")
    assert (code, told[0]) == (1, ("changed", f"{local.url}/{VICTIM}"))
    assert transfer(unread, local) == [f"{local.url}/{VICTIM}"]


def test_without_a_source_either_the_file_is_unreadable_and_left(
    unread: Path, local: Place
) -> None:
    """It may be good. A source that is another now is no better than none."""
    os.unlink(unread.parent / "in" / VICTIM)
    changed = unread.parent / "in" / "item000" / "1.bin"
    changed.write_bytes(changed.read_bytes() + b"more")
    code, told = verify(unread, local, "--deep", "--repair")
    names = (VICTIM, "item000/1.bin")
    assert (code, sorted(told[:2])) == (
        1, [("unreadable", f"{local.url}/{name}") for name in names]
    )  # fmt: skip
    assert told[-1]["unreadable"] == 2
    assert (unread / "item000.txt").read_text().splitlines()[0].endswith("success")


def test_a_receipt_with_neither_md5_nor_checksum_proves_nothing(unread: Path, local: Place) -> None:
    table = JobList.open(str(unread)).table_path_of("item000")
    write_table(table, [replace(each, checksum=None) for each in read_table(table)])
    code, told = verify(unread, local)
    assert code == 1
    assert [finding[0] for finding in told[:-1]] == ["unproven"] * FILES
