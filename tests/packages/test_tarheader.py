"""Headers hold what they are made of, in blocks, as Python's tarfile reads them."""

from __future__ import annotations

import hashlib
import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobtool.packages.members import Member
from jobtool.packages.tarheader import BLOCK_BYTES, header, header_size, padded
from tests.packages.lists import HUGE, OCTAL, SIZES, members_of


def made(member: Member) -> bytes:
    path = member.path.encode("utf-8", "surrogateescape")
    found = header(path, member.size, member.mtime_ns, member.mode)
    assert len(found) == header_size(path, member.size, member.mtime_ns)
    assert len(found) % BLOCK_BYTES == 0
    return found


def read(data: bytes) -> tarfile.TarInfo:
    with tarfile.open(fileobj=io.BytesIO(data), errors="surrogateescape") as tar:
        return tar.next()


@given(members_of([*SIZES, *HUGE]))
def test_tarfile_reads_what_was_written(member):
    data = made(member)
    found = read(data)
    assert (found.name, found.size, found.mode) == (member.path, member.size, member.mode)
    assert found.mtime == pytest.approx(member.mtime_ns / 10**9, rel=1e-12)
    assert found.isreg()
    assert (found.uid, found.gid, found.uname, found.gname) == (0, 0, "", "")
    assert found.offset_data == len(data)


@given(members_of(SIZES))
def test_a_time_is_written_exactly(member):
    data = made(member)
    if b" mtime=" in data:
        text = data.partition(b" mtime=")[2].partition(b"\n")[0].decode()
        seconds, _, fraction = text.lstrip("-").partition(".")
        found = int(seconds) * 10**9 + int(fraction.ljust(9, "0") or 0)
        assert (-found if text.startswith("-") else found) == member.mtime_ns
    else:
        assert int(data[-512:][136:147], 8) * 10**9 == member.mtime_ns


@given(st.integers(0, 2**62))
def test_padding_fills_a_block(size):
    assert size <= padded(size) < size + BLOCK_BYTES
    assert padded(size) % BLOCK_BYTES == 0


@pytest.mark.parametrize(
    ("path", "size", "mtime_ns", "blocks"),
    [
        ("a" * 100, 1, 0, 1),
        ("a" * 101, 1, 0, 3),
        ("p" * 155 + "/" + "a" * 100, 1, 0, 1),
        ("p" * 156 + "/" + "a" * 99, 1, 0, 3),
        ("p" * 155 + "/" + "a" * 101, 1, 0, 3),
        ("/".join("p" * 128), 1, 0, 1),
        ("é", 1, 0, 3),
        ("\udcff", 1, 0, 3),
        ("a", OCTAL - 1, 0, 1),
        ("a", OCTAL, 0, 3),
        ("a", 1, 1, 3),
        ("a", 1, 10**9, 1),
        ("a", 1, -(10**9), 3),
        ("b" * 5000, 1, 0, 2 + 10),
    ],
)
def test_a_header_is_extended_only_where_ustar_does_not_hold_the_member(
    path, size, mtime_ns, blocks
):
    data = made(Member(path=path, size=size, mtime_ns=mtime_ns))
    assert len(data) == blocks * BLOCK_BYTES
    assert read(data).name == path


def test_a_name_that_readers_of_text_would_change_is_marked_as_bytes():
    for path, is_text in [("\u00e9", True), ("e\u0301", False), ("\udcff", False), ("名", True)]:
        data = made(Member(path=path, size=0, mtime_ns=0))
        assert (b"21 hdrcharset=BINARY\n" in data) is not is_text


def test_a_plain_header_is_that_of_tarfile():
    info = tarfile.TarInfo("folder/file")
    info.size, info.mtime, info.mode = 1234, 1_700_000_000, 0o640
    member = Member(path=info.name, size=info.size, mtime_ns=info.mtime * 10**9, mode=info.mode)
    assert made(member) == info.tobuf(tarfile.PAX_FORMAT)


def test_these_headers_never_change():
    """A package that is packed again by a later version has the same bytes."""
    found = b"".join(
        made(Member(path=path, size=size, mtime_ns=mtime_ns, mode=mode))
        for path, size, mtime_ns, mode in [
            ("plate.zarr/0/c/0", 4096, 1_700_000_000_123_456_789, 0o644),
            ("p" * 155 + "/" + "a" * 100, OCTAL, -1_500_000_000, 0o755),
            ("é/e\u0301\udcff" + "x" * 600, 0, 2**63 - 1, 0),
        ]
    )
    assert len(found) == (3 + 3 + 2 + 2) * BLOCK_BYTES
    assert hashlib.md5(found).hexdigest() == "4fe3e788792f8cf61f52d36b10a38644"
