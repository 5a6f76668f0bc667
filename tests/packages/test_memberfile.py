"""Lists of members: what is written is read, and what can't be a package's is refused."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobtool.errors import PackageError
from jobtool.packages.memberfile import read_members, write_members
from jobtool.packages.members import Member, MemberList, PackedItem, in_package_order
from tests.packages.lists import HUGE, SIZES, TIMES, list_of, members_of, paths


def content(members):
    return list(members), [*members.items()], members.fingerprint(), members.total_bytes


with_source = st.builds(
    lambda member, source: Member(
        path=member.path,
        size=member.size,
        mtime_ns=member.mtime_ns,
        mode=member.mode,
        source=source,
    ),
    members_of([*SIZES, *HUGE]),
    st.none() | paths,
)


@given(st.lists(with_source, max_size=8), st.integers(1, 4))
def test_what_is_written_is_read(tmp_path_factory, members, items):
    path = str(tmp_path_factory.mktemp("list") / "members.jsonl")
    written = list_of(members, items)
    write_members(path, written)
    found = read_members(path)
    assert content(found) == content(written)
    assert [found.item_of(number) for number in range(len(found))] == [
        written.item_of(number) for number in range(len(written))
    ]
    assert os.listdir(os.path.dirname(path)) == ["members.jsonl"]


def small():
    return list_of(
        [Member(path="a\nb", size=1, mtime_ns=2), Member(path="c", size=3, mtime_ns=4)], items=2
    )


def test_a_list_that_was_cut_or_changed_is_refused(tmp_path):
    path = tmp_path / "members.jsonl"
    write_members(str(path), small())
    lines = path.read_bytes().splitlines(keepends=True)
    assert len(lines) == 5
    forged = [
        *(b"".join(lines[:end]) for end in range(len(lines))),
        *(b"".join(lines[:n] + lines[n + 1 :]) for n in (0, 2, 3, 4)),
        b"".join(lines)[:-1],
        b"".join([*lines, lines[2]]),
        b"".join(lines).replace(b'"size":3', b'"size":2'),
        b"".join(lines).replace(b'"format":1', b'"format":2'),
        b"".join(lines).replace(b'"path":"c"', b'"path":"../c"'),
        b"".join(lines).replace(b'"path":"c"', b'"path":"\\"c"'),
        b"".join(lines).replace(b'"mtime_ns":4', b'"mtime_ns":1e30'),
        b"\xff\n",
        b"{" * 5000 + b"\n",
    ]
    for data in forged:
        path.write_bytes(data)
        with pytest.raises(PackageError, match=r"members\.jsonl"):
            read_members(str(path))
    path.unlink()
    with pytest.raises(PackageError, match="found nothing"):
        read_members(str(path))


@pytest.mark.parametrize(
    "path", ["", "/a", "a/", "a//b", "..", "a/../b", "./a", "a\0b", "a" * 32769]
)
def test_a_path_that_leaves_the_package_is_refused(path):
    with pytest.raises(PackageError, match="relative path"):
        MemberList().add(Member(path=path, size=0, mtime_ns=0))
    with pytest.raises(PackageError, match="relative path"):
        MemberList().add(Member(path="a", size=0, mtime_ns=0, source=path))


@pytest.mark.parametrize(
    "changes",
    [{"size": -1}, {"size": 2**63}, {"mtime_ns": 2**63}, {"mode": -1}, {"mode": 0o10000}],
    ids=repr,
)
def test_numbers_that_no_file_has_are_refused_and_leave_the_list_as_it_was(changes):
    members = small()
    before = content(members)
    with pytest.raises(PackageError, match="expected a size"):
        members.add(Member(**({"path": "d", "size": 0, "mtime_ns": 0} | changes)))
    assert content(members) == before


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (["a", "b", "a"], "found two members a"),
        (["a/b", "c", "a"], "a/b: expected a folder at a"),
        (["a", "a!", "a/b"], "a/b: expected a folder at a"),
    ],
)
def test_members_in_the_way_of_each_other_are_refused(tmp_path, paths, message):
    members = MemberList()
    for path in paths:
        members.add(Member(path=path, size=0, mtime_ns=0))
    with pytest.raises(PackageError, match=message):
        write_members(str(tmp_path / "list"), members)
    assert os.listdir(tmp_path) == []


@given(st.lists(paths, unique=True, max_size=8))
def test_other_members_are_distinct(chosen):
    list_of(Member(path=path, size=0, mtime_ns=TIMES[0]) for path in chosen).require_distinct()


def test_metadata_comes_last_in_its_item_and_that_of_the_root_at_the_end():
    members = MemberList()
    members.add(Member(path="readme", size=1, mtime_ns=0))
    for item in ("p.zarr", "q.zarr"):
        members.start_item(item)
        for path in ("zarr.json", "0/zarr.json", "0/c/0", "0/c/zarr.json.gz", "a"):
            members.add(Member(path=f"{item}/{path}", size=1, mtime_ns=0, source=f"x/{path}"))
    found = in_package_order(members)
    assert [member.path for member in found] == [
        "readme",
        *(
            f"{item}/{path}"
            for item in ("p.zarr", "q.zarr")
            for path in ("0/c/0", "a", "0/c/zarr.json.gz", "0/zarr.json", "zarr.json")
        ),
    ]
    assert [*found.items()] == [
        PackedItem(name=item, members=5, bytes=5) for item in ("p.zarr", "q.zarr")
    ]
    assert {member.source for member in found if member.path.endswith("/a")} == {"x/a"}
    assert found.item_of(0) is None
    assert found.item_of(6) == "q.zarr"
