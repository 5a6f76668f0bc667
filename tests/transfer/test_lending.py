"""How large the blocks are that a holder lends."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from jobtool.transfer.lending import portion_of

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
