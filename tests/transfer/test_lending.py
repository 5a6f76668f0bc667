"""How large the blocks are that a holder lends, and what it tells those who wait for one."""

from __future__ import annotations

from collections import deque
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobtool.jobs.blocks import Blocks
from jobtool.jobs.claim import Claims
from jobtool.jobs.claimpolicy import ClaimPolicy
from jobtool.transfer.lending import Lending, portion_of
from jobtool.transfer.lentparts import _last_in_a_row

COUNTS = st.integers(1, 1000)


@given(left=st.integers(0, 10**6), helpers=COUNTS, threads=COUNTS)
def test_a_block_is_a_share_or_what_keeps_a_helpers_threads_busy(left, helpers, threads):
    portion = portion_of(left, helpers=helpers, threads=threads)
    assert min(left, threads) <= portion <= left
    # More than that only while each worker, the holder too, could have two blocks of the size.
    assert portion == min(left, threads) or 2 * (helpers + 1) * portion <= left


@given(left=COUNTS, helpers=COUNTS, threads=COUNTS)
def test_blocks_never_grow_and_come_to_an_end(left, helpers, threads):
    portions = []
    while left:
        portions.append(portion_of(left, helpers=helpers, threads=threads))
        left -= portions[-1]
    assert portions == sorted(portions, reverse=True)


@pytest.fixture
def both(folder):
    """The lending of a holder, and the blocks as a helper sees them; each look is afresh."""
    claims = Claims(str(folder), ClaimPolicy(kind="lock"))
    path = str(folder / "job.blocks")
    mine, theirs = (Blocks(path, claims, monotonic=count(step=10).__next__) for _ in range(2))
    lending = Lending(
        mine,
        attempt=1,
        if_exists="verify",
        verify="digest",
        preserve="mode,times",
        threads=1,
        on_return=print,
    )
    return lending, theirs


def test_while_there_may_be_something_to_lend_helpers_are_asked_to_stay(both):
    lending, helper = both
    lending.answer(may_lend=True)
    assert helper.is_closed, "nobody has asked, so that there is no folder"
    helper.offer("one")
    assert not helper.is_asked_to_stay
    assert not helper.is_closed
    with lending.may_lend():  # a large file is hashed, say, and its parts can't be lent yet
        lending.answer(may_lend=False)
    assert helper.is_asked_to_stay
    assert not helper.is_closed
    lending.answer(may_lend=False)
    assert helper.is_closed


@given(numbers=st.sets(st.integers(1, 60)), held=st.sets(st.integers(1, 60)), most=COUNTS)
def test_parts_of_a_block_follow_each_other_and_none_was_sent_before(numbers, held, most):
    before = [(number, 10 * number, 10) for number in sorted(numbers)]
    todo = deque(before)
    parts = _last_in_a_row(todo, most, held)
    block = [number for number, _, _ in parts]
    assert block == [*range(block[0], block[-1] + 1)] if block else numbers <= held
    assert not held & {*block}
    assert len(block) <= most
    assert sorted([*todo, *parts]) == before
    assert [*todo] == sorted(todo)
    if block:  # what comes after is held
        assert {number for number in numbers if number > block[-1]} <= held
