"""The kind of claims: by the filesystem or the setting, the same for all workers of a joblist."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys

import pytest

from jobtool.errors import UsageError
from jobtool.jobs.claimpolicy import (
    ClaimPolicy,
    agree,
    choose,
    claim_policy_of,
    membership_name,
    propose,
)
from jobtool.jobs.filesystem import Filesystem, filesystem_of
from jobtool.jobs.joblist import JobList
from jobtool.jobs.membership import Membership
from jobtool.jobs.settings import Settings
from tests.commands import run_ok
from tests.needs import need_hosts
from tests.prepare import prepare
from tests.trees import make_items

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
def membership(joblist):
    return Membership(joblist.claims_path, 30.0)


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


@contextlib.contextmanager
def worker(joblist, name, told):
    """A running worker that has agreed on a policy; yields what it uses."""
    membership = Membership(joblist.claims_path, 30.0)
    proposed = propose(joblist, told)
    with membership.joined(membership_name(name, proposed)):
        yield agree(joblist, proposed, membership)


def test_the_first_workers_choice_is_recorded_and_holds_for_the_audit(joblist):
    with worker(joblist, "one", "lease") as agreed:
        assert agreed.claim_policy == claim_policy_of(joblist) == ClaimPolicy(kind="lease")


def test_a_worker_told_otherwise_while_others_are_there_is_refused_with_both_named(joblist):
    with (
        worker(joblist, "one", "lock"),
        pytest.raises(UsageError, match='claims = "lock"') as refused,
        worker(joblist, "two", "lease"),
    ):
        pass
    assert '"lease"' in str(refused.value)
    assert "one" in str(refused.value)
    assert claim_policy_of(joblist).kind == "lock"


def test_workers_told_otherwise_when_nobody_else_is_there_decide_anew(joblist):
    with worker(joblist, "one", "lock"):
        pass
    membership = Membership(joblist.claims_path, 30.0)
    with membership.joined("two.lease-60"), worker(joblist, "three", "lease") as agreed:
        assert agreed.claim_policy.kind == "lease"  # ranks of one run don't block each other
    assert claim_policy_of(joblist).kind == "lease"


def test_a_worker_of_another_node_that_was_killed_stands_in_the_way_for_a_lease(joblist):
    membership = Membership(joblist.claims_path, 1.5)
    with worker(joblist, "one", "lock"):
        pass
    need_hosts()
    code = (
        "import os, sys; from jobtool.jobs.membership import Membership;"
        "m = Membership(sys.argv[1], 1.5).joined('dead.lock'); m.__enter__(); os._exit(0)"
    )
    named = ["unshare", "--uts", "sh", "-c", 'hostname "$0"; exec "$@"', "node7"]
    subprocess.run([*named, sys.executable, "-c", code, joblist.claims_path], check=True)
    proposed = propose(joblist, "lease")
    with membership.joined(membership_name("two", proposed)):
        assert membership.is_present("dead.lock")
        assert agree(joblist, proposed, membership).claim_policy.kind == "lease"
    assert os.listdir(membership.folder) == []


def test_a_worker_with_longer_leases_is_not_taken_for_dead_before_its_time(joblist):
    need_hosts()
    code = (
        "import sys; from jobtool.jobs.membership import Membership;"
        "there = Membership(sys.argv[1], 30.0).joined('far.lease-30'); there.__enter__();"
        "print('here', flush=True); sys.stdin.read()"
    )
    named = ["unshare", "--uts", "sh", "-c", 'hostname "$0"; exec "$@"', "node7"]
    far = subprocess.Popen(
        [*named, sys.executable, "-c", code, joblist.claims_path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    far.stdout.readline()
    now = [0.0]
    membership = Membership(joblist.claims_path, 2.0, lambda: now[0])
    found = []
    for now[0] in (0.0, 3.0, 29.0, 31.0):
        found.append(membership.is_present("far.lease-30"))
    far.kill()
    far.wait()
    assert found == [True, True, True, False]


def test_left_to_itself_a_worker_follows_leases_that_others_use(joblist):
    with worker(joblist, "one", "lease"), worker(joblist, "two", "auto") as agreed:
        assert agreed.claim_policy.kind == "lease"
        assert "other workers" in agreed.reason


def test_the_duration_of_leases_is_the_same_for_all_who_are_there(joblist, membership):
    other = JobList(joblist.path, Settings(lease_seconds=5.0))
    with worker(joblist, "one", "lease"), worker(other, "two", "lease") as agreed:
        assert agreed.claim_policy.lease_seconds == 60.0
    two = membership_name("two", propose(other, "lease"))  # the ranks of one run come at once
    with membership.joined(two), worker(other, "three", "lease") as agreed:
        assert agreed.claim_policy.lease_seconds == 5.0


UNFIT = [
    b'{"kind":"lease","lease_seconds":0}',
    b'{"kind":"lease","lease_seconds":-5}',
    b'{"kind":"lease","lease_seconds":NaN}',
    b'{"kind":"lease","lease_seconds":1e300}',
    b'{"kind":"lease","lease_seconds":86401}',
    b'{"kind":"lo\xffck"}',
    b'{"kind":"lock","more":' + b"[" * 100_000,
    b"",
]


@pytest.mark.parametrize("text", UNFIT, ids=lambda text: ascii(text[:40]))
def test_terms_that_make_no_sense_count_as_unreadable(joblist, text):
    path = os.path.join(joblist.claims_path, "terms.json")
    with open(path, "wb") as file:
        file.write(text)
    assert claim_policy_of(joblist).lease_seconds == 60.0
    with worker(joblist, "one", "lease") as agreed:
        assert agreed.claim_policy == claim_policy_of(joblist) == ClaimPolicy(kind="lease")


@pytest.mark.parametrize("seconds", ["0", "-1", "1e300"])
def test_no_command_stumbles_over_terms_that_a_hand_has_broken(tmp_path, seconds):
    make_items(tmp_path / "in", 1)
    paths = ("-i", tmp_path / "in", "-o", tmp_path / "list", "-d", tmp_path / "out", "-l", "tree")
    prepare("generate-joblist", *paths)
    claim_policy = tmp_path / "list" / ".claims" / "terms.json"
    text = f'{{"kind":"lease","lease_seconds":{seconds}}}'
    claim_policy.write_text(text)
    run_ok("jobtool", "clean", tmp_path / "list")
    assert claim_policy.read_text() == text
    run_ok("transfer-worker", "-i", tmp_path / "list", "--claims", "lease")
    assert claim_policy.read_text() == '{"kind":"lease","lease_seconds":60.0}'


def everybody(name):
    return True


def test_a_worker_that_has_left_or_died_is_not_there(joblist, membership):
    with membership.joined("one"):
        assert membership.wait_to_know(everybody) == ["one"]
        assert membership.is_present("one")
    assert not membership.is_present("one")
    with membership.joined("three"):
        pid = os.fork()
        if pid == 0:
            context = membership.joined("dead")
            context.__enter__()
            os._exit(0)
        os.waitpid(pid, 0)
        assert os.path.exists(os.path.join(membership.folder, "dead.lease"))
        assert membership.wait_to_know(everybody) == ["three"]
    assert os.listdir(membership.folder) == []


def test_those_of_this_host_that_were_killed_are_forgotten_when_somebody_counts(
    joblist, membership
):
    with membership.joined(f"node7-{os.getpid()}-one"):
        pid = os.fork()
        if pid == 0:
            context = membership.joined(f"node7-{os.getpid()}-two")
            context.__enter__()
            os._exit(0)
        os.waitpid(pid, 0)
        alive = subprocess.Popen(["sleep", "60"])
        # A running process, or a name of another host, isn't checked.
        others = [f"node7-{alive.pid}-three.lease", f"node8-{pid}-four.lease", "node7-²-five.lease"]
        for name in others:
            with open(os.path.join(membership.folder, name), "wb"):
                pass
        assert len(os.listdir(membership.folder)) == 5
        assert membership.count() == 4
        alive.kill()
        alive.wait()
        assert {f"node7-{os.getpid()}-one.lease", *others} == set(os.listdir(membership.folder))
