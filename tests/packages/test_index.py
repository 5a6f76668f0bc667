"""An index holds where each member is; one that can't be right is refused, and so is a manifest."""

from __future__ import annotations

import hashlib
import io

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobtool.errors import PackageError
from jobtool.packages.index import IndexRow, read_index, rows_of, write_index
from jobtool.packages.manifest import (
    Manifest,
    PackedFile,
    decode_manifest,
    encode_manifest,
    manifest_of,
    read_package_index,
)
from jobtool.packages.memberdigests import MemberDigests
from jobtool.packages.members import Member, PackedItem
from jobtool.packages.sidecars import write_sidecars
from jobtool.packages.store import PackageStore
from jobtool.packages.tarlayout import TarLayout
from tests.packages.lists import HUGE, Endless, list_of, lists
from tests.strategies import names

MD5 = "0123456789abcdef" * 2


class Known(MemberDigests):
    """Has an MD5 for each member."""

    def md5_of(self, number):
        return f"{number:032x}"


def index_of(rows):
    file = io.BytesIO()
    assert write_index(file, rows) == len(rows)
    return file.getvalue()


def read(data, tar_size=None):
    return list(read_index(io.BytesIO(data), name="p.tar.index.parquet", tar_size=tar_size))


@given(lists((*HUGE, 0, 1, 513)))
def test_what_is_written_is_read_and_the_same_each_time(members):
    layout = TarLayout(members)
    rows = list(rows_of(layout, Known(members)))
    data = index_of(rows)
    assert read(data, layout.total_size) == rows
    assert index_of(rows) == data
    for number, (row, member) in enumerate(zip(rows, members, strict=True)):
        assert (row.path, row.size, row.mtime_ns, row.mode) == (
            *(member.path, member.size, member.mtime_ns, member.mode),
        )
        assert row.offset == layout.data_offset(number)


def test_columns_are_those_that_readers_expect():
    data = index_of([IndexRow("a\udcff", 512, 1, MD5, 2, 0o644)])
    table = pq.read_table(io.BytesIO(data))
    assert {field.name: str(field.type) for field in table.schema} == {
        "member": "binary",
        "offset": "int64",
        "size": "int64",
        "md5": "string",
        "mtime_ns": "int64",
        "mode": "int32",
    }
    assert table["member"].to_pylist() == [b"a\xff"]


def test_many_rows_are_in_several_groups():
    rows = [IndexRow(f"{n}", 512 + n * 1024, 1, MD5, 0, 0) for n in range(40_000)]
    data = index_of(rows)
    assert pq.ParquetFile(io.BytesIO(data)).num_row_groups == 2
    assert read(data) == rows


GOOD = IndexRow("a", 512, 600, MD5, 0, 0o644)
NEXT = IndexRow("b", 2048, 0, MD5, 0, 0o644)


@pytest.mark.parametrize(
    "changes",
    [
        {"path": ""},
        {"path": "../a"},
        {"path": "/a"},
        {"path": "a/"},
        {"path": "a\0b"},
        {"offset": 0},
        {"offset": 511},
        {"offset": 1024},  # within the first member
        {"offset": 1536},  # without a header between
        {"offset": -512},
        {"offset": 2**62},  # outside the tar
        {"size": -1},
        {"size": 2**62},
        {"md5": MD5[1:]},
        {"md5": MD5.upper()},
        {"md5": "x" * 32},
        {"md5": MD5 + "\n"},
        {"mode": -1},
        {"mode": 0o100644},
    ],
    ids=repr,
)
def test_a_forged_row_is_refused(changes):
    assert read(index_of([GOOD, NEXT]), 4096) == [GOOD, NEXT]
    data = index_of([GOOD, msgspec.structs.replace(NEXT, **changes)])
    with pytest.raises(PackageError, match=r"p\.tar\.index\.parquet can't be read as the index"):
        read(data, 4096)


def test_members_in_another_order_than_that_of_the_tar_are_refused():
    with pytest.raises(PackageError, match="after a header"):
        read(index_of([NEXT, GOOD]))


@given(st.data())
def test_a_torn_or_damaged_index_is_refused_or_shows_nothing_impossible(data):
    whole = bytearray(index_of([GOOD, NEXT]))
    if data.draw(st.booleans()):
        del whole[data.draw(st.integers(0, len(whole) - 1)) :]
    else:
        whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        found = read(bytes(whole), 4096)
    except PackageError:
        return
    assert all(row.offset + row.size <= 4096 for row in found)


