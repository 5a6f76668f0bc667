"""Arrow types for rows of Python objects, as drivers of the DB-API (PEP 249) give them.

The rule, which is the same each time: the first ``FIRST_ROWS`` rows decide, and all rows get what
they decide.

- ``bool``, ``float``, ``str``, ``bytes``, ``date``, ``time``, ``timedelta`` are Arrow's types of
  the same names; times have microseconds. ``int`` is int64, or decimal128(38, 0) where a number
  needs more. Whole numbers among floats are floats, among decimals decimals.
- ``Decimal`` is decimal128 or decimal256 with the precision and scale of the cursor's description.
  Without them it has 38 digits, and as many of them behind the point as the first rows have.
- ``datetime`` with an offset is a timestamp in UTC, without one a timestamp without zone.
- ``UUID`` is text, ``dict`` is text in JSON, ``list`` and ``tuple`` are lists.
- A column without a value in the first rows is what the cursor's description says: text, binary,
  timestamp, int64, decimal, double; else text.

A later value that doesn't fit fails the query and names the column.
"""

from __future__ import annotations

import datetime
import decimal
import json
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from jobtool.errors import QueryFailedError, QueryRefusedError

#: How many rows decide.
FIRST_ROWS = 1000

_NONE = type(None)
_BINARY = frozenset({bytes, bytearray, memoryview})


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """A column: its name, its Arrow type, and the classes of Python that its values may have.

    ``prepare`` returns a value as Arrow takes it. None: as it is.
    """

    name: str
    type: Any
    classes: frozenset[type]
    prepare: Callable[[Any], Any] | None = None

    def array(self, values: Sequence[Any]) -> Any:
        """Return values as Arrow has them; raises ``QueryFailedError``."""
        import pyarrow as pa

        for found in set(map(type, values)):
            if found is not _NONE and not issubclass(found, tuple(self.classes)):
                raise self._misfit(f"a value of the Python class {found.__name__}")
            if found is bool and bool not in self.classes:  # it is an int, for Python
                raise self._misfit("a truth value")
            if issubclass(found, datetime.datetime) and datetime.datetime not in self.classes:
                raise self._misfit("a date with a time")  # it is a date, for Python
        if pa.types.is_timestamp(self.type):
            is_zoned = self.type.tz is not None
            if any(v is not None and (v.utcoffset() is not None) != is_zoned for v in values):
                raise self._misfit("times with and without an offset from UTC")
        if pa.types.is_time(self.type) and any(v is not None and v.tzinfo for v in values):
            raise self._misfit("times of a day with an offset from UTC")  # Arrow drops it
        if self.prepare is not None:
            values = [None if value is None else self.prepare(value) for value in values]
        try:
            return pa.array(values, self.type)
        except (pa.ArrowException, OverflowError, ValueError, TypeError) as error:
            raise self._misfit(f"another value ({error})") from None

    def _misfit(self, found: str) -> QueryFailedError:
        return QueryFailedError(
            f"column {self.name!r}: expected values that fit {self.type}, the type by its first "
            f"{FIRST_ROWS} rows; found {found}. Write CAST(column AS …) in the query, with a type "
            "that holds all of its values."
        )


class Described(msgspec.Struct, frozen=True, kw_only=True):
    """A column in a cursor's description. ``kind`` is text, binary, time, number, or None."""

    name: str
    kind: str | None = None
    precision: int | None = None
    scale: int | None = None


def describe(cursor_description: Sequence[Sequence[Any]], module: Any) -> list[Described]:
    """Read a cursor's description, with the type objects of its driver's module."""
    found = []
    for name, code, _, _, precision, scale, *_ in (tuple(each) for each in cursor_description):
        kinds = {"STRING": "text", "BINARY": "binary", "DATETIME": "time", "NUMBER": "number"}
        kind = next((kinds[each] for each in kinds if _is(code, getattr(module, each, None))), None)
        found.append(
            Described(
                name=str(name),
                kind=kind,
                precision=precision if isinstance(precision, int) else None,
                scale=scale if isinstance(scale, int) else None,
            )
        )
    return found


def columns_of(described: Sequence[Described], rows: Sequence[Sequence[Any]]) -> list[Column]:
    """Return the columns, by the first rows. Raises ``QueryRefusedError`` for a class of values
    that has no Arrow type, and ``QueryFailedError`` for values that have none in common.
    """
    values = list(zip(*rows, strict=True)) if rows else [()] * len(described)
    return [_column(each, column) for each, column in zip(described, values, strict=True)]


