"""Bounds of ranges as text: exact, and never more than one literal of SQL."""

from __future__ import annotations

import datetime
import decimal
import re

import duckdb
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jobtool.errors import JobFileError
from jobtool.export.bounds import decode_value, encode_value
from jobtool.queries.dialect import Dialect, Value

_texts = st.text(max_size=12).map(lambda text: text.replace("\0", ""))
_times = st.datetimes().map(lambda time: time.replace(fold=0))
_values = (
    st.integers(-(10**40), 10**40)
    | st.decimals(-(10**28), 10**28, places=9)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.dates()
    | _times
    | _times.map(lambda time: time.replace(tzinfo=datetime.UTC))
    | _texts
)

#: Texts as an attacker would write them: almost right.
_forged = st.builds(
    "{}{}{}".format,
    st.sampled_from(["int", "decimal", "float", "date", "timestamp", "timestamptz", "text", ""]),
    st.sampled_from([" ", "", "  ", "\t"]),
    st.text("0123456789-.:TZe+_ '\"\\;)(/*\n\0x٣", max_size=24)
    | st.text(max_size=20)
    | st.sampled_from(["2024-02-30", "1' OR '1'='1", "'; DROP TABLE t; --", "\\' OR 1=1 --"])
    | _values.map(lambda value: encode_value(value).partition(" ")[2]),
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (5, "int 5"),
        (-(2**63), "int -9223372036854775808"),
        (decimal.Decimal("1.50"), "decimal 1.50"),
        (decimal.Decimal("1E+3"), "decimal 1000"),
        (1.5, "float 1.5"),
        (-5e-324, "float -5e-324"),
        (datetime.date(2024, 1, 31), "date 2024-01-31"),
        (datetime.datetime(2024, 1, 31, 0, 0, 0, 1), "timestamp 2024-01-31T00:00:00.000001"),
        (
            datetime.datetime(
                2024, 1, 31, 2, tzinfo=datetime.timezone(datetime.timedelta(hours=2))
            ),
            "timestamptz 2024-01-31T00:00:00Z",
        ),
        ("abc", "text abc"),
        ("5", "text 5"),
        ("", 'text ""'),
        ("a\nb", 'text "a\\nb"'),
    ],
)
def test_a_bound_is_written_as_people_would(value: Value, text: str) -> None:
    assert encode_value(value) == text
    assert (decode_value(text), type(decode_value(text))) == (value, type(value))


@given(_values)
def test_each_value_comes_back_exactly_from_one_line(value: Value) -> None:
    text = encode_value(value)
    assert text.splitlines() == [text]
    read = decode_value(text)
    assert (read, type(read), repr(read)) == (value, type(value), repr(value))


@pytest.mark.parametrize(
    "value", [True, float("nan"), float("inf"), decimal.Decimal("NaN"), "a\0b", "\udcff", 10**81]
)
def test_what_cannot_come_back_is_not_written(value: Value) -> None:
    with pytest.raises(ValueError, match="expected"):
        encode_value(value)


@pytest.mark.parametrize(
    "text",
    [
        *("", "int", "int ", "int 1.5", "int 1_000", "int ٣", "int 5 ", "int  5", "int 5; --"),
        *("decimal NaN", "decimal 1e5", "float inf", "float nan", "float 1e999", "float 0x1p3"),
        *("date 2024-02-30", "date 20240131", "date 2024-01-31T00:00:00", "date '2024-01-31'"),
        *("timestamp 2024-01-31", "timestamp 2024-01-31 00:00:00", "timestamp 2024-01-31T24:61:00"),
        *("timestamptz 2024-01-31T00:00:00", "timestamptz 2024-01-31T00:00:00+01:00"),
        *('text "a', "text", "text ", 'text "a" b', 'text "\\u0000"', 'text "\\xff"', "text a\0b"),
        *("sql 1", "Int 5", " int 5", "int 5\n", "null", "int " + "9" * 5000),
    ],
)
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(JobFileError):
        decode_value(text)


@given(_forged)
@example("text '; DROP TABLE t; --")
@example("text \\")
def test_a_forged_bound_is_one_literal_or_refused(text: str) -> None:
    try:
        value = decode_value(text)
    except JobFileError:
        return
    literal, escaped = (Dialect(escapes_backslash=how).value(value) for how in (False, True))
    if isinstance(value, int | float | decimal.Decimal):
        assert re.fullmatch(r"-?[0-9]+(\.[0-9]+)?(e[-+]?[0-9]+)?", literal)
        return
    assert len(duckdb.extract_statements(f"SELECT {literal}")) == 1
    with duckdb.connect() as database:
        found = database.sql(f"SELECT v = ({literal}) FROM (SELECT ? AS v)", params=[value])
        assert found.fetchall() == [(True,)]
    assert re.fullmatch(
        r"(DATE |TIMESTAMP |TIMESTAMP WITH TIME ZONE |)'(?:[^'\\]|\\.)*'", escaped, re.DOTALL
    )
