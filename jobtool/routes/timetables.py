"""The least of several limits on bandwidth, minute by minute of the day."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from jobtool.jobs.limits import Bandwidth, Period

_DAY_MINUTES = 24 * 60


def least(limits: Sequence[Bandwidth | None]) -> Bandwidth | None:
    """Return the limit that keeps all of them at any time of the day; None for no limits."""
    given = [limit for limit in limits if limit is not None]
    if len(given) < 2:
        return given[0] if given else None
    rates = [_least_at(minute, given) for minute in range(_DAY_MINUTES)]
    rest = max(dict.fromkeys(rates), key=rates.count)
    runs = [
        (rate, [minute for minute, _ in group])
        for rate, group in groupby(enumerate(rates), key=lambda pair: pair[1])
    ]
    periods = [Period(minutes[0], minutes[-1] + 1, rate) for rate, minutes in runs if rate != rest]
    return Bandwidth(tuple(periods), rest)


def _least_at(minute: int, limits: Sequence[Bandwidth]) -> float | None:
    found: float | None = None
    for limit in limits:
        rate = next((each.rate for each in limit.periods if each.holds(minute)), limit.rest)
        if rate is not None and (found is None or rate < found):
            found = rate
    return found
