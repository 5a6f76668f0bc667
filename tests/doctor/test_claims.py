"""Which claims workers would use, and whether those are safe."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobtool.doctor.checkresult import Subject
from jobtool.doctor.claims import View, claims_result
from jobtool.jobs.claimpolicy import ClaimKind, ClaimSetting
from jobtool.jobs.filesystem import Filesystem
from tests.cluster.mounts import mounted, two_mounts
from tests.commands import finish, run, start_ranks
from tests.doctor.examined import DOCTOR, examined, listing, make_joblist
from tests.prepare import prepare

HERE = Subject("joblist", "here")


def view(rank: int = 0, host: str = "node1", kind: str = "nfs4") -> View:
    return View(host=host, rank=rank, filesystem=Filesystem(kind, "/scratch"))


ONE_NODE = [view(), view(1)]
TWO_NODES = [view(), view(1, "node2")]
OWN = [view(kind="ext4"), view(1, kind="ext4")]
MIXED = [view(kind="ext4"), view(1, "node2")]


@pytest.mark.parametrize(
    ("told", "recorded", "views", "is_excluding", "verdict", "words"),
    [
        ("auto", "lease", TWO_NODES, True, "pass", "auto picks leases (nfs4, shared"),
        ("auto", "lease", TWO_NODES, False, "pass", "locks don't exclude here, leases are used"),
        ("auto", "lock", TWO_NODES, False, "warn", "its workers have used locks"),
        ("auto", "lock", TWO_NODES, True, "pass", "auto picks leases (nfs4, shared"),
        ("lease", "lease", OWN, False, "pass", "asks for leases (ext4, of this node alone)"),
        ("auto", "lock", OWN, True, "pass", "auto picks locks (ext4, of this node alone)"),
        ("lock", "lock", TWO_NODES, True, "pass", "asks for locks (nfs4, shared"),
        ("lock", "lock", ONE_NODE, True, "warn", "only one node was tried"),
        ("lock", "lock", TWO_NODES, False, "fail", "kernel locks don't exclude here"),
        ("auto", "lock", OWN, False, "fail", "kernel locks don't exclude here"),
        ("auto", "lock", MIXED, True, "warn", "rank 0 (node1) sees ext4"),
        ("lease", "lease", MIXED, True, "pass", "ext4, nfs4"),
    ],
)
def test_the_table_of_verdicts(
    told: ClaimSetting,
    recorded: ClaimKind,
    views: list[View],
    is_excluding: bool,
    verdict: str,
    words: str,
) -> None:
    found = claims_result(HERE, told, recorded, views, is_excluding=is_excluding)
    assert (found.verdict, words in found.found) == (verdict, True), found
    assert bool(found.advice) == (verdict != "pass")
    assert 'claims = "lease"' in found.advice or verdict != "fail"


def test_ranks_in_one_folder_exclude_each_other(tmp_path: Path) -> None:
    joblist = make_joblist(tmp_path, tmp_path / "out")
    before = listing(tmp_path)
    program = (DOCTOR, "doctor", joblist, "--json")
    done = finish(start_ranks(program, program, program))
    found = examined(done)
    found.assert_all_pass()
    assert listing(tmp_path) == before
    assert "rank 0" in found.one("nodes", "seen by other ranks")["found"]
    assert "excludes between all ranks" in found.one("nodes", "lock between ranks")["found"]
    assert found.one("nodes", "exclusive create")["found"].startswith("of 3 ranks")
    assert found.one("nodes", "clocks of ranks")["verdict"] == "pass"
    ranks = found.one("surroundings", "ranks")["found"]
    assert "3 on " in ranks
    assert "mpi4py" in ranks
    assert "Open MPI" in ranks


def test_two_mounts_without_common_locks_are_told_and_auto_picks_leases(tmp_path: Path) -> None:
    joblist = make_joblist(tmp_path, tmp_path / "out")
    before = listing(tmp_path)
    with two_mounts(joblist) as (path_a, path_b):
        programs = [(DOCTOR, "doctor", path, "--json") for path in (path_a, path_b)]
        found = examined(finish(start_ranks(*programs)))
    found.assert_all_pass(but=[("nodes", "lock between ranks")])
    lock = found.one("nodes", "lock between ranks")["found"]
    assert lock.startswith("kernel locks don't exclude between rank 0 (")
    assert " and rank 1 (" in lock
    claims = found.one("joblist", "claims")["found"]
    assert claims.startswith("auto picks leases (fuse")
    assert claims.endswith("kernel locks don't exclude here, leases are used")
    assert found.one("nodes", "exclusive create")["verdict"] == "pass"
    assert listing(tmp_path) == before


def test_two_mounts_without_common_locks_fail_where_the_joblist_asks_for_locks(
    tmp_path: Path,
) -> None:
    joblist = make_joblist(tmp_path, tmp_path / "out")
    toml = joblist / "joblist.toml"
    toml.write_text('claims = "lock"\n' + toml.read_text())
    with two_mounts(joblist) as (path_a, path_b):
        programs = [(DOCTOR, "doctor", path, "--json") for path in (path_a, path_b)]
        found = examined(finish(start_ranks(*programs)))
        alone = examined(run("jobtool", "doctor", path_a, "--json"))
    assert found.done.exit_code == 4
    assert found.checks("fail") == [("joblist", "claims")]
    assert 'claims = "lease"' in found.one("joblist", "claims")["advice"]
    assert alone.checks("warn") == [("joblist", "claims")]


def test_alone_on_a_shared_filesystem_leases_are_picked(tmp_path: Path) -> None:
    joblist = make_joblist(tmp_path, tmp_path / "out")
    with mounted(joblist) as place:
        found = examined(run("jobtool", "doctor", place, "--json"))
    found.assert_all_pass()
    assert found.one("joblist", "claims")["found"].startswith("auto picks leases (fuse")


def test_locks_that_workers_have_agreed_upon_are_told(tmp_path: Path) -> None:
    joblist = make_joblist(tmp_path, tmp_path / "out")
    prepare("transfer-worker", "-i", joblist, "-v", 0)
    with two_mounts(joblist) as (path_a, path_b):
        programs = [(DOCTOR, "doctor", path, "--json") for path in (path_a, path_b)]
        found = examined(finish(start_ranks(*programs)))
    assert "workers have used locks" in found.one("joblist", "claims")["found"]
    assert found.done.exit_code == 0
