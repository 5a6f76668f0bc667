"""How long a worker without work waits before it looks again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from jobtool.worker.waiting import pause_seconds


def test_the_pause_grows_with_the_idle_time_up_to_a_bound():
    assert pause_seconds(0, 0) == 0.5
    assert pause_seconds(0, 50) == 5
    assert pause_seconds(0, 5000) == 10


def test_where_all_workers_together_read_much_the_bound_is_higher():
    assert pause_seconds(0, 100_000, reads=340 * 1000) == 34
    assert pause_seconds(0, 100_000, reads=340) == 10


@given(
    look=st.floats(0, 100),
    idle=st.floats(0, 10**6),
    reads=st.integers(0, 10**9),
    ranks=st.booleans(),
)
def test_new_work_is_found_at_most_a_tenth_later_and_workers_mostly_sleep(look, idle, reads, ranks):
    pause = pause_seconds(look, idle, for_ranks=ranks, reads=reads)
    assert pause >= 5 * look
    assert pause <= max(0.5, 5 * look, 0.1 * idle)
