"""Leases: generations, expiry by each process's own clock, what is allowed after a loss.

Processes that believe they are on another host are started in a UTS namespace of their own.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from filelock import SoftFileLease

from jobtool.errors import ClaimLostError
from jobtool.jobs.claim import Claims
from jobtool.jobs.claimedjob import ClaimedJob
from jobtool.jobs.claimpolicy import ClaimPolicy
from jobtool.jobs.job import Job
from jobtool.jobs.joblist import JobList
from jobtool.jobs.lease import Lease, LeaseWatch
from jobtool.jobs.records import IntentRecord
from jobtool.jobs.settings import Settings
from tests.needs import need_hosts

LEASE_SECONDS = 1.5

HOLD = """
import sys, time
from jobtool.jobs.lease import Lease, LeaseWatch
lease = Lease.acquire(sys.argv[1], after=int(sys.argv[2]), lease_seconds=float(sys.argv[3]),
                   watch=LeaseWatch(1), on_loss=lambda: print("lost", flush=True))
print("held" if lease else "refused", flush=True)
sys.stdin.readline()
try:
    lease.require_held()
    print("still held", flush=True)
except Exception as error:
    print(type(error).__name__, flush=True)
"""


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def base(folder):
    return str(folder / "job")


def acquire(base, watch, after=0, lease_seconds=LEASE_SECONDS):
    return Lease.acquire(
        base, after=after, lease_seconds=lease_seconds, watch=watch, on_loss=lambda: None
    )


def elsewhere(host, base, after=0, lease_seconds=LEASE_SECONDS):
    """Start a process that holds a lease and believes that it is on ``host``."""
    need_hosts()
    command = ["unshare", "--uts", "sh", "-c", 'hostname "$0"; exec "$@"', host]
    command += [sys.executable, "-c", HOLD, base, str(after), str(lease_seconds)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    process = subprocess.Popen(command, text=True, **pipes)
    assert process.stdout.readline() == "held\n"
    return process


def until(condition, seconds=30):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError("it never came true")


def test_who_looks_again_at_a_held_name_makes_no_marker_of_a_generation_that_is_over(
    folder, monkeypatch
):
    base = str(folder / "a")
    watch = LeaseWatch(LEASE_SECONDS)
    arguments = {"lease_seconds": LEASE_SECONDS, "on_loss": lambda: None}
    first = Lease.acquire(base, after=0, watch=LeaseWatch(LEASE_SECONDS), **arguments)
    first.release()
    held = Lease.acquire(base, after=1, watch=LeaseWatch(LEASE_SECONDS), **arguments)
    asked = []
    acquire = SoftFileLease.acquire

    def noted(soft, *args, **kwargs):
        asked.append(os.path.basename(soft.lock_file))
        return acquire(soft, *args, **kwargs)

    monkeypatch.setattr(SoftFileLease, "acquire", noted)
    for names in (["a.1.lease", "a.2.lease"], ["a.2.lease"]):
        asked.clear()
        assert Lease.acquire(base, after=0, watch=watch, **arguments) is None
        assert asked == names
    held.release()
    again = Lease.acquire(base, after=0, watch=watch, **arguments)
    assert again.generation == 2
    again.release()


def test_a_lease_excludes_until_it_is_released(base):
    lease = acquire(base, LeaseWatch(LEASE_SECONDS))
    assert acquire(base, LeaseWatch(LEASE_SECONDS)) is None
    lease.require_held()
    lease.release()
    assert os.listdir(os.path.dirname(base)) == []
    acquire(base, LeaseWatch(LEASE_SECONDS)).release()


def test_a_dead_holder_of_another_host_is_followed_after_its_lease_and_not_before(base, clock):
    holder = elsewhere("node7", base)
    holder.kill()
    holder.wait()
    watch = LeaseWatch(LEASE_SECONDS, clock)
    assert acquire(base, watch) is None  # no process knows yet
    assert watch.is_undecided
    clock.now = LEASE_SECONDS - 0.1
    assert acquire(base, watch) is None
    clock.now = LEASE_SECONDS
    assert not watch.is_undecided
    lease = acquire(base, watch)
    assert lease.generation == 2
    lease.remove_older()
    lease.release()
    assert os.listdir(os.path.dirname(base)) == []


def test_a_holder_of_another_host_that_lives_is_never_followed(base, clock):
    holder = elsewhere("node7", base)
    watch = LeaseWatch(LEASE_SECONDS, clock)
    assert acquire(base, watch) is None

    def beats():
        clock.now += LEASE_SECONDS  # by this clock each heartbeat is late
        return acquire(base, watch) is None and not watch.is_undecided

    until(lambda: (Path(base + ".1.lease").stat().st_mtime_ns, time.sleep(LEASE_SECONDS)))
    assert beats()  # it has refreshed its marker since
    holder.stdin.write("\n")
    holder.stdin.flush()
    assert holder.stdout.readline() == "still held\n"
    holder.wait()


def test_a_holder_whose_heartbeat_is_overdue_may_be_dead(folder, clock):
    marker = folder / "a.1.lease"
    marker.write_bytes(b"a")
    watch = LeaseWatch(9.0, clock)
    assert not watch.is_expired(str(marker))
    clock.now += 3.0
    os.utime(marker, ns=(1, 1))  # it has heartbeats, so others needn't stay for it
    assert not watch.is_expired(str(marker))
    found = []
    for _ in range(10):
        clock.now += 1.0
        found.append((watch.is_undecided, watch.is_expired(str(marker))))
    alive, undecided, dead = (False, False), (True, False), (False, True)
    assert found == [alive] * 4 + [undecided] * 4 + [dead] * 2


def test_a_frozen_holder_finds_out_that_another_has_its_lease(base):
    holder = elsewhere("node7", base)
    holder.send_signal(signal.SIGSTOP)
    watch = LeaseWatch(LEASE_SECONDS)
    lease = until(lambda: acquire(base, watch))
    assert lease.generation == 2
    lease.require_held()
    holder.stdin.write("\n")
    holder.stdin.flush()
    holder.send_signal(signal.SIGCONT)
    said = [holder.stdout.readline()]
    if said == ["lost\n"]:  # the heartbeat was first
        said.append(holder.stdout.readline())
    assert said[-1] == "ClaimLostError\n"
    lease.require_held()
    holder.wait()


def test_of_many_that_follow_a_dead_holder_one_gets_the_lease(base):
    holder = elsewhere("node7", base)
    holder.kill()
    holder.wait()
    watches = [LeaseWatch(LEASE_SECONDS) for _ in range(5)]
    assert [acquire(base, watch) for watch in watches] == [None] * 5
    time.sleep(LEASE_SECONDS)
    leases = [lease for watch in watches if (lease := acquire(base, watch))]
    assert len(leases) == 1


def test_many_orphans_are_waited_for_at_the_same_time(folder, clock):
    for number in range(300):
        (folder / f"{number}.1.lease").write_text(
            f"filelock/2\npid=1\nhost=node7\nmode=lease\ntoken=ab\nduration={LEASE_SECONDS!r}\n"
        )
    watch = LeaseWatch(LEASE_SECONDS, clock)
    bases = [str(folder / str(number)) for number in range(300)]
    assert [acquire(base, watch) for base in bases] == [None] * 300
    clock.now = LEASE_SECONDS  # once for all of them
    leases = [acquire(base, watch) for base in bases]
    assert all(leases)
    for lease in leases:
        lease.release()


def test_a_marker_torn_by_a_kill_is_followed_after_the_lease(base, clock):
    Path(base + ".1.lease").write_bytes(b"filelock/2\npid=4")
    watch = LeaseWatch(LEASE_SECONDS, clock)
    assert acquire(base, watch) is None
    clock.now = LEASE_SECONDS
    lease = acquire(base, watch)
    assert lease.generation in (1, 2)
    lease.release()


def test_a_holder_whose_marker_was_removed_by_hand_has_lost_it(base):
    lease = acquire(base, LeaseWatch(LEASE_SECONDS))
    os.unlink(base + ".1.lease")
    with pytest.raises(ClaimLostError, match="the claim on job was lost"):
        lease.require_held()
    lease.release()


def test_a_job_whose_earlier_attempts_are_over_is_claimed_above_them(folder):
    joblist = JobList.create(str(folder / "list"), Settings())
    joblist.add(Job(name="a", source="/a", destination="/b", attempts=7))
    claims = Claims(joblist.claims_path, ClaimPolicy(kind="lease", lease_seconds=LEASE_SECONDS))
    with ClaimedJob.acquire(joblist, claims, "a", time.gmtime) as held:
        assert held.claim.generation == 8
        assert claims.acquire("a", after=7) is None
        assert ClaimedJob.acquire(joblist, claims, "a", time.gmtime) is None


def test_a_job_of_many_attempts_is_held_by_one_worker(folder):
    joblist = JobList.create(str(folder / "list"), Settings())
    joblist.add(Job(name="a", source="/a", destination="/b", attempts=2))
    claims = Claims(joblist.claims_path, ClaimPolicy(kind="lease", lease_seconds=LEASE_SECONDS))
    with ClaimedJob.acquire(joblist, claims, "a", lambda: datetime.now(UTC)) as held:
        held.begin(worker="node:1", rank=0)  # from now on no older marker is in the way
        assert held.claim.generation == 3
        assert ClaimedJob.acquire(joblist, claims, "a", lambda: datetime.now(UTC)) is None
        held.log("progress")
        held.put_back("handed-back")
    with ClaimedJob.acquire(joblist, claims, "a", lambda: datetime.now(UTC)) as held:
        held.begin(worker="node:2", rank=0)
        assert (held.claim.generation, held.job.attempts) == (4, 4)


def test_nothing_is_written_about_a_job_whose_claim_was_lost(folder):
    joblist = JobList.create(str(folder / "list"), Settings())
    joblist.add(Job(name="a", source="/a", destination="/b"))
    claims = Claims(joblist.claims_path, ClaimPolicy(kind="lease", lease_seconds=LEASE_SECONDS))
    with ClaimedJob.acquire(joblist, claims, "a", lambda: datetime.now(UTC)) as held:
        held.begin(worker="node:1", rank=0)
        journal = joblist.journal_of("a", held.claim.require_held)
        journal.append(IntentRecord(src_path="/a", dst_path="/b", at_ns=0))
        before = joblist.load("a")
        os.rename(
            os.path.join(joblist.claims_path, "a.1.lease"), os.path.join(joblist.path, "aside")
        )
        for write in (
            lambda: held.log("progress"),
            lambda: held.put_back("handed-back"),
            journal.flush,
        ):
            with pytest.raises(ClaimLostError):
                write()
        assert joblist.load("a") == before
        assert not journal.exists
        assert not [name for name in os.listdir(joblist.path) if name.endswith(".tmp")]


def test_a_marker_is_waited_for_as_long_as_it_says_or_as_the_watch_does(folder, clock):
    marker = folder / "a.1.lease"
    marker.write_bytes(b"a")
    for lease_seconds in (None, 4.0):
        watch = LeaseWatch(9.0, clock)
        assert watch.is_expired(str(marker), lease_seconds) is False
        clock.now += (lease_seconds or 9.0) - 0.5
        assert watch.is_expired(str(marker), lease_seconds) is False
        assert watch.is_undecided is True
        clock.now += 0.5
        assert watch.is_expired(str(marker), lease_seconds) is True
        assert watch.is_undecided is False


def test_a_marker_that_went_and_came_again_is_looked_at_anew(folder, clock):
    marker = folder / "a.1.lease"
    watch = LeaseWatch(9.0, clock)
    assert watch.is_expired(str(marker)) is False
    marker.write_bytes(b"a")
    assert watch.is_expired(str(marker)) is False
    marker.rename(folder / "aside")
    clock.now += 9.0
    assert watch.is_expired(str(marker)) is False
    assert watch.is_undecided is False
    (folder / "aside").rename(marker)
    assert watch.is_expired(str(marker)) is False
    assert watch.is_undecided is True


def test_a_watch_keeps_no_marker_open(folder, clock):
    marker = folder / "a.1.lease"
    marker.write_bytes(b"a")
    before = len(os.listdir("/proc/self/fd"))
    watch = LeaseWatch(9.0, clock)
    for _ in range(3):
        watch.is_expired(str(marker))
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_held_name_is_refused_without_a_wait(base, monkeypatch):
    def waits(seconds):
        raise AssertionError(f"waited {seconds} s")

    lease = acquire(base, LeaseWatch(LEASE_SECONDS))
    monkeypatch.setattr(time, "sleep", waits)
    assert acquire(base, LeaseWatch(LEASE_SECONDS)) is None
    monkeypatch.undo()
    lease.release()


@pytest.mark.parametrize(("back_at", "is_held"), [(1, True), (2, True), (3, False)])
def test_a_marker_that_is_moved_aside_for_a_moment_is_no_loss(base, monkeypatch, back_at, is_held):
    lease = acquire(base, LeaseWatch(LEASE_SECONDS))
    marker = base + ".1.lease"
    waits = []

    def wait(seconds):
        waits.append(seconds)
        if len(waits) == back_at:
            os.rename(base + " aside", marker)

    os.rename(marker, base + " aside")
    with monkeypatch.context() as patched:
        patched.setattr("jobtool.jobs.lease.time.sleep", wait)
        if is_held:
            lease.require_held()
            assert len(waits) == back_at
        else:
            with pytest.raises(ClaimLostError):
                lease.require_held()
            assert len(waits) == 2
    lease.release()


def test_a_lease_that_was_lost_once_stays_lost(base):
    lease = acquire(base, LeaseWatch(LEASE_SECONDS))
    Path(base + ".2.lease").touch()
    with pytest.raises(ClaimLostError):
        lease.require_held()
    os.unlink(base + ".2.lease")
    with pytest.raises(ClaimLostError):
        lease.require_held()
    lease.release()


def test_a_number_below_one_that_is_taken_is_free_because_it_is_over(base):
    Path(base + ".2.lease").write_bytes(b"a")
    watch = LeaseWatch(LEASE_SECONDS)
    assert acquire(base, watch) is None
    assert watch.over[base] == 1
    assert sorted(os.listdir(os.path.dirname(base))) == ["job.2.lease"]
    os.unlink(base + ".2.lease")
    lease = acquire(base, watch)
    assert lease.generation == 2
    lease.release()


def test_a_holder_that_wakes_up_while_it_is_followed_keeps_its_lease(base, clock, monkeypatch):
    marker = Path(base + ".1.lease")
    marker.write_bytes(b"a")
    watch = LeaseWatch(LEASE_SECONDS, clock)
    assert acquire(base, watch) is None
    clock.now = LEASE_SECONDS
    real = SoftFileLease.acquire

    def wakes(soft, *args, **kwargs):
        if soft.lock_file.endswith(".2.lease"):
            os.utime(marker, ns=(1, 1))
        return real(soft, *args, **kwargs)

    monkeypatch.setattr(SoftFileLease, "acquire", wakes)
    assert acquire(base, watch) is None
    assert os.listdir(os.path.dirname(base)) == ["job.1.lease"]


@pytest.mark.parametrize("removed_by_another", [None, 1, 2])
def test_the_markers_of_all_dead_holders_are_removed_the_lowest_first(
    base, clock, monkeypatch, removed_by_another
):
    """If a higher one went first or alone, the holder of the lower could wake up and go on."""
    for number in (1, 2):
        Path(f"{base}.{number}.lease").write_bytes(b"a")
    watch = LeaseWatch(LEASE_SECONDS, clock)
    for _ in range(2):
        assert acquire(base, watch) is None
        clock.now += LEASE_SECONDS
    lease = acquire(base, watch)
    assert lease.generation == 3
    if removed_by_another:
        os.unlink(f"{base}.{removed_by_another}.lease")
    removed = []
    unlink = os.unlink
    with monkeypatch.context() as patched:
        patched.setattr(os, "unlink", lambda path: removed.append(path) or unlink(path))
        lease.remove_older()
    assert removed == [base + ".1.lease", base + ".2.lease"]
    assert os.listdir(os.path.dirname(base)) == ["job.3.lease"]
    lease.require_held()
    lease.release()


def test_a_holder_is_told_by_its_heartbeat_that_its_marker_is_gone(base):
    lost = []
    lease = Lease.acquire(
        base,
        after=0,
        lease_seconds=0.3,
        watch=LeaseWatch(0.3),
        on_loss=lambda: lost.append(True),
    )
    os.rename(base + ".1.lease", base + " aside")
    assert until(lambda: lost) == [True]
    os.rename(base + " aside", base + ".1.lease")  # without heartbeats from now on
    with pytest.raises(ClaimLostError):
        lease.require_held()
    lease.release()


def test_a_lease_that_was_marked_as_lost_is_not_held_though_its_marker_is_there(base):
    lease = acquire(base, LeaseWatch(LEASE_SECONDS))
    lease.lose()
    assert os.path.exists(base + ".1.lease")
    with pytest.raises(ClaimLostError):
        lease.require_held()
    lease.release()
