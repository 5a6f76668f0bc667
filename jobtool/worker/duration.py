"""Durations as users write them."""

from __future__ import annotations

import re

#: The longest duration that is accepted: ten years.
LONGEST_SECONDS = 10 * 365 * 86400

_UNIT_SECONDS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_BY_UNITS = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
_BY_COLONS = re.compile(r"(?:(\d+)-)?(\d+):(\d{1,2}):(\d{1,2})")


def parse_duration(text: str) -> float:
    """Return a duration in seconds.

    Accept forms such as ``11h30m``, ``90m``, ``45s``, ``1d``, ``12:00:00`` and ``1-12:00:00``. A
    bare number is refused, because schedulers differ in its unit. Raises ``ValueError`` for
    anything else, for a duration of 0, and for a duration of more than ten years.
    """
    text = text.strip().lower()
    by_units = _BY_UNITS.fullmatch(text)
    by_colons = _BY_COLONS.fullmatch(text)
    if text and by_units is not None:
        numbers = by_units.groups()
    elif by_colons is not None:
        numbers = by_colons.groups()
    else:
        raise ValueError(
            f"expected a duration such as 11h30m, 45m, 90s, 12:00:00 or 1-12:00:00; found {text!r}"
        )
    scale = _UNIT_SECONDS.values()
    seconds = sum(int(number or 0) * unit for number, unit in zip(numbers, scale, strict=True))
    if not seconds:
        raise ValueError(f"expected a duration above 0; found {text!r}")
    if seconds > LONGEST_SECONDS:
        raise ValueError(f"expected a duration of at most ten years; found {text!r}")
    return float(seconds)
