"""Quantities as text for people: sizes, rates, durations. Job logs and JSON have plain numbers."""

from __future__ import annotations

import re

#: The factors of units' prefixes, in small letters.
DECIMAL_PREFIXES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
BINARY_PREFIXES = {"ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}

_SIZE = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,9})?)\s*([A-Za-z]*)")
_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB")


def size_text(size_bytes: float) -> str:
    """Return a size in binary units, as ``522 KiB`` or ``1.1 GiB``."""
    if size_bytes < 1024:
        return f"{size_bytes:.0f} B"
    size, unit = size_bytes / 1024, 0
    while size >= 999.5 and unit < len(_UNITS) - 1:
        size, unit = size / 1024, unit + 1
    return f"{size:.{1 if size < 99.95 else 0}f} {_UNITS[unit]}"


def parse_size(text: str) -> int:
    """Read a size such as ``256MiB``, ``1.5GB`` or ``1000000``; return it in bytes.

    Raises ``ValueError``, which says what was expected.
    """
    found = _SIZE.fullmatch(text.strip())
    unit = found[2].lower().removesuffix("b") if found else ""
    scale = (DECIMAL_PREFIXES | BINARY_PREFIXES).get(unit)
    if found is None or scale is None:
        raise ValueError(f"expected a size such as 256MiB, 1GB or 1000000; found {text!r}")
    return round(float(found[1]) * scale) if "." in found[1] else int(found[1]) * scale


def rate_text(bytes_per_second: float) -> str:
    """Return a rate, as ``35.2 MiB/s``."""
    return f"{size_text(bytes_per_second)}/s"


def count_text(count: float) -> str:
    """Return a number in a few characters, as ``950``, ``12.3k``, ``1.2M`` or ``20M``."""
    for scale, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= 0.9995 * scale and count >= 1000:
            number = f"{count / scale:.{1 if count < 99.95 * scale else 0}f}"
            return number.removesuffix(".0") + unit
    return f"{count:.0f}"


def duration_text(seconds: float) -> str:
    """Return a duration, as ``0.5 s``, ``12 min 5 s``, ``3 h 12 min`` or ``2 d 3 h``."""
    if seconds < 59.5:
        return f"{seconds:.{1 if seconds < 9.95 else 0}f} s"
    whole = round(seconds)
    if whole < 3600:
        return _two(whole, 60, "min", 1, "s")
    if whole < 86400:
        return _two(whole, 3600, "h", 60, "min")
    return _two(whole, 86400, "d", 3600, "h")


def _two(seconds: int, unit_seconds: int, unit: str, smaller_seconds: int, smaller: str) -> str:
    count, rest = divmod(seconds, unit_seconds)
    rest //= smaller_seconds
    return f"{count} {unit} {rest} {smaller}" if rest else f"{count} {unit}"
