"""What a supervisor does when its worker has ended. tests.cluster tests it with real ranks."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest
from msgspec.structs import replace

from jobtool.cli.rankend import end_rank
from jobtool.jobs.membership import Membership
from jobtool.worker import supervisor
from jobtool.worker.environment import Environment
from jobtool.worker.rankgroup import RankGroup, Tally
from jobtool.worker.supervisor import Ended, SupervisorLink, outlast, supervise

KILLED = Ended(exit_code=137, killed_by=signal.SIGKILL, has_joined=True)
FAILED = Ended(exit_code=2)


@pytest.fixture
def rank_group(folder):
    """The second of two ranks, and the first; both have joined."""

    def rank(number):
        environment = Environment(rank=number, size=2, run="run")
        return RankGroup(str(folder), environment, Membership(str(folder), 30.0))

    os.mkdir(folder / "workers")
    ranks = [rank(0), rank(1)]
    for number, one in enumerate(ranks):
        one.publish(Tally(name=f"worker{number}"), now=True)
    return ranks


def test_a_closed_rank_group_is_not_opened_again_by_a_supervisor(rank_group, folder):
    first, second = rank_group
    first.close()
    assert outlast(KILLED, second) == 0
    assert os.listdir(folder / "runs") == []


def test_a_supervisor_stays_until_the_rank_group_is_closed(rank_group, folder):
    first, second = rank_group
    with Membership(str(folder), 30.0).joined("worker0"):
        ended = []
        waiting = threading.Thread(target=lambda: ended.append(outlast(KILLED, second)))
        waiting.start()
        time.sleep(0.2)
        assert waiting.is_alive()
        first.close()
        waiting.join(30)
    assert ended == [0]


def test_if_nobody_is_left_to_tell_the_code_says_that_work_may_be_left(rank_group):
    assert outlast(KILLED, rank_group[1]) == 3


def test_what_a_failed_rank_ended_with_is_known_to_the_others(rank_group, folder):
    first, second = rank_group
    assert outlast(FAILED, second) == 2
    assert [(tally.exit_code, tally.is_over) for tally in first.tallies()] == [
        (0, False),
        (2, True),
    ]


def in_child(work):
    """Run ``work`` in a supervised child; return how it ended, and the supervisor's handlers."""
    before = {number: signal.getsignal(number) for number in (signal.SIGUSR1, signal.SIGTERM)}
    outcome = supervise(before)
    if isinstance(outcome, SupervisorLink):
        try:
            work(outcome)
        finally:
            os._exit(99)
    during = [signal.getsignal(number) for number in before]
    for number, handler in before.items():
        signal.signal(number, handler)
    return outcome, during


def test_what_a_worker_said_in_order_counts_whatever_befalls_its_process():
    def work(link):
        link.introduce(Environment(rank=1, size=2, run="run"))
        link.joined()
        link.finish(3)
        os.kill(os.getpid(), signal.SIGKILL)

    ended, _ = in_child(work)
    assert (ended.exit_code, ended.in_order, ended.killed_by) == (3, True, None)
    assert ended.environment.rank == 1


def test_a_supervisor_whose_worker_has_ended_forwards_no_signals():
    def work(link):
        os.kill(os.getpid(), signal.SIGKILL)

    ended, signals = in_child(work)
    assert (ended.exit_code, ended.killed_by, ended.environment) == (137, signal.SIGKILL, None)
    assert signals == [signal.SIG_IGN, signal.SIG_IGN]


def test_signals_reach_the_worker_once():
    def work(link):
        got = []
        signal.signal(signal.SIGUSR1, lambda number, frame: got.append(number))
        assert os.getpgid(0) != os.getpgid(os.getppid())
        os.kill(os.getppid(), signal.SIGUSR1)
        deadline = time.monotonic() + 60
        while not got and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.2)  # for a second one
        os._exit(len(got))

    ended, _ = in_child(work)
    assert ended.exit_code == 1


@pytest.mark.parametrize("text", ["~/list", "file://{folder}/list", "{folder}/link"])
def test_the_supervisor_finds_the_joblist_as_its_worker_did(tmp_path, monkeypatch, text):
    (tmp_path / "list").mkdir()
    (tmp_path / "link").symlink_to("list")
    monkeypatch.setenv("HOME", str(tmp_path))
    waited = []
    monkeypatch.setattr(
        supervisor, "outlast", lambda ended, rank_group: waited.append(rank_group) or 3
    )
    ended = replace(KILLED, environment=Environment(rank=1, size=2, run="run"))
    assert end_rank(ended, text.format(folder=tmp_path), as_json=False) == 3
    assert len(waited) == 1
