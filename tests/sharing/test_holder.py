"""How large the batches are that a holder shares, and what it tells those who wait for one."""

from __future__ import annotations

from collections import deque
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobtool.jobs.claim import Claims
from jobtool.jobs.claimpolicy import ClaimPolicy
from jobtool.jobs.journal import Journal
from jobtool.sharing.batches import Batches
from jobtool.sharing.holder import WorkSharing
from jobtool.sharing.portions import portion_of
from jobtool.stores.memory import Memory, MemoryStore
from jobtool.stores.store import Entry
from jobtool.transfer.checksum import PartRange
from jobtool.transfer.filequeue import FileQueue
from jobtool.transfer.ledger import Ledger
from jobtool.transfer.partqueue import PartQueues, last_in_a_row
from jobtool.transfer.plan import Plan, Route
from jobtool.transfer.policies import Policies

COUNTS = st.integers(1, 1000)


@given(left=st.integers(0, 10**6), helpers=COUNTS, threads=COUNTS)
def test_a_batch_is_a_share_or_what_keeps_a_helpers_threads_busy(left, helpers, threads):
    portion = portion_of(left, helpers=helpers, threads=threads)
    assert min(left, threads) <= portion <= left
    # More than that only while each worker, the holder too, could have two batches of the size.
    assert portion == min(left, threads) or 2 * (helpers + 1) * portion <= left


@given(left=COUNTS, helpers=COUNTS, threads=COUNTS)
def test_batches_never_grow_and_come_to_an_end(left, helpers, threads):
    portions = []
    while left:
        portions.append(portion_of(left, helpers=helpers, threads=threads))
        left -= portions[-1]
    assert portions == sorted(portions, reverse=True)


@pytest.fixture
def both(folder):
    """The sharing of a holder, and the batches as a helper sees them; each look is afresh."""
    claims = Claims(str(folder), ClaimPolicy(kind="lock"))
    path = str(folder / "job.blocks")
    mine, theirs = (Batches(path, claims, monotonic=count(step=10).__next__) for _ in range(2))
    plan = Plan()
    plan.start_route(
        Route(MemoryStore(Memory(), "memory://a"), MemoryStore(Memory(), "memory://b"))
    )
    plan.add(Entry("large", 1, 1))
    ledger = Ledger(plan, Journal(str(folder / "job.jsonl")))
    sharing = WorkSharing(mine, ledger, policies=Policies(), threads=1, on_return=print)
    return sharing, theirs, plan.item(0)


def test_while_there_may_be_something_to_share_helpers_are_asked_to_stay(both):
    sharing, helper, item = both
    files, parts = FileQueue([]), PartQueues()
    with parts.expected(item):
        sharing.consume(files, parts)
        assert helper.is_closed, "nobody has asked, so that there is no folder"
        helper.offer("one")
        assert not helper.is_asked_to_stay
        assert not helper.is_closed
        sharing.consume(files, parts)  # the file is hashed, say, and no part can be sent yet
        assert helper.is_asked_to_stay
        assert not helper.is_closed
    sharing.consume(files, parts)
    assert helper.is_closed


@given(numbers=st.sets(st.integers(1, 60)), held=st.sets(st.integers(1, 60)), most=COUNTS)
def test_parts_of_a_batch_follow_each_other_and_none_was_sent_before(numbers, held, most):
    before = [PartRange(number, 10 * number, 10) for number in sorted(numbers)]
    todo = deque(before)
    parts = last_in_a_row(todo, most, dict.fromkeys(held))
    batch = [number for number, _, _ in parts]
    assert batch == [*range(batch[0], batch[-1] + 1)] if batch else numbers <= held
    assert not held & {*batch}
    assert len(batch) <= most
    assert sorted([*todo, *parts]) == before
    assert [*todo] == sorted(todo)
    if batch:  # what comes after is held
        assert {number for number in numbers if number > batch[-1]} <= held
