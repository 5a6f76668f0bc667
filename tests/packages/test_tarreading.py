"""Headers are read as other programs write them, and what isn't plain is refused by name."""

from __future__ import annotations

import contextlib
import io
import subprocess
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobtool.errors import PackageError
from jobtool.packages.tarlayout import TarLayout
from jobtool.packages.tarreading import read_item
from tests.needs import need
from tests.packages.lists import HUGE, lists, paths
from tests.packages.made import item, make_tar

FORMATS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]


def reader(data):
    return lambda offset, length: data[offset : offset + length]


def items(data):
    found, start = [], 0
    while (one := read_item(reader(data), start, name="x.tar")) is not None:
        found.append(one)
        start = one.end
    return found


@given(lists((*HUGE, 0, 1, 513)))
def test_own_headers_say_what_was_put_in(members):
    layout = TarLayout(members)
    for number, member in enumerate(members):
        blocks, start = layout.header_of(number), layout.start_of(number)
        found = read_item(lambda at, n: blocks[at - start : at - start + n], start, name="x")  # noqa: B023
        assert (found.path, found.size, found.mtime_ns, found.mode, found.kind) == (
            *(member.path, member.size, member.mtime_ns, member.mode, "file"),
        )
        assert (found.start, found.offset) == (start, layout.data_offset(number))


@given(st.sampled_from(FORMATS), st.lists(st.tuples(paths, st.binary(max_size=1200)), max_size=4))
def test_what_tarfile_writes_is_read(form, members):
    file = io.BytesIO()
    expected = []
    with tarfile.open(fileobj=file, mode="w", format=form, errors="surrogateescape") as tar:
        for path, data in members:
            info, _ = item(path, data, mtime=1_700_000_000, mode=0o640)
            try:
                tar.addfile(info, io.BytesIO(data))
            except ValueError:  # ustar has no place for a long path
                continue
            expected.append((path, data))
    whole = file.getvalue()
    found = [(one.path, whole[one.offset : one.offset + one.size]) for one in items(whole)]
    assert found == expected


@pytest.mark.parametrize("program", [["tar", "--format=gnu"], ["tar", "--format=pax"], ["bsdtar"]])
def test_a_tree_that_tar_packed_is_read(tmp_path, program):
    need(program[0], packages="libarchive-tools")
    long = "n" * 120
    (tmp_path / "t" / long).mkdir(parents=True)
    (tmp_path / "t" / long / ("m" * 130)).write_bytes(b"1")
    (tmp_path / "t" / "ü").write_bytes(b"22")
    (tmp_path / "t" / "link").symlink_to("ü")
    subprocess.run([*program, "-cf", tmp_path / "x.tar", "-C", tmp_path / "t", "."], check=True)
    found = {one.path: one for one in items((tmp_path / "x.tar").read_bytes())}
    assert found[f"{long}/{'m' * 130}"].size == 1
    assert found["ü"].kind == "file"
    assert (found["link"].kind, found["link"].target) == ("symlink", "ü")
    assert found[long].kind == "folder"


def test_sizes_and_times_in_base_256_are_read():
    info, _ = item("big", mtime=-5)
    info.size = 20 * 1024**3
    data = info.tobuf(tarfile.GNU_FORMAT)
    found = read_item(reader(data), 0, name="x")
    assert (found.size, found.mtime_ns) == (20 * 1024**3, -5 * 10**9)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (tarfile.CHRTYPE, "a character device"),
        (tarfile.BLKTYPE, "a block device"),
        (tarfile.FIFOTYPE, "a named pipe"),
        (tarfile.GNUTYPE_SPARSE, "a sparse file"),
        (b"Z", "unknown type"),
    ],
)
def test_what_is_not_plain_is_refused_by_name(kind, said):
    data = item("odd", type=kind)[0].tobuf()
    with pytest.raises(PackageError, match=said):
        read_item(reader(data), 0, name="x.tar")


def test_sparse_files_of_pax_are_refused():
    info, _ = item("odd", pax_headers={"GNU.sparse.realsize": "1000000000000"})
    with pytest.raises(PackageError, match=r"x\.tar, member odd: .*sparse"):
        read_item(reader(info.tobuf(tarfile.PAX_FORMAT)), 0, name="x.tar")


def test_a_header_that_says_it_is_huge_is_not_read():
    info = tarfile.TarInfo("x")
    info.type, info.size = b"x", 2**40
    with pytest.raises(PackageError, match="extended header of"):
        read_item(reader(info.tobuf(tarfile.GNU_FORMAT)), 0, name="x")


@given(st.data())
def test_damage_is_an_error_or_harmless(data):
    whole = bytearray(item("a" * 200, pax_headers={"path": "ü" * 90})[0].tobuf(tarfile.PAX_FORMAT))
    if data.draw(st.booleans()):
        del whole[data.draw(st.integers(0, len(whole) - 1)) :]
    else:
        whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(PackageError):
        found = read_item(reader(bytes(whole)), 0, name="x")
        assert found is not None
        assert found.size >= 0


def test_global_records_that_change_members_are_refused(tmp_path):
    tar = make_tar(tmp_path / "x.tar", [item("a", b"1")])
    with tarfile.open(tar, "w", pax_headers={"comment": "from git"}) as file:
        file.addfile(item("a")[0])
    assert [one.path for one in items(tar.read_bytes())] == ["a"]
    with tarfile.open(tar, "w", pax_headers={"size": "5"}) as file:
        file.addfile(item("a")[0])
    with pytest.raises(PackageError, match="global header"):
        items(tar.read_bytes())
