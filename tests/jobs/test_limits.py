"""The text of ``bandwidth``: rates and timetables."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobtool.errors import JoblistError
from jobtool.jobs.limits import Bandwidth, Period
from jobtool.jobs.settings import decode

OFFICE = "08:00-18:00 50MB/s, else unlimited"


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("200MB/s", 200e6),
        ("200 MB/s", 200e6),
        ("200MB", 200e6),
        ("1.5GB/s", 1.5e9),
        ("50MiB/s", 50 * 2**20),
        ("1Gbit/s", 125e6),
        ("2kB/s", 2e3),
        ("unlimited", None),
    ],
)
def test_a_rate(text: str, rate: float | None) -> None:
    assert Bandwidth.parse(text) == Bandwidth(rest=rate)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "expected a rate such as 200MB/s"),
        ("fast", "found 'fast'"),
        ("-5MB/s", "found '-5MB/s'"),
        ("200Mb/s", "expected B for bytes or bit for bits"),
        ("200MB/h", "found '200MB/h'"),
        ("10B/s", "at least 1kB/s"),
        ("200", "found '200'"),
        ("0MB/s", "'unlimited' for no limit"),
        ("else 5MB/s", "without a time of the day"),
        ("08:00-18:00", "found '08:00-18:00'"),
        ("08:00-08:00 5MB/s", "two different times"),
        ("08:00-25:00 5MB/s", "from 00:00 to 24:00"),
        ("24:00-08:00 5MB/s", "from 00:00 to 24:00"),
        ("08:60-09:00 5MB/s", "from 00:00 to 24:00"),
        ("else 5MB/s, 08:00-18:00 6MB/s", "'else' as the last"),
        ("08:00-18:00 5MB/s, 17:00-19:00 6MB/s", "don't overlap"),
        ("22:00-06:00 5MB/s, 05:00-07:00 6MB/s", "don't overlap"),
        ("08:00-18:00 5MB/s, 6MB/s", "found '6MB/s' in '08:00-18:00 5MB/s, 6MB/s'"),
    ],
)
def test_a_text_that_cant_be_read(text: str, expected: str) -> None:
    with pytest.raises(ValueError, match="expected") as error:
        Bandwidth.parse(text)
    assert expected in str(error.value)


@pytest.mark.parametrize(
    ("text", "time", "rate"),
    [
        (OFFICE, "07:59:59", None),
        (OFFICE, "08:00:00", 50e6),
        (OFFICE, "17:59:59", 50e6),
        (OFFICE, "18:00:00", None),
        ("08:00-18:00 50MB/s", "20:00:00", None),
        ("22:00-06:00 1GB/s, else 10MB/s", "23:59:59", 1e9),
        ("22:00-06:00 1GB/s, else 10MB/s", "00:00:00", 1e9),
        ("22:00-06:00 1GB/s, else 10MB/s", "05:59:59", 1e9),
        ("22:00-06:00 1GB/s, else 10MB/s", "06:00:00", 10e6),
        ("00:00-24:00 5MB/s, else unlimited", "23:59:59", 5e6),
        ("08:00-12:00 5MB/s, 12:00-18:00 unlimited, else 7MB/s", "12:00:00", None),
    ],
)
def test_the_rate_at_a_time_of_the_day(text: str, time: str, rate: float | None) -> None:
    assert Bandwidth.parse(text).at(datetime.time.fromisoformat(time)) == rate


RATES = st.none() | st.integers(1000, 10**13).map(float)


@st.composite
def bandwidths(draw: Any) -> Bandwidth:
    ends = sorted(draw(st.sets(st.integers(0, 1439), max_size=8)))
    spans = list(zip(ends[::2], ends[1::2], strict=False))
    if len(ends) > 2 and draw(st.booleans()):  # the same, shifted over midnight
        spans = list(zip(ends[1::2], [*ends[2::2], ends[0]], strict=False))
    return Bandwidth(tuple(Period(begin, end, draw(RATES)) for begin, end in spans), draw(RATES))


@given(bandwidths())
def test_what_is_written_can_be_read_back(bandwidth: Bandwidth) -> None:
    assert Bandwidth.parse(bandwidth.text()) == bandwidth


@given(bandwidths(), st.integers(0, 1439))
def test_at_most_one_period_holds(bandwidth: Bandwidth, minute: int) -> None:
    holding = [period.rate for period in bandwidth.periods if period.holds(minute)]
    found = bandwidth.at(datetime.time(minute // 60, minute % 60))
    assert [found] == (holding or [bandwidth.rest])


def test_a_joblist_names_the_key_and_the_fault() -> None:
    with pytest.raises(JoblistError, match=r"joblist.toml, transfer: bandwidth: expected B for"):
        decode('format = 1\n[transfer]\nbandwidth = "200Mb/s"', path="joblist.toml")
    with pytest.raises(JoblistError, match="max_requests_per_second: expected a number"):
        decode("format = 1\n[transfer]\nmax_requests_per_second = -1", path="joblist.toml")
