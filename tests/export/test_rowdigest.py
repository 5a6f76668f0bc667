from __future__ import annotations

from typing import Any

import hypothesis
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobtool.errors import UsageError
from jobtool.export.arrowtypes import size_bytes
from jobtool.export.blocks import blocks
from jobtool.export.rowdigest import RowDigest
from tests.export.columns import INTERVALS, LEAVES, NESTED, cut, tables
from tests.export.plain_digest import digest_of

ALL = LEAVES | INTERVALS | NESTED
few = hypothesis.settings(max_examples=50, deadline=None)


def digest(*batches: pa.RecordBatch) -> str:
    found = RowDigest(batches[0].schema)
    for batch in batches:
        found.update(batch)
    return found.hexdigest()


def of(array: Any) -> str:
    return digest(pa.RecordBatch.from_arrays([array], names=["x"]))


@few
@given(tables(ALL), st.data())
def test_a_digest_is_what_its_definition_says_however_rows_are_cut(
    drawn: tuple[list[tuple[str, Any, list[Any]]], pa.RecordBatch], data: st.DataObject
) -> None:
    plain, batch = drawn
    expected = digest_of(plain)
    assert digest(batch) == expected
    assert digest(*data.draw(cut(batch))) == expected


@pytest.mark.parametrize("kind", ALL, ids=str)
def test_the_digest_of_each_type_is_what_its_definition_says(kind: Any) -> None:
    @hypothesis.settings(max_examples=10, deadline=None, database=None)
    @given(st.lists(st.none() | ALL[kind], max_size=6))
    def check(values: list[Any]) -> None:
        assert of(pa.array(values, kind)) == digest_of([("x", kind, values)])

    check()


@few
@given(tables(ALL), st.data(), st.integers(1, 5))
def test_layout_in_memory_is_no_part_of_the_digest(
    drawn: tuple[Any, pa.RecordBatch], data: st.DataObject, rows: int
) -> None:
    _, batch = drawn
    expected = digest(batch)
    pieces = data.draw(cut(batch))
    # Other memory: copied, joined with further rows and cut out again, and written and read.
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        for piece in pieces:
            writer.write_batch(piece)
    read = list(pa.ipc.open_stream(sink.getvalue()))
    assert digest(pieces[0].slice(0, 0), *read) == expected
    twice = pa.RecordBatch.from_arrays(
        [pa.concat_arrays([array, array, array]) for array in batch.columns], schema=batch.schema
    )
    within = twice.slice(batch.num_rows, batch.num_rows)
    assert digest(within) == expected
    assert size_bytes(within) == size_bytes(batch)
    assert digest(batch.slice(0, 0), *blocks(pieces, rows)) == expected


@few
@given(tables(ALL, max_rows=6), st.data())
def test_another_value_null_order_name_or_type_gives_another_digest(
    drawn: tuple[list[tuple[str, Any, list[Any]]], pa.RecordBatch], data: st.DataObject
) -> None:
    plain, batch = drawn
    place = data.draw(st.integers(0, len(plain) - 1))
    name, kind, values = plain[place]
    names = [*batch.schema.names]
    names[place] = name + "'"
    assert digest(batch.rename_columns(names)) != digest(batch)
    assert digest(batch.slice(0, 0), batch, batch) != digest(batch) or not values
    array = batch.column(place)
    if not values or pa.types.is_null(kind):
        return
    row = data.draw(st.integers(0, len(values) - 1))
    other = data.draw(st.none() | ALL[kind])
    changed = [*values[:row], other, *values[row + 1 :]]
    for others in (changed, values[::-1], values[:-1]):
        # Values that differ have texts that differ: -0.0, and decimals of one scale.
        assert (of(pa.array(others, kind)) == of(array)) == (repr(others) == repr(values))


