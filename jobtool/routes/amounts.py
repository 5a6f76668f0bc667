"""Amounts of data as text: ``30TB``, ``500GiB``, and shares of a filesystem such as ``10%``."""

from __future__ import annotations

import math
import re

import msgspec

from jobtool.units import size_text

#: The largest amount: 2**63 - 1 bytes, as much as an int64 of a filesystem or a table holds.
MOST_BYTES = (1 << 63) - 1

_AMOUNT = re.compile(r"([0-9]{1,20}(?:\.[0-9]{1,20})?)\s*([A-Za-z%]*)")
_SCALES = {
    "": 1,
    **{f"{prefix}b": 1000**power for power, prefix in enumerate(("", "k", "m", "g", "t", "p"))},
    **{f"{prefix}ib": 1024**power for power, prefix in enumerate(("k", "m", "g", "t", "p"), 1)},
}
_EXPECTED = "expected bytes, such as 5000000, 500GB, 30TB or 2TiB"


class Space(msgspec.Struct, frozen=True):
    """Room in a location: a number of bytes, or a percentage of its filesystem. One is None.

    ``written`` is how the file has it.
    """

    size_bytes: int | None = None
    percent: float | None = None
    written: str = ""

    def of(self, total_bytes: int | None) -> int | None:
        """Return the bytes that this is of a filesystem's total; None if that isn't known."""
        if self.percent is None:
            return self.size_bytes
        return None if total_bytes is None else math.ceil(total_bytes * self.percent / 100)

    def text(self) -> str:
        """Return the amount for people: as it was written, or in binary units."""
        if self.written:
            return self.written
        return size_text(self.size_bytes or 0) if self.percent is None else f"{self.percent:g}%"


def parse_bytes(value: object) -> int:
    """Return a number of bytes, from a number or a text such as ``30TB``. Raises ``ValueError``."""
    try:
        found = parse_space(value).size_bytes
    except ValueError:
        found = None
    if found is None:
        raise ValueError(f"{_EXPECTED}, at most {MOST_BYTES}; found {value!r}")
    return found


def parse_space(value: object) -> Space:
    """Return an amount or a percentage, from a number of bytes or a text. Raises ``ValueError``."""
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise ValueError(f"{_EXPECTED}; found {value!r}")  # noqa: TRY004 - one error for a reader
    written = value.strip() if isinstance(value, str) else ""
    found = _AMOUNT.fullmatch(str(value).strip())
    unit = found[2].lower() if found else ""
    if found is None or (unit != "%" and unit not in _SCALES):
        raise ValueError(f"{_EXPECTED}, or a percentage such as 10%; found {value!r}")
    if unit == "%":
        percent = float(found[1])
        if percent > 100:
            raise ValueError(f"expected at most 100%; found {value!r}")
        return Space(percent=percent, written=written)
    # Whole numbers stay exact: a float has 53 bits.
    number = float(found[1]) if "." in found[1] else int(found[1])
    if number * _SCALES[unit] > MOST_BYTES:
        raise ValueError(f"expected at most {MOST_BYTES} bytes; found {value!r}")
    return Space(size_bytes=int(number * _SCALES[unit]), written=written)
