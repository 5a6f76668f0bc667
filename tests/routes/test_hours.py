"""Times of the day in time zones, over midnight and where clocks are changed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobtool.routes.hours import Hours

ZONES = ("UTC", "Europe/Berlin", "America/Santiago", "Asia/Kathmandu", "Australia/Lord_Howe")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("time", "holds"),
    [
        ("2026-11-27T21:59:59+00:00", False),
        ("2026-11-27T22:00:00+00:00", True),
        ("2026-11-28T00:00:00+00:00", True),
        ("2026-11-28T05:59:59+00:00", True),
        ("2026-11-28T06:00:00+00:00", False),
        ("2026-11-28T07:30:00+02:00", True),
        ("2026-11-28T08:00:00+02:00", False),
    ],
)
def test_hours_go_over_midnight(time: str, holds: bool) -> None:
    assert Hours.parse("22:00-06:00", "UTC").hold(at(time)) is holds


def test_hours_are_by_the_clocks_of_their_time_zone() -> None:
    hours = Hours.parse("22:00-06:00", "America/Santiago")
    assert not hours.hold(at("2026-11-27T22:00+00:00"))
    assert hours.hold(at("2026-11-28T01:00+00:00"))
    assert hours.next(at("2026-11-27T22:00+00:00")) == at("2026-11-28T01:00+00:00")
    # In winter Chile is an hour further from UTC.
    assert not hours.hold(at("2026-07-01T01:59+00:00"))
    assert hours.hold(at("2026-07-01T02:00+00:00"))


def test_a_time_that_clocks_leave_out_is_not_there_that_day() -> None:
    """In Berlin clocks go from 02:00 to 03:00 on 29 March 2026."""
    inside = Hours.parse("02:00-03:00", "Europe/Berlin")
    assert not inside.hold(at("2026-03-29T00:59+00:00"))
    assert not inside.hold(at("2026-03-29T01:00+00:00"))
    assert inside.next(at("2026-03-29T00:59+00:00")) == at("2026-03-30T02:00+02:00")
    across = Hours.parse("02:30-05:00", "Europe/Berlin")
    assert across.next(at("2026-03-29T00:30+00:00")) == at("2026-03-29T03:00+02:00")


def test_a_time_that_comes_twice_holds_twice() -> None:
    """In Berlin clocks go from 03:00 back to 02:00 on 25 October 2026."""
    hours = Hours.parse("02:00-03:00", "Europe/Berlin")
    held = [
        hours.hold(at("2026-10-25T00:00+00:00") + timedelta(minutes=30 * half)) for half in range(5)
    ]
    assert held == [True, True, True, True, False]


@given(
    zone=st.sampled_from(ZONES),
    minutes=st.lists(st.integers(0, 1439), min_size=2, max_size=2, unique=True),
    time=st.datetimes(datetime(1990, 1, 1), datetime(2037, 1, 1)),
)
def test_the_next_opening_is_the_first_minute_within(
    zone: str, minutes: list[int], time: datetime
) -> None:
    begin, end = (f"{minute // 60:02}:{minute % 60:02}" for minute in minutes)
    hours = Hours.parse(f"{begin}-{end}", zone)
    now = time.replace(tzinfo=UTC)
    opens = hours.next(now)
    assert opens is not None
    assert hours.hold(opens)
    assert now <= opens
    if opens != now:
        assert not hours.hold(opens - timedelta(minutes=1))
        local = hours.local(opens)
        earlier = opens - timedelta(minutes=1)
        jumped = local.utcoffset() != hours.local(earlier).utcoffset()
        assert jumped or f"{local:%H:%M}" == begin


@pytest.mark.parametrize(
    ("text", "zone", "expected"),
    [
        ("", "UTC", "such as '22:00-06:00'"),
        ("22-6", "UTC", "such as '22:00-06:00'"),
        ("22:00-06:00,", "UTC", "such as '22:00-06:00'"),
        ("24:00-06:00", "UTC", "from 00:00 to 24:00"),
        ("22:60-06:00", "UTC", "from 00:00 to 24:00"),
        ("22:00-24:01", "UTC", "from 00:00 to 24:00"),
        ("06:00-06:00", "UTC", "two different times"),
        ("22:00-06:00", "Europe/Berlni", "Did you mean 'Europe/Berlin'?"),
        ("22:00-06:00", "../../etc/passwd", "time zone"),
        ("22:00-06:00", "/etc/localtime", "time zone"),
        ("22:00-06:00", "Europe", "time zone"),
        ("22:00-06:00", "a\0b", "time zone"),
        ("22:00-06:00", "x" * 5000, "time zone"),
        ("22:00-06:00", "", "time zone"),
    ],
)
def test_what_is_no_time_of_the_day_is_refused(text: str, zone: str, expected: str) -> None:
    with pytest.raises(ValueError, match="expected") as caught:
        Hours.parse(text, zone)
    assert expected in str(caught.value)


def test_several_times() -> None:
    hours = Hours.parse("08:00-09:00, 22:00-24:00", "UTC")
    held = [hour for hour in range(24) if hours.hold(datetime(2026, 1, 1, hour, tzinfo=UTC))]
    assert held == [8, 22, 23]
    assert hours.text() == "08:00-09:00, 22:00-24:00 (UTC)"
