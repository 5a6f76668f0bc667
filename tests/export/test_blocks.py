from __future__ import annotations

import mmap
from typing import Any

import hypothesis
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobtool.errors import UsageError
from jobtool.export.blocks import blocks
from tests.export.columns import LEAVES, NESTED, cut, tables


@hypothesis.settings(max_examples=40, deadline=None)
@given(tables(LEAVES | NESTED), st.data(), st.integers(1, 7))
def test_blocks_have_the_same_rows_and_all_but_the_last_are_full(
    drawn: tuple[Any, pa.RecordBatch], data: st.DataObject, rows: int
) -> None:
    _, batch = drawn
    found = list(blocks(data.draw(cut(batch)), rows))
    assert [block.num_rows for block in found[:-1]] == [rows] * (len(found) - 1)
    assert sum(block.num_rows for block in found) == batch.num_rows
    assert all(0 < block.num_rows <= rows for block in found)
    # By their texts: NaN isn't equal to itself, and Python has no years beyond 9999.
    joined = pa.Table.from_batches(found, batch.schema).combine_chunks()
    for column, array in zip(joined.columns, batch.columns, strict=True):
        assert str(column.combine_chunks()) == str(array)


def test_a_block_within_a_batch_shares_its_memory() -> None:
    whole = pa.record_batch({"x": pa.array(range(10))})
    first, second = blocks([whole], 5)
    for block in (first, second):
        assert block.column(0).buffers()[1].address == whole.column(0).buffers()[1].address
    (same,) = blocks([whole.slice(0, 0), whole], 10)
    assert same.column(0).buffers()[1].address == whole.column(0).buffers()[1].address


def test_rows_come_as_soon_as_a_block_is_full() -> None:
    taken = []

    def batches() -> Any:
        for number in range(5):
            taken.append(number)
            yield pa.record_batch({"x": [number]})

    found = blocks(batches(), 2)
    assert next(found).column(0).to_pylist() == [0, 1]
    assert taken == [0, 1]
    assert [block.column(0).to_pylist() for block in found] == [[2, 3], [4]]


def test_without_rows_there_is_no_block() -> None:
    batch = pa.record_batch({"x": pa.array([], pa.int8())})
    assert list(blocks([], 3)) == []
    assert list(blocks([batch, batch], 3)) == []
    with pytest.raises(ValueError, match="at least 1 row; found 0"):
        list(blocks([batch], 0))


def test_batches_may_have_dictionaries_of_their_own() -> None:
    batches = [
        pa.record_batch({"x": pa.array(values).dictionary_encode()})
        for values in (["a", "b"], ["c", None, "a"], ["d"])
    ]
    found = [block.column(0).to_pylist() for block in blocks(batches, 4)]
    assert found == [["a", "b", "c", None], ["a", "d"]]


def test_rows_without_columns_are_kept() -> None:
    batch = pa.RecordBatch.from_struct_array(pa.array([{}] * 3, pa.struct([])))
    assert [block.num_rows for block in blocks([batch, batch], 4)] == [4, 2]


def test_a_block_with_more_text_than_arrow_allows_names_its_column() -> None:
    size = 1280 * 1024 * 1024
    pages = mmap.mmap(-1, size)  # never touched, so without memory
    offsets = pa.array([0, size], pa.int32()).buffers()[1]
    text = pa.Array.from_buffers(pa.string(), 1, [None, offsets, pa.py_buffer(pages)])
    batch = pa.record_batch({"id": pa.array([1]), "report": text})
    with pytest.raises(UsageError, match=r"column 'report': 2 rows don't fit into one block"):
        list(blocks([batch, batch], 2))
