from __future__ import annotations

import json
import math
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import hypothesis
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobtool.errors import UsageError
from jobtool.export.statistics import Extremes
from tests.export.columns import LEAVES, batch_of, columns, cut


def extremes(*arrays: Any) -> tuple[Any, Any]:
    found = Extremes("x")
    for array in arrays:
        found.update(pa.record_batch({"other": pa.nulls(len(array)), "x": array}))
    return found.minimum, found.maximum


@hypothesis.settings(max_examples=40, deadline=None)
@given(columns(LEAVES, 8), st.data())
def test_the_extremes_are_those_of_all_blocks_and_fit_into_json(
    drawn: tuple[Any, list[Any]], data: st.DataObject
) -> None:
    kind, values = drawn
    found = Extremes("x")
    for piece in data.draw(cut(batch_of([("x", kind, values)]))):
        found.update(piece)
    json.dumps([found.minimum, found.maximum], allow_nan=False)
    there = [value for value in values if value is not None and value == value]
    if pa.types.is_null(kind) or not there:
        assert (found.minimum, found.maximum) == (None, None)
        return
    if isinstance(there[0], str):
        there.sort(key=str.encode)
    else:
        there.sort()
    for value, text in ((there[0], found.minimum), (there[-1], found.maximum)):
        assert text == extremes(pa.array([value], kind))[0]
        if isinstance(value, float) and math.isfinite(value):
            assert text == value
        elif isinstance(value, Decimal):
            assert Decimal(str(text)) == value
            assert "E" not in str(text)
        elif isinstance(value, bytes):
            assert bytes.fromhex(str(text)) == value
        elif isinstance(value, str | bool):
            assert text == value


@hypothesis.settings(max_examples=40, deadline=None)
@given(st.datetimes(), st.sampled_from(["s", "ms", "us"]))
def test_dates_and_times_are_those_of_python(when: datetime, unit: str) -> None:
    places = {"s": 0, "ms": 3, "us": 6}[unit]
    unit_microseconds = 10 ** (6 - places)
    since = (when - datetime(1970, 1, 1)) // timedelta(microseconds=unit_microseconds)
    when = datetime(1970, 1, 1) + timedelta(microseconds=since * unit_microseconds)
    names = {"s": "seconds", "ms": "milliseconds", "us": "microseconds"}
    text = when.isoformat(timespec=names[unit])
    assert extremes(pa.array([since], pa.timestamp(unit))) == (text, text)
    assert extremes(pa.array([since], pa.timestamp(unit, "Asia/Tokyo"))) == (text + "Z",) * 2
    assert extremes(pa.array([when.date()]))[0] == text[:10]
    assert extremes(pa.array([when.date()], pa.date64()))[0] == text[:10]
    clock = pa.time64("us") if unit == "us" else pa.time32(unit)
    assert extremes(pa.array([when.time()], clock))[0] == text[11:]


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (pa.array([2**31 - 1], pa.date32()), "+5881580-07-11"),
        (pa.array([-(2**31)], pa.date32()), "-5877641-06-23"),
        (pa.array([-719_529], pa.date32()), "-0001-12-31"),
        (pa.array([2**63 - 1], pa.timestamp("us")), "+294247-01-10T04:00:54.775807"),
        (pa.array([-1], pa.timestamp("ns", "UTC")), "1969-12-31T23:59:59.999999999Z"),
        (pa.array([86_400_000_000], pa.time64("us")), "24:00:00.000000"),
        (pa.array([-1500], pa.duration("ms")), "-1.500"),
        (pa.array([90], pa.duration("s")), "90"),
        (pa.array([float("-inf")]), "-inf"),
        (pa.array([Decimal("1E-9")], pa.decimal128(20, 9)), "0.000000001"),
        (pa.array([b"\x00\xff"]), "00ff"),
        (pa.array(["b"]).dictionary_encode(), "b"),
        (pa.array([2**64 - 1], pa.uint64()), 2**64 - 1),
        (pa.array([True]), True),
    ],
    ids=str,
)
def test_texts_of_values(array: Any, text: Any) -> None:
    assert extremes(array) == (text, text)


def test_nulls_and_nan_are_passed_over() -> None:
    nan = float("nan")
    assert extremes(pa.array([nan, None, 2.0]), pa.array([nan, -1.5])) == (-1.5, 2.0)
    assert extremes(pa.array([nan, None])) == (None, None)
    assert extremes(pa.array([], pa.string())) == (None, None)
    assert Extremes("x").minimum is None


def test_a_column_without_order_or_that_is_not_there_is_refused() -> None:
    with pytest.raises(UsageError, match=r"column 'x': values of the type list.* have no order"):
        extremes(pa.array([[1]]))
    found = Extremes("y")
    with pytest.raises(UsageError, match=r"expected one column 'y' .*; found 0 in 'x'"):
        found.update(pa.record_batch({"x": [1]}))
