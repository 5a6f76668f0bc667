"""What kind of claims: by the filesystem, as told, and the same for all workers of a joblist."""

from __future__ import annotations

import os

import pytest

from jobtool.errors import UsageError
from jobtool.jobs.filesystem import Filesystem, filesystem_of
from jobtool.jobs.joblist import JobList
from jobtool.jobs.presence import Presences
from jobtool.jobs.settings import Settings
from jobtool.jobs.terms import Terms, choose, settle, terms_of

MOUNTS = r"""22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 22 0:26 / /lustre rw shared:1 - lustre 10.0.0.1@o2ib:/fs rw,flock
31 22 0:27 / /lustre/scratch rw - tmpfs tmpfs rw
40 22 0:40 / /with\040blank rw - nfs4 server:/x rw
41 22 0:41 / /over rw - ext4 /dev/vdb rw
42 22 0:42 / /over rw master:2 propagate_from:1 - fuse.bindfs /over rw
"""


@pytest.fixture
def joblist(folder):
    return JobList.create(str(folder / "list"), Settings())


@pytest.fixture
def presences(joblist):
    return Presences(joblist.claims_path, 30.0)


@pytest.mark.parametrize(
    ("path", "kind", "is_shared"),
    [
        ("/home/x", "ext4", False),
        ("/lustre", "lustre", True),
        ("/lustre/a/b", "lustre", True),
        ("/lustre/scratch/a", "tmpfs", False),
        ("/lustrex", "ext4", False),
        ("/with blank/a", "nfs4", True),
        ("/over/a", "fuse.bindfs", True),
    ],
)
def test_the_filesystem_of_a_path_is_that_of_the_deepest_and_latest_mount(
    tmp_path, path, kind, is_shared
):
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS)
    found = filesystem_of(path, mounts_path=str(mounts))
    assert (found.kind, found.is_shared) == (kind, is_shared)


def test_where_nothing_is_known_the_filesystem_counts_as_shared(tmp_path):
    found = filesystem_of("/x", mounts_path=str(tmp_path / "none"))
    assert (found.kind, found.is_shared) == ("unknown", True)


@pytest.mark.parametrize(
    ("told", "kind", "expected"),
    [
        ("auto", "ext4", "lock"),
        ("auto", "gpfs", "lease"),
        ("auto", "somethingfs", "lease"),
        ("lock", "nfs", "lock"),
        ("lease", "ext4", "lease"),
    ],
)
def test_the_kind_follows_the_filesystem_unless_told(told, kind, expected):
    assert choose(told, Filesystem(kind, "/"))[0] == expected


def test_the_first_workers_choice_is_recorded_and_holds_for_the_audit(joblist, presences):
    with presences.announced("one"):
        settled = settle(joblist, "lease", presences, "one")
    assert settled.terms == terms_of(joblist) == Terms(kind="lease")


def test_a_worker_told_otherwise_while_others_are_there_is_refused_with_both_named(
    joblist, presences
):
    with presences.announced("one"), presences.announced("two"):
        settle(joblist, "lock", presences, "one")
        with pytest.raises(UsageError, match='claims = "lock"') as refused:
            settle(joblist, "lease", presences, "two")
    assert '"lease"' in str(refused.value)
    assert "one" in str(refused.value)
    assert terms_of(joblist).kind == "lock"


def test_a_worker_told_otherwise_when_nobody_is_there_decides_anew(joblist, presences):
    with presences.announced("one"):
        settle(joblist, "lock", presences, "one")
    with presences.announced("two"):
        assert settle(joblist, "lease", presences, "two").terms.kind == "lease"
    assert terms_of(joblist).kind == "lease"


def test_left_to_itself_a_worker_follows_leases_that_others_use(joblist, presences):
    with presences.announced("one"), presences.announced("two"):
        settle(joblist, "lease", presences, "one")
        settled = settle(joblist, "auto", presences, "two")
    assert settled.terms.kind == "lease"
    assert "other workers" in settled.reason


def test_the_duration_of_leases_is_the_same_for_all_who_are_there(joblist, presences):
    other = JobList(joblist.path, Settings(lease_seconds=5.0))
    with presences.announced("one"), presences.announced("two"):
        settle(joblist, "lease", presences, "one")
        assert settle(other, "lease", presences, "two").terms.lease_seconds == 60.0
    with presences.announced("three"):
        assert settle(other, "lease", presences, "three").terms.lease_seconds == 5.0


def test_a_worker_that_has_left_or_died_is_not_there(joblist, presences):
    with presences.announced("one"):
        assert presences.others("two") == ["one"]
        assert presences.is_present("one")
    assert not presences.is_present("one")
    with presences.announced("three"):
        pid = os.fork()
        if pid == 0:
            context = presences.announced("dead")
            context.__enter__()
            os._exit(0)
        os.waitpid(pid, 0)
        assert os.path.exists(os.path.join(presences.folder, "dead.lease"))
        assert presences.others("four") == ["three"]
    assert os.listdir(presences.folder) == []
