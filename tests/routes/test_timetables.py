"""The least of several limits, at each minute of the day."""

from __future__ import annotations

from datetime import time

from hypothesis import given
from hypothesis import strategies as st

from jobtool.jobs.limits import Bandwidth
from jobtool.routes.timetables import least

_RATES = st.sampled_from(["1MB/s", "5MB/s", "1GB/s", "unlimited"])


@st.composite
def limits(draw: st.DrawFn) -> Bandwidth:
    cuts = sorted(draw(st.sets(st.integers(0, 1439), min_size=2, max_size=6)))
    clocks = [f"{cut // 60:02}:{cut % 60:02}" for cut in cuts]
    entries = [
        f"{begin}-{end} {draw(_RATES)}"
        for begin, end in zip(clocks[::2], clocks[1::2], strict=False)
    ]
    return Bandwidth.parse(", ".join([*entries, f"else {draw(_RATES)}"]))


@given(st.lists(limits() | st.none(), max_size=3))
def test_the_least_holds_at_each_minute_and_can_be_written(given_limits: list) -> None:
    found = least(given_limits)
    known = [limit for limit in given_limits if limit is not None]
    assert (found is None) == (not known)
    if found is None:
        return
    for minute in range(0, 1440, 7):
        clock = time(minute // 60, minute % 60)
        rates = [limit.at(clock) for limit in known]
        wanted = min((rate for rate in rates if rate is not None), default=None)
        assert found.at(clock) == wanted
    assert Bandwidth.parse(found.text()).at(time(12)) == found.at(time(12))
