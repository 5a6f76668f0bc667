"""One worker per job, between real processes, and a claim that ends with its process."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest

from jobtool import failpoints
from jobtool.errors import ClaimLostError, JoblistUnavailableError, MembershipLostError
from jobtool.jobs.claim import Claims
from jobtool.jobs.claimpolicy import ClaimPolicy
from jobtool.jobs.joblist import JobList
from jobtool.jobs.settings import Settings

DEADLINE_SECONDS = 30

HOLD = """
import sys
from jobtool.jobs.claim import Claims
from jobtool.jobs.claimpolicy import ClaimPolicy
claim = Claims(sys.argv[1], ClaimPolicy(kind=sys.argv[2])).acquire(sys.argv[3])
print("held" if claim else "refused", flush=True)
sys.stdin.read()
"""

COUNT = """
import sys
from jobtool.jobs.claim import Claims
from jobtool.jobs.claimpolicy import ClaimPolicy
claims = Claims(sys.argv[1], ClaimPolicy(kind=sys.argv[2]))
print("ready", flush=True)
sys.stdin.readline()
held = [claims.acquire(str(number)) for number in range(50)]
print(*[number for number, claim in enumerate(held) if claim], flush=True)
sys.stdin.read()
"""


@pytest.fixture(params=["lock", "lease"])
def kind(request):
    return request.param


@pytest.fixture
def joblist(folder):
    return JobList.create(str(folder / "list"), Settings())


@pytest.fixture
def claims(joblist, kind):
    return Claims(joblist.claims_path, ClaimPolicy(kind=kind))


@contextlib.contextmanager
def process(script, *arguments):
    command = [sys.executable, "-c", script, *arguments]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as running:
        try:
            yield running
        finally:
            running.kill()


def take_within_deadline(claims, name):
    # The kernel frees a dead process's locks when it tears it down, a moment after its end.
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        if claim := claims.acquire(name):
            return claim
        time.sleep(0.01)
    raise AssertionError("the claim was never freed")


def test_a_job_held_by_another_process_is_refused_and_others_are_not(joblist, claims, kind):
    with process(HOLD, joblist.claims_path, kind, "a") as holder:
        assert holder.stdout.readline() == "held\n"
        assert claims.acquire("a") is None
        with claims.acquire("b"):
            pass


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_a_claim_ends_with_its_process(joblist, claims, kind, end):
    with process(HOLD, joblist.claims_path, kind, "a") as holder:
        assert holder.stdout.readline() == "held\n"
        holder.send_signal(end)
        holder.wait(DEADLINE_SECONDS)
        take_within_deadline(claims, "a").release()


def test_processes_that_start_at_once_share_all_jobs_and_no_job_twice(joblist, claims, kind):
    with contextlib.ExitStack() as stack:
        workers = [stack.enter_context(process(COUNT, joblist.claims_path, kind)) for _ in range(4)]
        for worker in workers:
            assert worker.stdout.readline() == "ready\n"
        for worker in workers:
            worker.stdin.write("go\n")
            worker.stdin.flush()
        taken = [int(job) for worker in workers for job in worker.stdout.readline().split()]
    assert sorted(taken) == list(range(50))


def test_a_released_job_can_be_claimed_again(joblist, claims, kind):
    for _ in range(3):
        with claims.acquire("a"):
            assert claims.acquire("a") is None
    with process(HOLD, joblist.claims_path, kind, "a") as other:
        assert other.stdout.readline() == "held\n"


def test_threads_of_one_process_exclude_each_other(joblist, claims, kind):
    taken = []
    threads = [threading.Thread(target=lambda: taken.append(claims.acquire("a"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([claim for claim in taken if claim]) == 1


def test_claims_are_kept_in_their_own_folder_which_is_made_again(joblist, claims, kind):
    os.rmdir(joblist.claims_path)
    with claims.acquire("a"):
        assert not [name for name in os.listdir(joblist.path) if name.startswith("a.")]
    assert joblist.job_ids() == []


def test_a_place_where_no_lock_can_be_is_an_error_of_the_joblist(joblist, claims, kind):
    os.rmdir(joblist.claims_path)
    with open(joblist.claims_path, "w"):
        pass
    with pytest.raises(JoblistUnavailableError, match="can't claim jobs"):
        claims.acquire("a")


def test_a_lease_that_is_given_up_can_be_had_at_once_and_counts_as_lost(joblist):
    claims = Claims(joblist.claims_path, ClaimPolicy(kind="lease"))
    lost = []
    with claims.acquire("job", on_loss=lambda: lost.append(True)) as claim:
        claim.require_held()
        assert claims.lose_all()
        assert lost == [True]
        with pytest.raises(ClaimLostError):
            claim.require_held()
        with Claims(joblist.claims_path, ClaimPolicy(kind="lease")).acquire(
            "job", after=1
        ) as other:
            other.require_held()
    assert claims.lose_all()


def test_a_lock_can_not_be_given_up(joblist):
    claims = Claims(joblist.claims_path, ClaimPolicy(kind="lock"))
    with claims.acquire("job") as claim:
        assert claims.lose_all() is False
        claim.require_held()
        assert Claims(joblist.claims_path, ClaimPolicy(kind="lock")).acquire("job") is None


def test_each_claim_has_a_token_of_its_own_and_leases_count_their_holders(joblist, claims, kind):
    tokens = set()
    generations = []
    for _ in range(2):
        with claims.acquire("a", after=4) as claim:
            tokens.add(claim.token)
            generations.append(claim.generation)
    assert len(tokens) == 2
    assert all(tokens)
    assert generations == ([0, 0] if kind == "lock" else [5, 5])


def test_what_was_released_is_not_lost_with_the_rest(joblist):
    claims = Claims(joblist.claims_path, ClaimPolicy(kind="lease"))
    lost = []
    with claims.acquire("released", on_loss=lambda: lost.append("released")):
        pass
    with (
        claims.acquire("held", on_loss=lambda: lost.append("held")) as held,
        Claims(joblist.claims_path, ClaimPolicy(kind="lease")).acquire("released") as others,
    ):
        assert claims.lose_all()
        assert lost == ["held"]
        with pytest.raises(ClaimLostError):
            held.require_held()
        others.require_held()


def test_claims_within_another_folder_are_lost_with_the_others(joblist, folder):
    claims = Claims(joblist.claims_path, ClaimPolicy(kind="lease"))
    inner = claims.within(str(folder / "blocks"))
    with inner.acquire("000001") as claim:
        assert os.listdir(folder / "blocks") == ["000001.1.lease"]
        claim.require_held()
        assert claims.lose_all()
        with pytest.raises(ClaimLostError):
            claim.require_held()


def test_a_worker_that_others_no_longer_know_holds_nothing(joblist, kind):
    present = [True]

    def require_present():
        if not present[0]:
            raise MembershipLostError("gone")

    policy = ClaimPolicy(kind=kind)
    claims = Claims(joblist.claims_path, policy, require_present=require_present)
    inner = claims.within(os.path.join(joblist.claims_path, "inner"))
    with claims.acquire("a") as claim, inner.acquire("a") as other:
        claim.require_held()
        present[0] = False
        for held in (claim, other):
            with pytest.raises(MembershipLostError):
                held.require_held()


def test_claims_of_a_joblist_are_of_the_kind_that_its_settings_say(folder, kind):
    joblist = JobList.create(str(folder / "list"), Settings(claims=kind))
    with Claims.of(joblist).acquire("a") as claim:
        assert claim.generation == (0 if kind == "lock" else 1)
        with process(HOLD, joblist.claims_path, kind, "a") as other:
            assert other.stdout.readline() == "refused\n"


def test_a_lease_that_is_given_up_leaves_no_marker_behind(joblist):
    """A process that doesn't know that the attempt is over needn't wait for the lease either."""
    claims = Claims(joblist.claims_path, ClaimPolicy(kind="lease"))
    with claims.acquire("job"):
        assert Claims(joblist.claims_path, ClaimPolicy(kind="lease")).acquire("job") is None
        assert claims.lose_all()
        with Claims(joblist.claims_path, ClaimPolicy(kind="lease")).acquire("job") as other:
            other.require_held()


def test_markers_of_dead_holders_go_when_asked_and_not_before(joblist):
    claims = Claims(joblist.claims_path, ClaimPolicy(kind="lease", lease_seconds=1.5))
    with claims.acquire("a") as lost:
        (marker,) = os.listdir(joblist.claims_path)
        lost.lose()
        shutil.copy(os.path.join(joblist.claims_path, marker), joblist.path)
    # As a dead holder leaves it.
    shutil.copy(os.path.join(joblist.path, marker), joblist.claims_path)
    with take_within_deadline(claims, "a") as claim:
        assert len(os.listdir(joblist.claims_path)) == 2
        claim.remove_older()
        assert len(os.listdir(joblist.claims_path)) == 1
        assert marker not in os.listdir(joblist.claims_path)
        claim.require_held()


def test_a_held_job_is_refused_without_a_wait(claims, monkeypatch):
    def waits(seconds):
        raise AssertionError(f"waited {seconds} s")

    with claims.acquire("a"):
        monkeypatch.setattr(time, "sleep", waits)
        assert claims.acquire("a") is None


def test_a_claim_may_be_released_by_another_thread_than_the_one_that_took_it(claims):
    taken = []
    thread = threading.Thread(target=lambda: taken.append(claims.acquire("a")))
    thread.start()
    thread.join()
    taken[0].require_held()
    assert claims.acquire("a") is None
    taken[0].release()
    with claims.acquire("a") as claim:
        assert claim is not None


def test_a_filesystem_without_locks_gives_no_claim_of_a_lesser_kind(joblist, monkeypatch):
    def no_locks(descriptor, operation):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    claims = Claims(joblist.claims_path, ClaimPolicy(kind="lock"))
    with pytest.raises(JoblistUnavailableError, match="can't claim jobs in "):
        claims.acquire("a")


def test_a_claim_in_a_folder_that_is_made_again_knows_what_is_over_and_tells_of_its_loss(joblist):
    os.rmdir(joblist.claims_path)
    claims = Claims(joblist.claims_path, ClaimPolicy(kind="lease"))
    lost = []
    with claims.acquire("a", after=3, on_loss=lambda: lost.append(True)) as claim:
        assert claim.generation == 4
        assert claims.lose_all()
        assert lost == [True]


def test_what_a_claim_goes_through_can_be_seen_by_a_test_at_each_point(claims):
    seen = []
    failpoints.install(seen.append)
    try:
        claims.acquire("a").release()
    finally:
        failpoints.install(None)
    assert seen == [
        "before the claim",
        "after the claim",
        "before the claim's release",
        "after the claim's release",
    ]