def test_every_type_has_a_digest_of_its_own() -> None:
    kinds = [*ALL, pa.list_view(pa.int32()), pa.large_list_view(pa.int32())]
    found = [
        digest(pa.RecordBatch.from_arrays([pa.array([], kind)], names=["x"])) for kind in kinds
    ]
    assert len(set(found)) == len(kinds)


def test_encodings_and_extensions_are_no_part_of_the_digest() -> None:
    texts = pa.array(["b", "a", None, "b", "b"])
    expected = of(texts)
    encoded = texts.dictionary_encode()
    assert of(encoded) == expected
    other = pa.DictionaryArray.from_arrays(
        pa.array([3, 1, 2, 0, 3], pa.int8()), pa.array(["b", "a", None, "b", "unused"][:4])
    )
    assert other.null_count == 0
    assert of(other) == expected
    assert of(other.slice(0, 5)) == expected
    assert of(pa.concat_arrays([encoded, encoded]).slice(5)) == expected
    nested = pa.ListArray.from_arrays(pa.array([0, 2, 2, 5], pa.int32()), encoded)
    assert of(nested) == of(pa.ListArray.from_arrays(pa.array([0, 2, 2, 5], pa.int32()), texts))
    runs = pc.run_end_encode(texts)
    assert of(runs) == expected
    assert (
        digest(
            *(pa.record_batch([part], names=["x"]) for part in (runs.slice(0, 3), runs.slice(3)))
        )
        == expected
    )
    ids = pa.array([b"0" * 16, None], pa.binary(16))
    assert of(pa.ExtensionArray.from_storage(pa.uuid(), ids)) == of(ids)
    views = pa.DictionaryArray.from_arrays(pa.array([0, None]), pa.array(["a"], pa.string_view()))
    assert of(views) == of(pa.array(["a", None], pa.string_view()))


def test_encodings_within_structs_and_maps_are_no_part_of_the_digest() -> None:
    texts = pa.array(["b", "a", None, "b"])
    encoded = texts.dictionary_encode()
    null = pa.array([False, True, False, False])
    structs = [pa.StructArray.from_arrays([one], ["a"], mask=null) for one in (texts, encoded)]
    assert structs[1].to_pylist() == [{"a": "b"}, None, {"a": None}, {"a": "b"}]
    assert of(structs[0]) == of(structs[1])
    keys, offsets = pa.array(list("wxyz")), pa.array([0, 1, None, 4], pa.int32())
    maps = [pa.MapArray.from_arrays(offsets, keys, one) for one in (texts, encoded)]
    assert maps[1].null_count == 1
    assert of(maps[0]) == of(maps[1])


@pytest.mark.parametrize("large", [False, True])
def test_views_of_elements_may_overlap_and_have_any_order(large: bool) -> None:
    make = pa.LargeListViewArray if large else pa.ListViewArray
    numbers = pa.int64() if large else pa.int32()
    views = make.from_arrays(
        pa.array([2, 0, 0, 1], numbers),
        pa.array([2, 0, 3, 2], numbers),
        pa.array([5, None, 7, 8]),
        mask=pa.array([False, False, False, True]),
    )
    expected = digest_of([("x", views.type, [[7, 8], [], [5, None, 7], None])])
    assert of(views) == expected
    twice = pa.concat_arrays([views, views])
    assert of(twice.slice(4)) == expected


