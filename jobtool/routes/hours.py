"""Times of the day at which a route may be used, in a time zone."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import msgspec

from jobtool.jobs.limits import Period
from jobtool.suggest import did_you_mean

_RANGE = re.compile(r"([0-9]{1,2}):([0-9]{2})\s*-\s*([0-9]{1,2}):([0-9]{2})")
_EXPECTED = "expected times of the day such as '22:00-06:00', or several with commas"
_MINUTE = timedelta(minutes=1)

#: How far ahead an opening is looked for. A period that a change of the clocks leaves out is there
#: again a day later.
_DAYS_AHEAD = 3


class Hours(msgspec.Struct, frozen=True):
    """Times of the day, by the clocks of the time zone ``zone``.

    Where clocks are set forward, a time that they leave out isn't there that day. Where they are
    set back, a time that comes twice holds twice.
    """

    periods: tuple[Period, ...]
    zone: str

    @classmethod
    def parse(cls, text: str, zone: str) -> Hours:
        """Read ``22:00-06:00``; raises ``ValueError``, also for a time zone that isn't known."""
        time_zone(zone)
        return cls(tuple(_period(entry.strip(), text) for entry in text.split(",")), zone)

    def hold(self, at: datetime) -> bool:
        """Return True if the time is within; ``at`` has a time zone."""
        local = self.local(at)
        minute = local.hour * 60 + local.minute
        return any(period.holds(minute) for period in self.periods)

    def next(self, at: datetime) -> datetime | None:
        """Return the first whole minute from ``at`` on that is within, in this time zone.

        It is ``at`` itself if that is within, and None if there is none within three days.
        """
        if self.hold(at):
            return self.local(at)
        moment = at.astimezone(UTC).replace(second=0, microsecond=0)
        for _ in range(_DAYS_AHEAD * 24 * 60):
            moment += _MINUTE
            if self.hold(moment):
                return self.local(moment)
        return None

    def local(self, at: datetime) -> datetime:
        """Return a time by the clocks of the time zone."""
        return at.astimezone(time_zone(self.zone))

    def text(self) -> str:
        """Return the times with their time zone."""
        shown = ", ".join(f"{_clock(each.begin)}-{_clock(each.end)}" for each in self.periods)
        return f"{shown} ({self.zone})"


def time_zone(name: str) -> ZoneInfo:
    """Return a time zone of the IANA database by its name. Raises ``ValueError``."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # a folder of the database is no time zone
        known = available_timezones()
        if not known:
            raise ValueError(
                f"expected a time zone; found {name!r}, and no time zones on this machine. Install "
                "its package tzdata, or: pip install tzdata."
            ) from None
        raise ValueError(
            f"expected a time zone such as 'Europe/Berlin' or 'UTC'; found {name!r}."
            f"{did_you_mean(name, sorted(known))}"
        ) from None


def _period(entry: str, text: str) -> Period:
    found = _RANGE.fullmatch(entry)
    if found is None:
        raise ValueError(f"{_EXPECTED}; found {text!r}")
    begin, end = (int(found[at]) * 60 + int(found[at + 1]) for at in (1, 3))
    if int(found[2]) > 59 or int(found[4]) > 59 or begin >= 24 * 60 or end > 24 * 60:
        raise ValueError(f"expected times from 00:00 to 24:00; found {entry!r}")
    if begin == end:
        raise ValueError(f"expected two different times; found {entry!r}")
    return Period(begin, end, None)


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"
