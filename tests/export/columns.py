"""Strategies for hypothesis: columns of every type, as values of Python and as Arrow arrays.

Dates, times and durations are integers here, as Arrow counts them, so that another definition of
the digest can start from them.
"""

from __future__ import annotations

import decimal
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

_INTEGERS = {
    **{getattr(pa, f"int{bits}")(): (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) for bits in (8, 16)},
    **{getattr(pa, f"int{bits}")(): (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) for bits in (32, 64)},
    **{getattr(pa, f"uint{bits}")(): (0, 2**bits - 1) for bits in (8, 16, 32, 64)},
    pa.date32(): (-800_000, 2_900_000),
    pa.time32("s"): (0, 86_399),
    pa.time32("ms"): (0, 86_399_999),
    pa.time64("us"): (0, 86_399_999_999),
    pa.time64("ns"): (0, 86_399_999_999_999),
    **{pa.duration(unit): (-(2**63), 2**63 - 1) for unit in ("s", "ms", "us", "ns")},
    **{pa.timestamp(unit): (-(2**53), 2**53 - 1) for unit in ("us", "ns")},
    pa.timestamp("s"): (-(2**35), 2**37),
    pa.timestamp("ms"): (-(2**45), 2**47),
    pa.timestamp("us", "UTC"): (-(2**53), 2**53 - 1),
    pa.timestamp("ms", "Europe/Berlin"): (-(2**45), 2**47),
    pa.timestamp("ns", "-03:30"): (-(2**53), 2**53 - 1),
}
_TEXT_TYPES = (pa.string(), pa.large_string(), pa.string_view())
_BINARY_TYPES = (pa.binary(), pa.large_binary(), pa.binary_view())

_TEXT = st.text(
    st.sampled_from('ab,;"\n\r\t\\ \0é🧬') | st.characters(exclude_categories=["Cs"]), max_size=8
)


def decimals(kind: Any) -> st.SearchStrategy[decimal.Decimal]:
    """Return the decimals of a type."""
    context = decimal.Context(prec=kind.precision)
    return st.integers(-(10**kind.precision) + 1, 10**kind.precision - 1).map(
        lambda unscaled: decimal.Decimal(unscaled).scaleb(-kind.scale, context)
    )


#: Types that are neither nested nor encoded, with their values.
LEAVES: dict[Any, st.SearchStrategy[Any]] = {
    pa.null(): st.none(),
    pa.bool_(): st.booleans(),
    pa.date64(): st.integers(-800_000, 2_900_000).map(lambda days: days * 86_400_000),
    pa.float16(): st.floats(width=16),
    pa.float32(): st.floats(width=32),
    pa.float64(): st.floats(),
    pa.binary(3): st.binary(min_size=3, max_size=3),
    **{kind: st.integers(*bounds) for kind, bounds in _INTEGERS.items()},
    **{
        kind: decimals(kind)
        for kind in (
            *(pa.decimal128(1, 0), pa.decimal128(38, 10), pa.decimal128(38, 38)),
            *(pa.decimal256(76, 20), pa.decimal128(9, 2), pa.decimal256(40, 0)),
        )
    },
    **dict.fromkeys(_TEXT_TYPES, _TEXT),
    **dict.fromkeys(_BINARY_TYPES, st.binary(max_size=8)),
}

#: Types that neither Parquet nor CSV can hold.
INTERVALS: dict[Any, st.SearchStrategy[Any]] = {
    pa.month_day_nano_interval(): st.tuples(
        st.integers(-(2**31), 2**31 - 1),
        st.integers(-(2**31), 2**31 - 1),
        st.integers(-(2**63), 2**63 - 1),
    ).map(pa.MonthDayNano),
}


def _nested(values: dict[Any, st.SearchStrategy[Any]]) -> dict[Any, st.SearchStrategy[Any]]:
    found: dict[Any, st.SearchStrategy[Any]] = {}
    for kind, of_kind in values.items():
        element = st.none() | of_kind
        several = st.lists(element, max_size=3)
        found[pa.list_(kind)] = several
        found[pa.large_list(kind)] = several
        found[pa.list_(kind, 2)] = st.lists(element, min_size=2, max_size=2)
        found[pa.struct([("a", kind), ("b", pa.int16())])] = st.tuples(
            element, st.none() | st.integers(-9, 9)
        ).map(lambda fields: {"a": fields[0], "b": fields[1]})
        found[pa.map_(pa.string(), kind)] = st.lists(
            st.tuples(_TEXT, element), max_size=3, unique_by=lambda entry: entry[0]
        )
    return found


_SOME = {
    kind: LEAVES[kind]
    for kind in (
        *(pa.bool_(), pa.int32(), pa.float64(), pa.decimal128(9, 2), pa.string(), pa.binary(3)),
        *(pa.timestamp("us", "UTC"), pa.null(), pa.large_binary()),
    )
}
_LISTS = {pa.list_(pa.string()): st.lists(st.none() | _TEXT, max_size=3)}
NESTED = _nested(_SOME) | _nested(_LISTS)


@st.composite
def columns(draw: st.DrawFn, kinds: dict[Any, Any], rows: int) -> tuple[Any, list[Any]]:
    """Draw a type of ``kinds`` and as many values of it."""
    kind = draw(st.sampled_from(list(kinds)))
    values = st.none() | kinds[kind] if draw(st.booleans()) else kinds[kind]
    return kind, draw(st.lists(values, min_size=rows, max_size=rows))


@st.composite
def tables(
    draw: st.DrawFn, kinds: dict[Any, Any], *, min_columns: int = 1, max_rows: int = 12
) -> tuple[list[tuple[str, Any, list[Any]]], pa.RecordBatch]:
    """Draw columns with names, and the same as a batch."""
    rows = draw(st.integers(0, max_rows))
    names = draw(st.lists(_TEXT, min_size=min_columns, max_size=4, unique=True))
    drawn = [(name, *draw(columns(kinds, rows))) for name in names]
    return drawn, batch_of(drawn)


def batch_of(drawn: list[tuple[str, Any, list[Any]]]) -> pa.RecordBatch:
    """Return columns as a batch."""
    return pa.RecordBatch.from_arrays(
        [pa.array(values, kind) for _, kind, values in drawn], names=[name for name, *_ in drawn]
    )


@st.composite
def cut(draw: st.DrawFn, batch: pa.RecordBatch) -> list[pa.RecordBatch]:
    """Draw a way to cut a batch into batches, some of them without rows."""
    places = sorted(draw(st.lists(st.integers(0, batch.num_rows), max_size=4)))
    bounds = zip([0, *places], [*places, batch.num_rows], strict=True)
    return [batch.slice(start, end - start) for start, end in bounds]
