"""`jobtool verify --repair` is killed before each of its writes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from jobtool.audit.events import Finding
from jobtool.audit.verify import Audit
from jobtool.events import Event
from jobtool.jobs.joblist import JobList
from jobtool.stores.registry import StoreRegistry
from tests.audit.conftest import Place, make_joblist, transfer, verify
from tests.stores.raw import LocalRaw
from tests.trees import contents, receipts, status_of


def destinations(joblist: Path) -> set[str]:
    return {receipt.dst_path for receipt in receipts(joblist)}


def audited(joblist: Path, *, deep: bool, repair: bool = False) -> list[tuple[str, str]]:
    told: list[Event] = []
    audit = Audit(StoreRegistry(), told.append, deep=deep)
    audit.joblist(JobList.open(str(joblist)), repair=repair)
    return [(event.what, event.path) for event in told if isinstance(event, Finding)]


def test_a_repair_that_is_killed_anywhere_leaves_nothing_that_is_called_done(
    tmp_path: Path,
) -> None:
    (tmp_path / "out").mkdir()
    local = Place(str(tmp_path / "out"), LocalRaw(str(tmp_path / "out")), {})
    joblist = make_joblist(tmp_path, local, count=1)
    transfer(joblist, local)
    jobfile = joblist / "item000.txt"  # with its log cut: the number of files isn't known from it
    jobfile.write_text(jobfile.read_text().partition("---\n")[0] + "---\n")
    local.flip_a_bit("item000/1.bin")
    spoilt = f"{local.url}/item000/1.bin"
    copies = [tmp_path / f"list{number}" for number in range(40)]
    for copy in copies:
        shutil.copytree(joblist, copy, symlinks=True)
    ended = subprocess.run(
        [sys.executable, "-m", "tests.faults.repair_victims", *copies],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    killed = len(ended) - 1
    assert killed > 10
    assert ended == ["killed"] * killed + ["1"]

    cut_off = []
    for copy in copies[:killed]:
        has_receipt = spoilt in destinations(copy)
        if status_of(copy / "item000.txt") == "todo":
            assert not has_receipt, "a worker would believe it"
            continue
        kind = "changed" if has_receipt else "unproven"
        assert audited(copy, deep=True) == [(kind, spoilt)]
        if not has_receipt:
            cut_off.append(copy)
            assert audited(copy, deep=False) == [(kind, spoilt)]
        audited(copy, deep=True, repair=True)
        assert status_of(copy / "item000.txt") == "todo"
        assert spoilt not in destinations(copy)
    assert transfer(cut_off[0], local) == [spoilt]
    assert local.contents() == contents(tmp_path / "in")
    assert verify(cut_off[0], local, "--deep")[0] == 0
