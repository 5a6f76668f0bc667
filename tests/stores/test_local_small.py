"""Small files are the same whether the extension handles them or the general way."""

from __future__ import annotations

import errno
import os
import stat
import tracemalloc

import pytest

from jobtool.errors import DigestMismatchError, SourceChangedError
from jobtool.md5 import md5_of
from jobtool.stores.local import LocalStore, small
from jobtool.stores.store import Attributes, entry_of
from tests.stores.raw import LocalRaw

YEAR_1960_NS = -315_619_200_123_456_789
CONTENTS = {
    "empty": b"",
    "one byte": b"x",
    "odd \udcff\n": b"name",
    "a/b/c": os.urandom(40_000),
    "zeros": bytes(3 * 4096 + 5),
    "zeros inside": b"x" * 4096 + bytes(4096) + b"y",
    "almost zeros": bytes(4095) + b"x",
}


@pytest.fixture(params=["extension", "general"])
def way(request, monkeypatch):
    """Which of the two ways handles small files."""
    if request.param == "general":
        monkeypatch.setattr(small, "extension", None)
    elif small.extension is None:
        pytest.skip("the extension isn't built here")
    return request.param


def sent(source, destination, path):
    """Send a file as a transfer does."""
    entry = entry_of(source, path)
    content = source.read(entry, 0, entry.size)
    attributes = content.attributes
    md5 = md5_of(content.data)
    proof = destination.write(
        path,
        [content.data],
        Attributes(
            mtime_ns=attributes.mtime_ns, mode=attributes.mode, md5=md5, notes=attributes.notes
        ),
    )
    assert (proof.md5, proof.verified_by) == (md5, "read-back")
    return proof


@pytest.mark.parametrize("links", ["follow", "keep"])
def test_files_arrive_with_bytes_mode_and_time(way, tmp_path, links):
    source, destination = (LocalStore(str(tmp_path / side), links=links) for side in ("in", "out"))
    for number, (path, data) in enumerate(CONTENTS.items()):
        full = tmp_path / "in" / path
        full.parent.mkdir(parents=True, exist_ok=True)
        full.write_bytes(data)
        full.chmod(0o640 | number)
        os.utime(full, ns=(0, YEAR_1960_NS + number))
        for _ in range(2):  # the second time a file is replaced
            assert sent(source, destination, path).notes == ()
        found = (tmp_path / "out" / path).stat()
        assert (tmp_path / "out" / path).read_bytes() == data
        assert stat.S_IMODE(found.st_mode) == 0o640 | number
        assert found.st_mtime_ns == YEAR_1960_NS + number
    assert LocalRaw(str(tmp_path / "out")).paths() == set(CONTENTS)


def test_a_file_is_not_read_back_into_memory_as_a_whole(way, tmp_path):
    data = bytes(range(1, 256)) * 4096 * 32
    attributes = Attributes(mtime_ns=0, md5=md5_of(data))
    tracemalloc.start()
    try:
        LocalStore(str(tmp_path)).write("file", [data], attributes)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < len(data) / 2


def test_a_file_with_two_names_is_noted(way, tmp_path):
    source, destination = LocalStore(str(tmp_path / "in")), LocalStore(str(tmp_path / "out"))
    (tmp_path / "in").mkdir()
    (tmp_path / "in/one").write_bytes(b"data")
    os.link(tmp_path / "in/one", tmp_path / "in/two")
    assert [note.attribute for note in sent(source, destination, "one").notes] == ["hard link"]


def test_a_file_that_has_changed_since_it_was_listed_is_refused(way, tmp_path):
    store = LocalStore(str(tmp_path))
    (tmp_path / "file").write_bytes(b"data")
    entry = entry_of(store, "file")
    (tmp_path / "file").write_bytes(b"longer")
    with pytest.raises(SourceChangedError):
        store.read(entry, 0, 4)
    (tmp_path / "file").write_bytes(b"DATA")
    os.utime(tmp_path / "file", ns=(0, 0))
    with pytest.raises(SourceChangedError):
        store.read(entry, 0, 4)


def test_bytes_that_differ_from_their_digest_are_refused_and_nothing_is_left(way, tmp_path):
    store = LocalStore(str(tmp_path))
    (tmp_path / "file").write_bytes(b"before")
    with pytest.raises(DigestMismatchError):
        store.write("file", [b"flipped"], Attributes(mtime_ns=0, md5=md5_of(b"flopped")))
    assert (tmp_path / "file").read_bytes() == b"before"
    assert os.listdir(tmp_path) == ["file"]


def test_an_attribute_that_the_filesystem_does_not_keep_is_noted(way, tmp_path, monkeypatch):
    if way == "extension":
        monkeypatch.setattr(small.extension, "publish", lambda files: bytes(len(files)))

    def refused(*arguments):
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "chmod", refused)
    attributes = Attributes(mtime_ns=0, mode=0o705, md5=md5_of(b"data"))
    proof = LocalStore(str(tmp_path)).write("file", [b"data"], attributes)
    assert [note.attribute for note in proof.notes] == ["mode"]
    assert (tmp_path / "file").read_bytes() == b"data"


def test_a_folder_in_the_place_of_the_target_is_an_error_and_nothing_is_left(way, tmp_path):
    (tmp_path / "file/inside").mkdir(parents=True)
    attributes = Attributes(mtime_ns=0, md5=md5_of(b"data"))
    with pytest.raises(Exception, match="Is a directory"):
        LocalStore(str(tmp_path)).write("file", [b"data"], attributes)
    assert os.listdir(tmp_path) == ["file"]
