"""Bounds of ranges: the types of columns that have them, and their text in job files.

A text is the type and the value, on one line: ``int 5``, ``decimal 1.50``, ``float 1.5``,
``date 2024-01-01``, ``timestamp 2024-01-01T00:00:00.000001``, ``timestamptz 2024-01-01T00:00:00Z``,
``text abc``. A text's value is written as ``jobtool.names.quote`` writes a name.
"""

from __future__ import annotations

import datetime
import decimal
import math
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from jobtool.errors import JobFileError
from jobtool.names import quote, unquote
from jobtool.queries.dialect import Dialect, Value

if TYPE_CHECKING:
    import pyarrow as pa

#: What a column must be to be split by, for messages.
SPLITTABLE = "a number, a date, a timestamp or a text"

#: Longer texts don't become bounds: job files and queries stay readable.
_MOST_CHARACTERS = 1000

_EPOCH = datetime.datetime(1970, 1, 1)
_DAY_OF_EPOCH = datetime.date(1970, 1, 1).toordinal()
_MICROSECONDS = {"s": 1_000_000, "ms": 1_000, "us": 1}

_DATE = r"\d{4}-\d{2}-\d{2}"
_TIME = _DATE + r"T\d{2}:\d{2}:\d{2}(?:\.\d{6})?"
_FORMS = {
    "int": re.compile(r"-?\d{1,80}", re.ASCII),
    "decimal": re.compile(r"-?\d{1,80}(?:\.\d{1,80})?", re.ASCII),
    "float": re.compile(r"-?\d{1,20}(?:\.\d{1,20})?(?:e[+-]?\d{1,4})?", re.ASCII),
    "date": re.compile(_DATE, re.ASCII),
    "timestamp": re.compile(_TIME, re.ASCII),
    "timestamptz": re.compile(_TIME + "Z", re.ASCII),
}


def has_bounds(column_type: pa.DataType) -> bool:
    """Return whether a column of that type can be split by. UUIDs are texts in queries.

    Truth values have no bounds that all databases compare. Enumerations have none because DuckDB
    sorts them by their declaration, but compares them with a literal as texts.
    """
    from pyarrow import types

    if _is_uuid(column_type):
        return True
    column_type = getattr(column_type, "storage_type", column_type)
    return any(
        is_type(column_type)
        for is_type in (
            *(types.is_integer, types.is_floating, types.is_decimal, types.is_null),
            *(types.is_date, types.is_timestamp),
            *(types.is_string, types.is_large_string, types.is_string_view),
        )
    )


def values_of(column: pa.ChunkedArray, dialect: Dialect) -> list[Value | None]:
    """Return the values of a column as bounds. None stands for what can't be a bound.

    NULLs can't, and neither can NaN, infinities, years beyond 1 to 9999, texts with NUL or of more
    than 1,000 characters. Nanoseconds are cut to microseconds, towards the past.
    """
    return [
        value if value is not None and _can_bound(value, dialect) else None
        for value in _read(column)
    ]


def encode_value(value: Value) -> str:
    """Return a bound as text. Raises ``ValueError`` for one that ``decode_value`` doesn't return.

    A timestamp with a zone is written in UTC.
    """
    if isinstance(value, bool):
        raise ValueError(f"expected {SPLITTABLE}; found a truth value")  # noqa: TRY004
    if isinstance(value, int):
        text = f"int {value}"
    elif isinstance(value, float):
        text = f"float {value!r}"
    elif isinstance(value, decimal.Decimal):
        text = f"decimal {value:f}"
    elif isinstance(value, datetime.datetime):
        if value.tzinfo is None:
            text = f"timestamp {value.isoformat()}"
        else:
            utc = value.astimezone(datetime.UTC).replace(tzinfo=None)
            text = f"timestamptz {utc.isoformat()}Z"
    elif isinstance(value, datetime.date):
        text = f"date {value.isoformat()}"
    else:
        text = f"text {quote(value)}"
    try:
        decode_value(text)
    except JobFileError as error:
        raise ValueError(str(error)) from None
    return text


def decode_value(text: str) -> Value:
    """Read a bound that ``encode_value`` wrote. Raises ``JobFileError`` for any other text."""
    kind, _, written = text.partition(" ")
    if kind == "text":
        value = unquote(written)
        if "\0" in value or not _is_unicode(value) or not written:
            raise JobFileError(f"expected a text in Unicode without NUL; found {_shown(text)}")
        return value
    form = _FORMS.get(kind)
    if form is None or not form.fullmatch(written):
        raise JobFileError(
            "expected a bound such as int 5, decimal 1.50, float 1.5, date 2024-01-31, "
            "timestamp 2024-01-31T12:00:00, timestamptz 2024-01-31T12:00:00Z or text abc; "
            f"found {_shown(text)}"
        )
    try:
        return _decoded(kind, written)
    except ValueError as error:
        raise JobFileError(f"expected a valid {kind}; found {_shown(text)}: {error}") from None


def _decoded(kind: str, written: str) -> Value:
    if kind == "int":
        return int(written)
    if kind == "decimal":
        return decimal.Decimal(written)
    if kind == "float":
        value = float(written)
        if math.isinf(value):
            raise ValueError("the number is too large")
        return value
    if kind == "date":
        return datetime.date.fromisoformat(written)
    return datetime.datetime.fromisoformat(written)


def _read(column: pa.ChunkedArray) -> Iterable[Value | None]:
    import pyarrow as pa

    kind = column.type
    if _is_uuid(kind):
        return [None if value is None else str(value) for value in column.to_pylist()]
    if isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
        column = column.cast(kind)
    if pa.types.is_timestamp(kind):
        zone = datetime.UTC if kind.tz else None
        return [_timestamp(value, kind.unit, zone) for value in column.cast(pa.int64()).to_pylist()]
    if pa.types.is_date(kind):
        days = column.cast(pa.date32()).cast(pa.int32()).to_pylist()
        return [_date(value) for value in days]
    return list[Any](column.to_pylist())


def _is_uuid(column_type: pa.DataType) -> bool:
    return getattr(column_type, "extension_name", None) == "arrow.uuid"


def _timestamp(
    value: int | None, unit: str, zone: datetime.timezone | None
) -> datetime.datetime | None:
    if value is None:
        return None
    microseconds = value // 1000 if unit == "ns" else value * _MICROSECONDS[unit]
    try:
        time = _EPOCH + datetime.timedelta(microseconds=microseconds)
    except OverflowError:
        return None
    return time.replace(tzinfo=zone)


def _date(value: int | None) -> datetime.date | None:
    if value is None:
        return None
    try:
        return datetime.date.fromordinal(_DAY_OF_EPOCH + value)
    except (ValueError, OverflowError):
        return None


def _can_bound(value: Value, dialect: Dialect) -> bool:
    if isinstance(value, str) and len(value) > _MOST_CHARACTERS:
        return False
    try:
        dialect.value(value)
        encode_value(value)
    except ValueError:
        return False
    return True


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shown(text: str) -> str:
    return ascii(text[:100])