def test_other_tables_are_refused(tmp_path):
    for table in (
        pa.table({"member": ["a"]}),
        pa.table({name: pa.array([None], pa.int64()) for name in IndexRow.__struct_fields__}),
    ):
        pq.write_table(table, tmp_path / "x")
        with pytest.raises(PackageError, match="expected the columns"):
            list(read_index(str(tmp_path / "x"), name="x"))
    table = pq.read_table(io.BytesIO(index_of([GOOD])))
    for name in table.column_names:
        column = pa.array([None], table[name].type)
        nulls = table.set_column(table.column_names.index(name), name, column)
        pq.write_table(nulls, tmp_path / "x")
        with pytest.raises(PackageError, match="value in each row"):
            list(read_index(str(tmp_path / "x"), name="x"))


def test_a_member_that_was_not_read_has_no_row():
    members = list_of([Member(path="a", size=1, mtime_ns=0)])
    with pytest.raises(PackageError, match="a: expected the MD5 of each member"):
        list(rows_of(TarLayout(members), MemberDigests(members)))


# Manifests


def manifest(**changes):
    values = {
        "name": "p",
        "members": 3,
        "bytes": 30,
        "tar": PackedFile(name="p.tar", size=4096, md5=MD5),
        "index": PackedFile(name="p.tar.index.parquet", size=999, md5=MD5),
        "items": (
            PackedItem(name="i", members=1, bytes=10),
            PackedItem(name="j", members=2, bytes=20),
        ),
    }
    return Manifest(**(values | changes))


@given(
    names.map(lambda name: "p" + name.replace("/", "_")),
    st.lists(st.builds(PackedItem, name=names, members=st.just(0), bytes=st.just(0)), max_size=4),
)
def test_a_manifest_is_read_as_it_was_written(name, items):
    written = manifest(
        name=name,
        items=tuple(items),
        tar=PackedFile(name=f"{name}.tar", size=4096, md5=MD5),
        index=PackedFile(name=f"{name}.tar.index.parquet", size=1, md5=MD5),
    )
    data = encode_manifest(written)
    assert decode_manifest(data, where="x") == written
    assert msgspec.json.decode(data)["format"] == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "../p"},
        {"name": "q"},
        {"members": 2},
        {"members": -1},
        {"bytes": 29},
        {"bytes": 5000},
        {"tar": PackedFile(name="p.tar", size=-1, md5=MD5)},
        {"tar": PackedFile(name="p.tar", size=4096, md5="x")},
        {"tar": PackedFile(name="../p.tar", size=4096, md5=MD5)},
        {"items": (PackedItem(name="i", members=-1, bytes=0),)},
    ],
    ids=repr,
)
def test_a_manifest_that_does_not_add_up_is_refused(changes):
    decode_manifest(encode_manifest(manifest()), where="x")
    with pytest.raises(PackageError, match="x can't be read as the manifest"):
        decode_manifest(encode_manifest(manifest(**changes)), where="x")


def test_what_is_no_manifest_is_refused():
    good = encode_manifest(manifest())
    for data in (
        b"",
        b"[]",
        b"{}",
        b"\xff",
        b"[" * 9999,
        good[:-5],
        good.replace(b": 3", b": 3.5"),
    ):
        with pytest.raises(PackageError, match="x can't be read as the manifest"):
            decode_manifest(data, where="x")
    with pytest.raises(PackageError, match="expected the format 1; found 2"):
        decode_manifest(good.replace(b'"format": 1', b'"format": 2'), where="x")


# Both, beside the tar


@pytest.mark.parametrize(
    ("members", "size", "fits"),
    [(2, 600, True), (1, 600, False), (3, 600, False), (2, 599, False), (2, 601, False)],
)
def test_an_index_must_have_the_members_that_the_manifest_says(members, size, fits):
    file = io.BytesIO(index_of([GOOD, NEXT]))
    content = manifest(members=members, bytes=size, items=())
    rows = read_package_index(file, content, name="the index")
    if fits:
        assert list(rows) == [GOOD, NEXT]
    else:
        with pytest.raises(PackageError, match=r"the index: expected .* as the manifest says"):
            list(rows)


@given(lists())
def test_a_package_has_the_same_index_and_manifest_each_time(tmp_path_factory, members):
    found = []
    for _ in range(2):
        folder = str(tmp_path_factory.mktemp("sidecars"))
        store = PackageStore("p", members, Endless(members))
        written = write_sidecars(folder, store, tar_md5=store.digest("p.tar"))
        with open(written.index, "rb") as index, open(written.manifest, "rb") as file:
            found.append((index.read(), file.read()))
    assert found[0] == found[1]
    index, data = found[0]
    read_back = decode_manifest(data, where="x")
    assert read_back == written.content
    assert list(read_package_index(io.BytesIO(index), read_back, name="x")) == read(index)
    assert read_back == manifest_of(
        "p",
        members,
        tar_size=store.entry.size,
        tar_md5=read_back.tar.md5,
        index_size=len(index),
        index_md5=hashlib.md5(index).hexdigest(),
    )
    rows = read(index, read_back.tar.size)
    assert len(rows) == read_back.members
    assert sum(row.size for row in rows) == read_back.bytes
