"""The least and the greatest value of a column."""

from __future__ import annotations

import datetime
import decimal
import math
from typing import TYPE_CHECKING, Any

from jobtool.errors import UsageError
from jobtool.export.arrowtypes import plain, values_type

if TYPE_CHECKING:
    import pyarrow as pa

#: A value as it stands in JSON.
Extreme = bool | int | float | str

#: Digits behind the point of a second.
_DIGITS = {"s": 0, "ms": 3, "us": 6, "ns": 9}

_SECONDS_OF_DAY = 86_400
_DAYS_OF_400_YEARS = 146_097


class Extremes:
    """The least and the greatest value of a column of blocks.

    Nulls and NaN are passed over. Texts and binary values are compared by their bytes. Raises
    ``UsageError`` from ``update`` if the column isn't there, or has a type without an order.

    ``minimum`` and ``maximum`` are for JSON. Truth values, integers and finite floats are what they
    are in JSON. All else is a text:

    - infinite floats: ``inf``, ``-inf``
    - decimals: all digits, without an exponent: ``12.30``
    - binary values: hexadecimal digits: ``00ff``
    - dates: ``2024-01-31``
    - times: ``12:34:56.789``, with as many digits as the unit of the column has
    - timestamps: ``2024-01-31T12:34:56.789``; with a zone in UTC, ``2024-01-31T12:34:56.789Z``
    - durations: seconds: ``86403.500``

    Years below 0 or above 9999 have a sign and at least 4 digits: ``-0044-03-15``,
    ``+10000-01-01``.
    """

    def __init__(self, column: str) -> None:
        self._column = column
        self._kind: Any = None
        self._least: Any = None
        self._greatest: Any = None

    def update(self, block: pa.RecordBatch) -> None:
        """Add rows."""
        import pyarrow as pa
        import pyarrow.compute as pc
        from pyarrow import types

        places = block.schema.get_all_field_indices(self._column)
        if len(places) != 1:
            raise UsageError(
                f"expected one column {self._column!r} to take the least and greatest value of; "
                f"found {len(places)} in {', '.join(map(repr, block.schema.names))}"
            )
        array = plain(block.column(places[0]))
        if types.is_null(array.type):
            return
        self._kind = values_type(block.schema.field(places[0]).type)
        if types.is_floating(array.type):
            if types.is_float16(array.type):
                array = array.cast(pa.float32())
            array = array.filter(pc.invert(pc.is_nan(array)))
        elif types.is_duration(array.type):
            array = array.view(pa.int64())
        elif types.is_decimal(array.type) and array.type.bit_width < 128:
            array = array.cast(pa.decimal128(array.type.precision, array.type.scale))
        try:
            found = pc.min_max(array)
        except pa.ArrowNotImplementedError:
            raise UsageError(
                f"column {self._column!r}: values of the type {self._kind} have no order"
            ) from None
        least, greatest = (_number(found[name]) for name in ("min", "max"))
        if least is not None:
            self._least = least if self._least is None else min(self._least, least)
            self._greatest = greatest if self._greatest is None else max(self._greatest, greatest)

    @property
    def minimum(self) -> Extreme | None:
        """The least value; None without values."""
        return None if self._least is None else _text(self._least, self._kind)

    @property
    def maximum(self) -> Extreme | None:
        """The greatest value; None without values."""
        return None if self._greatest is None else _text(self._greatest, self._kind)


def _number(scalar: Any) -> Any:
    """Return a scalar as a value that can be compared; dates and times in units, texts as bytes."""
    from pyarrow import types

    kind = scalar.type
    if types.is_date(kind) or types.is_time(kind) or types.is_timestamp(kind):
        return scalar.value
    value = scalar.as_py()
    return value.encode() if isinstance(value, str) else value


def _text(value: Any, kind: Any) -> Extreme:
    """Return what ``_number`` returned as it stands in JSON."""
    from pyarrow import types

    if isinstance(value, bytes):
        is_text = types.is_string(kind) or types.is_large_string(kind)
        return value.decode() if is_text or types.is_string_view(kind) else value.hex()
    if isinstance(value, decimal.Decimal):
        return format(value, "f")
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if types.is_date32(kind):
        return _date(value)
    if types.is_date64(kind):
        return _date(value // 86_400_000)
    if types.is_time(kind):
        return _clock(value, kind.unit)
    if types.is_timestamp(kind):
        days, rest = divmod(value, _SECONDS_OF_DAY * 10 ** _DIGITS[kind.unit])
        return f"{_date(days)}T{_clock(rest, kind.unit)}{'Z' if kind.tz is not None else ''}"
    if types.is_duration(kind):
        return f"{'-' if value < 0 else ''}{_seconds(abs(value), kind.unit)}"
    assert isinstance(value, bool | int | float)
    return value


def _date(days: int) -> str:
    """Return the date that is so many days after 1970-01-01, for any year."""
    # Python's dates end with the year 9999. The calendar repeats after 400 years.
    ordinal = datetime.date(1970, 1, 1).toordinal() + days
    cycles, rest = divmod(ordinal - 1, _DAYS_OF_400_YEARS)
    date = datetime.date.fromordinal(rest + 1)
    year = date.year + 400 * cycles
    sign = "-" if year < 0 else "+" if year > 9999 else ""
    return f"{sign}{abs(year):04}-{date.month:02}-{date.day:02}"


def _clock(value: int, unit: str) -> str:
    minutes, rest = divmod(value, 60 * 10 ** _DIGITS[unit])
    seconds = _seconds(rest, unit)
    padding = "0" if rest < 10 ** (_DIGITS[unit] + 1) else ""
    return f"{minutes // 60:02}:{minutes % 60:02}:{padding}{seconds}"


def _seconds(value: int, unit: str) -> str:
    digits = _DIGITS[unit]
    whole, rest = divmod(value, 10**digits)
    return f"{whole}.{rest:0{digits}}" if digits else str(whole)
