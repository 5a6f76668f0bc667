"""How much workers may move: rates as text, and timetables of rates in local time."""

from __future__ import annotations

import datetime
import re

import msgspec

from jobtool.units import BINARY_PREFIXES, DECIMAL_PREFIXES

#: What ``bandwidth`` says where no limit applies.
UNLIMITED = "unlimited"

#: The least rate that can be meant, in bytes a second.
_LEAST = 1000

_RATE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*(?:/\s*(s|sec|second))?")
_RANGE = re.compile(r"([0-9]{1,2}):([0-9]{2})\s*-\s*([0-9]{1,2}):([0-9]{2})\s+(\S.*)")
_ELSE = re.compile(r"else\s+(\S.*)")

_SCALES = {
    **{f"{prefix}b": float(scale) for prefix, scale in DECIMAL_PREFIXES.items()},
    **{f"{prefix}b": float(scale) for prefix, scale in BINARY_PREFIXES.items()},
    **{f"{prefix}bit": scale / 8 for prefix, scale in DECIMAL_PREFIXES.items()},
}
_WRITTEN = ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB"))
_DAY_MINUTES = 24 * 60

_EXPECTED = (
    "expected a rate such as 200MB/s, 50MiB/s or 1Gbit/s, 'unlimited', or a timetable such as "
    "'08:00-18:00 50MB/s, else unlimited'"
)


class Period(msgspec.Struct, frozen=True):
    """A time of the day and its rate in bytes a second, None for no limit.

    ``begin`` and ``end`` are minutes since midnight. The period goes over midnight if ``end`` comes
    before ``begin``. ``end`` itself isn't within.
    """

    begin: int
    end: int
    rate: float | None

    def holds(self, minute: int) -> bool:
        """Return True if a minute of the day is within the period."""
        if self.begin < self.end:
            return self.begin <= minute < self.end
        return minute >= self.begin or minute < self.end

    def text(self) -> str:
        """Return the period as it is written."""
        return f"{_clock(self.begin)}-{_clock(self.end)} {rate_text(self.rate)}"


class Bandwidth(msgspec.Struct, frozen=True):
    """The bytes that may be moved in a second, by the local time of the day.

    ``rest`` applies outside the ``periods``, which don't overlap. None is no limit.
    """

    periods: tuple[Period, ...] = ()
    rest: float | None = None

    @classmethod
    def parse(cls, text: str) -> Bandwidth:
        """Read a rate or a timetable; raises ``ValueError``, which says what was expected.

        What a timetable leaves open, without ``else``, isn't limited.
        """
        entries = [entry.strip() for entry in text.split(",")]
        if len(entries) == 1 and not _RANGE.fullmatch(entries[0]):
            if _ELSE.fullmatch(entries[0]):
                raise ValueError(f"{_EXPECTED}; found 'else' without a time of the day: {text!r}")
            return cls(rest=_rate(entries[0], text))
        periods: list[Period] = []
        rest: float | None = None
        for index, entry in enumerate(entries):
            otherwise = _ELSE.fullmatch(entry)
            if otherwise is not None:
                if index != len(entries) - 1:
                    raise ValueError(f"expected 'else' as the last of a timetable; found {text!r}")
                rest = _rate(otherwise[1], text)
                continue
            found = _RANGE.fullmatch(entry)
            if found is None:
                raise ValueError(f"{_EXPECTED}; found {entry!r}" + _within(entry, text))
            begin = _minute(found[1], found[2], entry)
            end = _minute(found[3], found[4], entry, is_end=True)
            if begin == end:
                raise ValueError(
                    f"expected two different times, or a rate alone for the whole day; found "
                    f"{entry!r}"
                )
            period = Period(begin, end, _rate(found[5], text))
            for other in periods:
                if other.holds(begin) or period.holds(other.begin):
                    raise ValueError(
                        f"expected periods that don't overlap; found {other.text()!r} and "
                        f"{period.text()!r}"
                    )
            periods.append(period)
        return cls(tuple(periods), rest)

    def at(self, time: datetime.time) -> float | None:
        """Return the bytes that may be moved in a second at a local time; None for no limit."""
        minute = time.hour * 60 + time.minute
        for period in self.periods:
            if period.holds(minute):
                return period.rate
        return self.rest

    def text(self) -> str:
        """Return the text that ``parse`` reads."""
        if not self.periods:
            return rate_text(self.rest)
        entries = [period.text() for period in self.periods]
        return ", ".join([*entries, f"else {rate_text(self.rest)}"])


def _rate(word: str, text: str) -> float | None:
    if word == UNLIMITED:
        return None
    found = _RATE.fullmatch(word)
    unit = found[2] if found else ""
    if found is None or unit.lower() not in _SCALES:
        raise ValueError(f"{_EXPECTED}; found {word!r}" + _within(word, text))
    if unit.endswith("b"):  # megabits to some, megabytes to others
        raise ValueError(
            f"expected B for bytes or bit for bits, such as 200MB/s or 200Mbit/s; found {word!r}"
        )
    rate = float(found[1]) * _SCALES[unit.lower()]
    if rate < _LEAST:
        raise ValueError(f"expected at least 1kB/s, or 'unlimited' for no limit; found {word!r}")
    return rate


def _within(entry: str, text: str) -> str:
    return "" if entry == text else f" in {text!r}"


def _minute(hours: str, minutes: str, entry: str, *, is_end: bool = False) -> int:
    minute = int(hours) * 60 + int(minutes)
    if int(minutes) > 59 or minute > _DAY_MINUTES or (minute == _DAY_MINUTES and not is_end):
        raise ValueError(f"expected times from 00:00 to 24:00; found {entry!r}")
    return minute


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


def rate_text(rate: float | None) -> str:
    """Return a rate in bytes a second as it is written: ``200MB/s``, or ``unlimited``."""
    if rate is None:
        return UNLIMITED
    for scale, unit in _WRITTEN:
        number = f"{rate / scale:.15g}"
        if rate >= scale and "e" not in number and float(number) * scale == rate:
            return f"{number}{unit}/s"
    return f"{rate:f}".rstrip("0").rstrip(".") + "B/s"