def _is(code: object, kind: object) -> bool:
    if kind is None or code is None:
        return False
    try:
        return bool(kind == code)
    except Exception:  # another package's comparison
        return False


def _column(described: Described, values: Sequence[Any]) -> Column:
    import pyarrow as pa

    classes = {type(value) for value in values} - {_NONE}
    name = described.name

    def made(kind: Any, *allowed: type, prepare: Callable[[Any], Any] | None = None) -> Column:
        return Column(name=name, type=kind, classes=frozenset(allowed), prepare=prepare)

    def are(*allowed: type) -> bool:
        return all(issubclass(each, allowed) for each in classes)

    if not classes:
        return _without_values(described, made)
    if classes == {bool}:
        return made(pa.bool_(), bool)
    if bool in classes:
        raise _mixed(name, classes)
    if are(int):
        is_small = all(-(2**63) <= value < 2**63 for value in values if value is not None)
        return made(pa.int64() if is_small else pa.decimal128(38, 0), int)
    if are(int, float):
        return made(pa.float64(), float, int)
    if are(int, decimal.Decimal):
        kind = _decimal(described, values)
        return made(kind, decimal.Decimal, int, prepare=decimal.Decimal)
    if are(str):
        return made(pa.string(), str)
    if are(*_BINARY):
        return made(pa.binary(), *_BINARY, prepare=bytes)
    if are(datetime.datetime):
        zoned = {value.utcoffset() is not None for value in values if value is not None}
        if len(zoned) > 1:
            raise _mixed(name, {"times with an offset from UTC", "times without one"})
        return made(pa.timestamp("us", "UTC" if True in zoned else None), datetime.datetime)
    if are(datetime.date) and not any(issubclass(each, datetime.datetime) for each in classes):
        return made(pa.date32(), datetime.date)
    if are(datetime.time):
        return made(pa.time64("us"), datetime.time)
    if are(datetime.timedelta):
        return made(pa.duration("us"), datetime.timedelta)
    if are(uuid.UUID):
        return made(pa.string(), uuid.UUID, prepare=str)
    if are(dict):
        return made(pa.string(), dict, prepare=_json)
    if are(list, tuple):
        inner = [value for each in values if each is not None for value in each]
        items = _column(Described(name=name), inner)
        return made(pa.list_(items.type), list, tuple, prepare=_list_of(items))
    raise _mixed(name, classes) if len(classes) > 1 else _refusal(name, *classes)


def _without_values(described: Described, made: Callable[..., Column]) -> Column:
    import pyarrow as pa

    if described.kind == "binary":
        return made(pa.binary(), *_BINARY, prepare=bytes)
    if described.kind == "time":
        return made(pa.timestamp("us"), datetime.datetime)
    if described.kind == "number":
        if described.precision and described.scale is not None:
            if described.scale == 0:
                return made(pa.int64(), int)
            return made(_decimal(described, ()), decimal.Decimal, int, prepare=decimal.Decimal)
        return made(pa.float64(), float, int)
    return made(pa.string(), str)


def _decimal(described: Described, values: Sequence[Any]) -> Any:
    import pyarrow as pa

    digits, scale = described.precision, described.scale
    if digits and scale is not None and 0 <= scale <= digits <= 76:
        return pa.decimal128(digits, scale) if digits <= 38 else pa.decimal256(digits, scale)
    exponents = [
        value.as_tuple().exponent
        for value in values
        if isinstance(value, decimal.Decimal) and value.is_finite()
    ]
    behind = max((-each for each in exponents if isinstance(each, int)), default=0)
    return pa.decimal128(38, min(max(behind, 0), 38))


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _list_of(items: Column) -> Callable[[Any], Any]:
    def prepared(value: Any) -> Any:
        return items.array(list(value)).to_pylist()

    return prepared


def _refusal(name: str, kind: type) -> QueryRefusedError:
    return QueryRefusedError(
        f"column {name!r} has values of the Python class {kind.__name__}, for which Arrow has no "
        "type. Write CAST(column AS VARCHAR(…)) in the query."
    )


def _mixed(name: str, kinds: set[Any]) -> QueryFailedError:
    found = sorted(kind if isinstance(kind, str) else kind.__name__ for kind in kinds)
    return QueryFailedError(
        f"column {name!r}: expected values of one type; found {' and '.join(found)}. Write "
        "CAST(column AS …) in the query."
    )