def test_what_lies_under_a_null_is_no_part_of_the_digest() -> None:
    valid = pa.py_buffer(bytes([0b101]))
    for kind, values in (
        (pa.int64(), [1, 2, 3]),
        (pa.float64(), [1.0, float("nan"), 3.0]),
        (pa.bool_(), [True, True, False]),
        (pa.string(), ["a", "hidden", "c"]),
        (pa.list_(pa.int32()), [[1], [2, 3], []]),
        (pa.list_(pa.string(), 1), [["a"], ["hidden"], [None]]),
        (pa.map_(pa.string(), pa.int8()), [[("a", 1)], [("hidden", 2)], []]),
        (pa.struct([("a", pa.string())]), [{"a": "x"}, {"a": "hidden"}, {"a": None}]),
    ):
        whole = pa.array(values, kind)
        children = []
        if pa.types.is_struct(kind):
            children = [whole.field(0)]
        elif pa.types.is_map(kind):
            children = [
                pa.StructArray.from_arrays(
                    [whole.keys, whole.items], fields=[kind.key_field, kind.item_field]
                )
            ]
        elif pa.types.is_nested(kind):
            children = [whole.values]
        own = whole.buffers()[: 3 if kind in (pa.string(),) else 2]
        if pa.types.is_struct(kind) or pa.types.is_fixed_size_list(kind):
            own = own[:1]
        hidden = pa.Array.from_buffers(kind, 3, [valid, *own[1:]], children=children)
        assert hidden.to_pylist() == [*whole.to_pylist()[:1], None, *whole.to_pylist()[2:]]
        plain = pa.array([values[0], None, values[2]], kind)
        assert of(hidden) == of(plain), kind
        sizes = {size_bytes(pa.record_batch([array], names=["x"])) for array in (hidden, plain)}
        assert len(sizes) == 1, kind


def test_every_nan_is_the_same_and_zeros_have_a_sign() -> None:
    for kind, patterns in (
        (pa.float32(), [0x7FC00000, 0xFFC00000, 0x7F800001, 0x7FFFFFFF]),
        (pa.float64(), [0x7FF8 << 48, 0xFFF8 << 48, (0x7FF0 << 48) + 1]),
        (pa.float16(), [0x7E00, 0xFE00, 0x7C01]),
    ):
        bits = kind.bit_width
        integers = pa.array(patterns, getattr(pa, f"uint{bits}")())
        assert of(integers.view(kind)) == of(pa.array([float("nan")] * len(patterns), kind))
        assert of(pa.array([0.0], kind)) != of(pa.array([-0.0], kind))


def test_digests_stay_what_they_are() -> None:
    batch = pa.RecordBatch.from_arrays(
        [pa.array([1, None, 3]), pa.array(["a", "", None]), pa.array([[1.5], None, []])],
        names=["id", "naïve", "list"],
    )
    assert digest(batch) == (
        "jobtool-rows-1:25f7eb698f297d7162b9e56c08ecead70d7c2276931583971679a444f73e9542"
    )


def test_rows_without_columns_are_counted() -> None:
    empty = pa.RecordBatch.from_struct_array(pa.array([{}, {}], pa.struct([])))
    assert digest(empty) == digest(empty.slice(0, 1), empty.slice(1)) != digest(empty.slice(1))


def test_digests_can_be_asked_for_on_the_way() -> None:
    batch = pa.record_batch({"x": pa.array([1, 2, 3])})
    found = RowDigest(batch.schema)
    found.update(batch.slice(0, 1))
    assert found.hexdigest() == digest(batch.slice(0, 1))
    found.update(batch.slice(1))
    assert found.hexdigest() == digest(batch)


def test_unions_have_no_digest_and_other_columns_are_an_error() -> None:
    union = pa.dense_union([pa.field("a", pa.int32())])
    runs = pa.run_end_encoded(pa.int32(), pa.int64())
    for kind in (union, pa.list_(union), pa.struct([("a", runs)])):
        with pytest.raises(UsageError, match=r"column 'u': rows with .*<.* have no digest"):
            RowDigest(pa.schema([("i", pa.int32()), ("u", kind)]))
    found = RowDigest(pa.schema([("x", pa.int32())]))
    with pytest.raises(ValueError, match="expected rows with x: int32"):
        found.update(pa.record_batch({"x": pa.array([1], pa.int64())}))
    # Metadata and whether nulls are allowed may change on the way.
    field = pa.field("x", pa.int32(), nullable=False, metadata={"a": "b"})
    found.update(pa.RecordBatch.from_arrays([pa.array([1], pa.int32())], schema=pa.schema([field])))
