"""What the local store keeps of files and folders besides their bytes."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from jobtool.md5 import md5_of
from jobtool.stores.local import LocalStore
from jobtool.stores.local.sparse import write_sparsely
from jobtool.stores.preserve import KEEP_ALL
from jobtool.stores.store import Attributes, Entry, Part, entry_of
from jobtool.transfer.partranges import MEBIBYTE
from tests.needs import lack

ACCESS = "system.posix_acl_access"
BLOCK = 4096


def acl(*, owner: int, user: int, group: int, mask: int, others: int) -> bytes:
    """An access list with one named user, 12345."""
    entries = [(0x01, owner, -1), (0x02, user, 12345), (0x04, group, -1), (0x10, mask, -1)]
    entries.append((0x20, others, -1))
    packed = (struct.pack("<HHi", *entry) for entry in entries)
    return struct.pack("<I", 2) + b"".join(packed)


def with_acl(path: Path, value: bytes) -> None:
    try:
        os.setxattr(path, ACCESS, value)
    except OSError as error:
        lack(f"this filesystem has no access lists: {error}")


def put(store: LocalStore, path: str, data: bytes):
    return store.write(path, [data], Attributes(mtime_ns=0, md5=md5_of(data)))


def put_parts(store: LocalStore, path: str, parts: list[bytes], order: list[int]) -> list[Part]:
    upload = store.begin(path, Attributes(mtime_ns=0))
    offsets = [sum(map(len, parts[:index])) for index in range(len(parts))]
    sent = {
        index: store.put_part(upload, index + 1, offsets[index], parts[index], md5_of(parts[index]))
        for index in order
    }
    whole = [sent[index] for index in range(len(parts))]
    assert list(store.held_parts(upload, whole)) == whole
    attributes = Attributes(mtime_ns=0, md5=md5_of(b"".join(parts)))
    store.complete(upload, whole, attributes)
    return whole


def taken(path: Path) -> int:
    """How many bytes of the medium a file takes."""
    return path.stat().st_blocks * 512


@pytest.mark.parametrize(
    "data",
    [
        bytes(64 * BLOCK),
        bytes(64 * BLOCK) + b"end",
        b"begin" + bytes(64 * BLOCK),
        b"x" * BLOCK + bytes(62 * BLOCK) + b"y" * BLOCK,
        bytes(3 * MEBIBYTE),
    ],
    ids=["zeros", "zeros and an end", "a beginning and zeros", "a hole within", "3 MiB"],
)
def test_blocks_of_zeros_become_holes_and_read_as_zeros(tmp_path: Path, data: bytes) -> None:
    put(LocalStore(str(tmp_path)), "file", data)
    assert (tmp_path / "file").read_bytes() == data
    assert taken(tmp_path / "file") <= 4 * BLOCK


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0], [1, 2, 0]])
def test_a_part_of_zeros_is_a_hole_wherever_it_comes(tmp_path: Path, order: list[int]) -> None:
    size = 5 * MEBIBYTE
    parts = [bytes(size), b"x" + bytes(size - 1), bytes(size + 5)]
    put_parts(LocalStore(str(tmp_path)), "file", parts, order)
    assert (tmp_path / "file").read_bytes() == b"".join(parts)
    assert taken(tmp_path / "file") <= 12 * BLOCK


def test_a_part_of_zeros_replaces_what_was_sent_before(tmp_path: Path) -> None:
    store, zeros = LocalStore(str(tmp_path)), bytes(5 * MEBIBYTE)
    upload = store.begin("file", Attributes(mtime_ns=0))
    store.put_part(upload, 1, 0, b"x" * len(zeros), md5_of(b"x" * len(zeros)))
    part = store.put_part(upload, 1, 0, zeros, md5_of(zeros))
    store.complete(upload, [part], Attributes(mtime_ns=0, md5=md5_of(zeros)))
    assert (tmp_path / "file").read_bytes() == zeros


_pieces = st.lists(
    st.tuples(st.sampled_from([b"\0", b"\1"]), st.integers(1, 3 * BLOCK)), max_size=8
).map(lambda pieces: b"".join(byte * count for byte, count in pieces))


@given(data=_pieces, before=_pieces, offset=st.integers(0, 2 * BLOCK))
def test_whatever_is_written_is_what_is_read(
    tmp_path: Path, data: bytes, before: bytes, offset: int
) -> None:
    path = tmp_path / "file"
    with path.open("wb") as file:
        write_sparsely(file.fileno(), before, 0)
    assert path.read_bytes() == before
    with path.open("r+b") as file:
        write_sparsely(file.fileno(), memoryview(data), offset)
    expected = bytearray(before.ljust(offset + len(data) if data else 0, b"\0"))
    expected[offset : offset + len(data)] = data
    assert path.read_bytes() == bytes(expected)


def test_the_group_gets_what_the_access_list_gave_it_and_not_its_mask(tmp_path: Path) -> None:
    """Without the list the mode would give the owning group the rights of a named user."""
    source, file = LocalStore(str(tmp_path / "in")), tmp_path / "in" / "file"
    file.parent.mkdir()
    file.write_bytes(b"data")
    with_acl(file, acl(owner=6, user=6, group=0, mask=6, others=0))
    assert file.stat().st_mode & 0o777 == 0o660
    destination = LocalStore(str(tmp_path / "out"))
    attributes = source.read(entry_of(source, "file"), 0, 4).attributes
    assert attributes.mode == 0o600
    assert [note.attribute for note in attributes.notes] == ["acl"]
    put_with(destination, "file", attributes)
    assert (tmp_path / "out" / "file").stat().st_mode & 0o777 == 0o600


def put_with(store: LocalStore, path: str, attributes: Attributes):
    return store.write(path, [b"data"], replace(attributes, md5=md5_of(b"data")))


def test_access_lists_and_extended_attributes_travel_if_asked_for(tmp_path: Path) -> None:
    source = LocalStore(str(tmp_path / "in"), keep=KEEP_ALL)
    file = tmp_path / "in" / "file"
    file.parent.mkdir()
    file.write_bytes(b"data")
    file.chmod(0o640)
    with_acl(file, acl(owner=6, user=4, group=0, mask=4, others=0))
    os.setxattr(file, "user.origin", b"\0telescope\xff")
    attributes = source.read(entry_of(source, "file"), 0, 4).attributes
    proof = put_with(LocalStore(str(tmp_path / "out"), keep=KEEP_ALL), "file", attributes)
    arrived = tmp_path / "out" / "file"
    assert proof.notes == ()
    assert os.getxattr(arrived, ACCESS) == os.getxattr(file, ACCESS)
    assert os.getxattr(arrived, "user.origin") == b"\0telescope\xff"
    assert arrived.stat().st_mode == file.stat().st_mode
    by_default = LocalStore(str(tmp_path / "in"))
    attributes = by_default.read(entry_of(by_default, "file"), 0, 4).attributes
    assert (attributes.xattrs, attributes.acl, attributes.owner) == (None, None, None)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files to others")
def test_the_owner_travels_if_asked_for_and_setuid_only_with_it(tmp_path: Path) -> None:
    source = LocalStore(str(tmp_path / "in"), keep=KEEP_ALL)
    file = tmp_path / "in" / "file"
    file.parent.mkdir()
    file.write_bytes(b"data")
    os.chown(file, 12345, 54321)
    file.chmod(0o4755)
    attributes = source.read(entry_of(source, "file"), 0, 4).attributes
    put_with(LocalStore(str(tmp_path / "out"), keep=KEEP_ALL), "file", attributes)
    found = (tmp_path / "out" / "file").stat()
    assert (found.st_uid, found.st_gid, found.st_mode & 0o7777) == (12345, 54321, 0o4755)
    by_default = LocalStore(str(tmp_path / "in"))
    put_with(
        LocalStore(str(tmp_path / "plain")),
        "file",
        by_default.read(entry_of(by_default, "file"), 0, 4).attributes,
    )
    found = (tmp_path / "plain" / "file").stat()
    assert (found.st_uid, found.st_mode & 0o7777) == (os.geteuid(), 0o755)


@pytest.mark.parametrize(
    "mtime_ns", [10**20 + 1, 2**63, -(2**63) - 10**9], ids=["year 5138", "2262", "1677"]
)
def test_times_beyond_64_bits_are_listed_as_the_nearest_and_said(
    tmp_path: Path, mtime_ns: int
) -> None:
    file = Path("/dev/shm") / f"{tmp_path.name}-{abs(mtime_ns)}"
    if not file.parent.is_dir():
        lack("no /dev/shm, whose files have any time")
    folder = file
    folder.mkdir()
    try:
        (folder / "file").write_bytes(b"data")
        os.utime(folder / "file", ns=(mtime_ns, mtime_ns))
        assert (folder / "file").stat().st_mtime_ns == mtime_ns
        store = LocalStore(str(folder))
        (entry,) = store.list()
        assert isinstance(entry, Entry)
        assert entry.mtime_ns in (2**63 - 1, -(2**63))
        attributes = store.read(entry, 0, 4).attributes
        assert [note.attribute for note in attributes.notes] == ["times"]
        put_with(store, "copy", attributes)
        assert (folder / "copy").stat().st_mtime_ns == mtime_ns
    finally:
        for name in os.listdir(folder):
            (folder / name).unlink()
        folder.rmdir()


def test_a_time_that_the_filesystem_cannot_hold_is_said(tmp_path: Path) -> None:
    data, mtime_ns = b"data", 10**20
    proof = LocalStore(str(tmp_path)).write(
        "file", [data], Attributes(mtime_ns=mtime_ns, md5=md5_of(data))
    )
    is_held = (tmp_path / "file").stat().st_mtime_ns == mtime_ns
    assert [note.attribute for note in proof.notes] == ([] if is_held else ["times"])
