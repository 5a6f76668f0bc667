r"""The tests that every store passes: the contract of ``jobtool.stores.store``, line by line.

Somebody who writes a store subclasses ``StoreSuite`` in a test file, gives it two fixtures, and
runs pytest::

    import pytest
    from jobtool.testing.store_suite import StoreSuite

    class TestMyStore(StoreSuite):
        refused_names = {"not UTF-8 \udcff": "keys are UTF-8"}

        @pytest.fixture
        def store(self, server):
            return MyStore(server.url)

        @pytest.fixture
        def raw(self, server):
            return MyRawAccess(server)

``raw`` looks at the same bytes by other means than the store: the operating system's calls, another
client, the server's own folder. Needs pytest, which jobtool itself doesn't install. For messages
that show values call ``pytest.register_assert_rewrite("jobtool.testing.store_suite")`` first.
"""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import ClassVar, Protocol, cast

import pytest

from jobtool.errors import (
    DigestMismatchError,
    FileError,
    NotFoundError,
    SourceChangedError,
    SourceError,
)
from jobtool.stores.store import (
    Attributes,
    Child,
    Entry,
    Note,
    Part,
    Proof,
    Special,
    SpecialKind,
    Store,
    Upload,
    composite_md5,
)

MEBIBYTE = 1024 * 1024

#: Names that filesystems allow and that software stumbles over.
ODD_NAMES: Sequence[str] = (
    "with space",
    " leading space",
    "trailing space ",
    'double"quote',
    "single'quote",
    "#hash",
    "query?a=b&c=d",
    "100%",
    "%2F",
    "%zz",
    "a+b",
    "a=b;c:d,e@f!$(g)[h]{i}|j~k^l`m*n",
    "<tag>&amp;",
    "a -> b",
    "-dash",
    "~tilde",
    ".hidden",
    "...",
    "..a",
    "back\\slash",
    "emoji 🧬",
    "composed \u00e9",
    "combining e\u0301",
    "beyond the basic plane \U0001f9ec\U0010fffd",
    "right to left \u202e",
    "line separator \u2028",
    "new\nline",
    "carriage\rreturn",
    "tab\t",
    "control \x01\x1f\x7f",
    "not UTF-8 \udcff\udc80",
    "long " + "x" * 250,
)

#: Paths that would leave the store, or name nothing.
ESCAPING_PATHS: Sequence[str] = (
    "",
    ".",
    "..",
    "/x",
    "../x",
    "a/../x",
    "a/..",
    "a/./b",
    "a//b",
    "a/",
    "nul\0",
)

_MTIME_NS = 1_700_000_000_123_456_000
_MTIMES_NS = (0, 1, _MTIME_NS, 4_102_444_800_000_001_000, -1_500_000_000, -86_400_000_000_000)
_PART_BYTES = 5 * MEBIBYTE
_THREADS = 8
_FILES_PER_THREAD = 50


class RawAccess(Protocol):
    """The bytes below the store's root, by other means than the store."""

    def write(self, path: str, data: bytes, mtime_ns: int | None = None) -> None:
        """Put a file there, with its folders."""

    def read(self, path: str) -> bytes:
        """Return a file's bytes; raises any error if there is none."""

    def paths(self) -> set[str]:
        """Return the path of every file there, temporary ones included."""


class RawSpecials(RawAccess, Protocol):
    """Raw access that can also make what has no bytes."""

    def make_special(self, special: Special) -> None:
        """Put it there, with its folders."""


class StoreSuite:
    """What a store must do; subclass it and give the fixtures ``store`` and ``raw``.

    ``refused_names`` are those of ``ODD_NAMES`` that the store refuses with ``FileError``;
    ``unsupported_names`` those that a server under test can't hold although the store would send
    them. Both say why. ``raw_specials`` are the kinds that ``raw`` can make (see ``RawSpecials``);
    a store that lists links must keep them. ``keeps_mode`` says that permissions travel,
    ``recognises_completed`` that a second ``complete`` of the same upload finds the first.
    """

    refused_names: ClassVar[Mapping[str, str]] = {}
    unsupported_names: ClassVar[Mapping[str, str]] = {}
    raw_specials: ClassVar[frozenset[SpecialKind]] = frozenset()
    keeps_mode: ClassVar[bool] = False
    recognises_completed: ClassVar[bool] = False

    @pytest.fixture
    def store(self) -> Store:
        """Return an empty store."""
        raise NotImplementedError("a subclass of StoreSuite gives the fixture 'store'")

    @pytest.fixture
    def raw(self) -> RawAccess:
        """Return another way to the bytes of ``store``."""
        raise NotImplementedError("a subclass of StoreSuite gives the fixture 'raw'")

    @pytest.fixture
    def strangers_store(self) -> Store | None:
        """Return another owner's store of the same place; None if the store knows no owners."""
        return None

    # Listing

    def test_list_of_an_empty_store_yields_nothing(self, store: Store) -> None:
        """A root without files lists as nothing, and is no error."""
        assert list(store.list()) == []

    def test_list_is_recursive_in_byte_order_with_sizes(self, store: Store, raw: RawAccess) -> None:
        """``a-b`` < ``a.b`` < ``a/b`` < ``a0``, whatever is a folder."""
        paths = [
            "a-b",
            "a.b",
            "a/b",
            "a/c/d",
            "a/c.d",
            "a/c0",
            "a0",
            "A",
            "a~",
            "b/é",
            "b/z",
            "b/zz/1",
            "b/zz/2",
            "ü",
            "🧬",
        ]
        for number, path in enumerate(reversed(paths)):
            raw.write(path, b"x" * number)
        found = _files(store)
        assert [entry.path for entry in found] == sorted(paths, key=os.fsencode)
        assert {entry.path: entry.size for entry in found} == {
            path: number for number, path in enumerate(reversed(paths))
        }

    def test_listed_files_can_be_read_as_listed(self, store: Store, raw: RawAccess) -> None:
        """Size and time of a listed entry are those that ``read`` and ``head`` compare with."""
        for path in ("a", "b/c"):
            raw.write(path, path.encode())
        for entry in _files(store):
            assert bytes(store.read(entry, 0, entry.size).data) == entry.path.encode()
            assert replace(store.head(entry.path), etag=None) == replace(entry, etag=None)

    def test_more_files_than_a_page_of_a_listing_are_all_listed(
        self, store: Store, raw: RawAccess
    ) -> None:
        """Servers list a thousand at a time."""
        paths = [f"folder/{number:04}" for number in range(1050)]
        with ThreadPoolExecutor(_THREADS) as pool:
            list(pool.map(lambda path: raw.write(path, b""), paths))
        assert [entry.path for entry in store.list()] == paths
        children = store.children("folder")
        assert [getattr(child, "name", None) for child in children] == [path[7:] for path in paths]

    def test_children_are_sorted_and_tell_folders(self, store: Store, raw: RawAccess) -> None:
        """One level only, each folder once."""
        for path in ("b/x", "b/y/z", "a", "c", "b.d", "d/e/f/g"):
            raw.write(path, b"1")
        names = [("a", False), ("b", True), ("b.d", False), ("c", False), ("d", True)]
        assert list(store.children("")) == [Child(name, folder) for name, folder in names]
        assert list(store.children("b")) == [Child("x", False), Child("y", True)]
        assert list(store.children("d/e")) == [Child("f", True)]

    def test_children_of_nothing_and_of_a_file_are_errors(
        self, store: Store, raw: RawAccess
    ) -> None:
        """``NotFoundError`` for nothing, a ``SourceError`` for a file."""
        raw.write("file", b"1")
        with pytest.raises(NotFoundError):
            list(store.children("nothing"))
        with pytest.raises(SourceError):
            list(store.children("file"))

    def test_kind_tells_file_folder_and_missing(self, store: Store, raw: RawAccess) -> None:
        """A prefix of a name is no folder."""
        raw.write("folder/file", b"1")
        assert store.kind("") == "folder"
        assert store.kind("folder") == "folder"
        assert store.kind("folder/file") == "file"
        for path in ("fold", "folder/fil", "folder/file/x", "folder/missing"):
            assert store.kind(path) == "missing", path

    # Reading

    def test_head_tells_the_size(self, store: Store, raw: RawAccess) -> None:
        """And the path as it was asked for."""
        raw.write("a/b", b"12345")
        entry = store.head("a/b")
        assert (entry.path, entry.size) == ("a/b", 5)

    def test_what_is_missing_is_not_found(self, store: Store, raw: RawAccess) -> None:
        """By every method that needs a file; the message names it."""
        raw.write("there", b"12345")
        entry = Entry("missing", 5, store.head("there").mtime_ns)
        for attempt in (
            lambda: store.head("missing"),
            lambda: store.read(entry, 0, 5),
            lambda: store.digest("missing"),
            lambda: store.head("missing/deeper"),
        ):
            with pytest.raises(NotFoundError, match="missing"):
                attempt()

    def test_a_folder_is_no_file(self, store: Store, raw: RawAccess) -> None:
        """Its ``head`` is a ``SourceError``."""
        raw.write("folder/file", b"1")
        with pytest.raises(SourceError):
            store.head("folder")

    @pytest.mark.parametrize(
        ("offset", "length"), [(0, 1000), (0, 1), (0, 0), (999, 1), (1000, 0), (123, 456)]
    )
    def test_read_returns_the_range(
        self, store: Store, raw: RawAccess, offset: int, length: int
    ) -> None:
        """Exactly the bytes asked for."""
        data = _bytes(1000)
        raw.write("file", data)
        content = store.read(store.head("file"), offset, length)
        assert bytes(content.data) == data[offset : offset + length]

    def test_a_file_changed_after_its_listing_is_noticed(
        self, store: Store, raw: RawAccess
    ) -> None:
        """Whatever range is read."""
        raw.write("file", b"12345", mtime_ns=_MTIME_NS)
        entry = store.head("file")
        raw.write("file", b"123456", mtime_ns=_MTIME_NS)
        for offset, length in ((0, 5), (0, 1), (4, 1)):
            with pytest.raises(SourceChangedError, match="file"):
                store.read(entry, offset, length)

    def test_a_file_removed_after_its_listing_is_noticed(self, store: Store) -> None:
        """As not found."""
        _put(store, "file", b"12345")
        entry = store.head("file")
        store.delete("file")
        with pytest.raises(NotFoundError):
            store.read(entry, 0, 5)

    def test_digest_is_the_md5(self, store: Store, raw: RawAccess) -> None:
        """Of the bytes that are there; also of none."""
        raw.write("file", b"12345")
        raw.write("empty", b"")
        assert store.digest("file") == _md5(b"12345")
        assert store.digest("empty") == _md5(b"")

    # Writing whole files

    @pytest.mark.parametrize("size", [0, 1, 1000, MEBIBYTE + 1])
    def test_put_publishes_and_proves_the_file(
        self, store: Store, raw: RawAccess, size: int
    ) -> None:
        """With its folders, and with nothing beside it."""
        data = _bytes(size)
        proof = _put(store, "new/folder/file", data)
        assert raw.paths() == {"new/folder/file"}
        assert raw.read("new/folder/file") == data
        assert proof.md5 == _md5(data)
        assert store.digest("new/folder/file") == _md5(data)
        assert store.head("new/folder/file").size == size

    def test_put_takes_a_memoryview(self, store: Store, raw: RawAccess) -> None:
        """Also of a part of a buffer."""
        data = b"0123456789"
        attributes = Attributes(mtime_ns=_MTIME_NS, md5=_md5(data[2:5]))
        assert store.put("file", memoryview(data)[2:5], attributes).md5 == _md5(b"234")
        assert raw.read("file") == b"234"

    def test_put_replaces_what_was_there(self, store: Store, raw: RawAccess) -> None:
        """Longer by shorter and shorter by longer."""
        for data in (b"long" * 1000, b"short", b"", b"long again" * 1000):
            assert _put(store, "file", data).md5 == _md5(data)
            assert raw.read("file") == data
        assert raw.paths() == {"file"}

    def test_put_of_other_bytes_than_announced_leaves_nothing(
        self, store: Store, raw: RawAccess
    ) -> None:
        """No file and no leftover, whatever the size."""
        for data in (b"what was sent", b"", b"x" * MEBIBYTE):
            with pytest.raises(DigestMismatchError, match="file"):
                store.put("file", data, Attributes(mtime_ns=0, md5=_md5(b"announced")))
            assert raw.paths() == set()
            assert store.kind("file") == "missing"

    @pytest.mark.parametrize("path", ESCAPING_PATHS, ids=repr)
    def test_paths_that_leave_the_root_are_refused(
        self, store: Store, raw: RawAccess, path: str
    ) -> None:
        """By every method that writes."""
        for attempt in (
            lambda: _put(store, path, b"data"),
            lambda: store.begin(path, Attributes(mtime_ns=0, md5=_md5(b"data"))),
            lambda: store.delete(path),
            lambda: store.make_special(Special(path, "empty-folder")),
        ):
            with pytest.raises(FileError):
                attempt()
        assert raw.paths() == set()

    @pytest.mark.parametrize("mtime_ns", _MTIMES_NS)
    def test_the_modification_time_is_kept(self, store: Store, mtime_ns: int) -> None:
        """To the microsecond at least, whole and in parts."""
        _put(store, "whole", b"data", mtime_ns=mtime_ns)
        _put_in_parts(store, "parts", [b"data"], mtime_ns=mtime_ns)
        for path in ("whole", "parts"):
            content = store.read(store.head(path), 0, 4)
            assert abs(content.attributes.mtime_ns - mtime_ns) < 1000
            assert content.attributes.md5 in (None, _md5(b"data"))

    @pytest.mark.parametrize("mode", [0o400, 0o640, 0o755])
    def test_the_mode_is_kept(self, store: Store, mode: int) -> None:
        """Whole and in parts, where the store keeps it at all."""
        if not self.keeps_mode:
            pytest.skip("this store keeps no mode")
        attributes = Attributes(mtime_ns=_MTIME_NS, md5=_md5(b"data"), mode=mode)
        store.put("whole", b"data", attributes)
        upload, parts = _send(store, "parts", [b"data"])
        store.complete(upload, parts, attributes)
        for path in ("whole", "parts"):
            assert store.read(store.head(path), 0, 4).attributes.mode == mode

    def test_a_proof_hands_on_what_its_source_could_not_tell(self, store: Store) -> None:
        """Whole and in parts, so that a job's log can say it."""
        note = Note("acl", "it can't be read")
        attributes = Attributes(mtime_ns=_MTIME_NS, md5=_md5(b"data"), notes=(note,))
        assert note in store.put("whole", b"data", attributes).notes
        upload, parts = _send(store, "parts", [b"data"])
        assert note in store.complete(upload, parts, attributes).notes

    def test_a_modification_time_set_by_others_is_read(self, store: Store, raw: RawAccess) -> None:
        """What other programs wrote travels on."""
        raw.write("file", b"data", mtime_ns=_MTIME_NS)
        content = store.read(store.head("file"), 0, 4)
        assert abs(content.attributes.mtime_ns - _MTIME_NS) < 1000

    @pytest.mark.parametrize("name", ODD_NAMES, ids=ascii)
    def test_odd_names_are_kept(self, store: Store, raw: RawAccess, name: str) -> None:
        """As a file and as a folder, by every method."""
        if name in self.unsupported_names:
            pytest.skip(self.unsupported_names[name])
        path = f"{name}/{name}"
        if name in self.refused_names:
            with pytest.raises(FileError):
                _put(store, path, b"data")
            assert raw.paths() == set()
            return
        _put(store, path, b"data")
        assert raw.paths() == {path}
        assert raw.read(path) == b"data"
        assert [entry.path for entry in store.list()] == [path]
        assert list(store.children("")) == [Child(name, True)]
        assert list(store.children(name)) == [Child(name, False)]
        assert (store.kind(name), store.kind(path)) == ("folder", "file")
        assert bytes(store.read(store.head(path), 0, 4).data) == b"data"
        assert store.digest(path) == _md5(b"data")
        _put_in_parts(store, path, [b"other data"])
        assert raw.read(path) == b"other data"
        store.delete(path)
        assert raw.paths() == set()

    def test_threads_may_put_at_once(self, store: Store, raw: RawAccess) -> None:
        """Into the same folders, each its files."""
        contents = {
            f"folder{number % 7}/{number}": f"{number}".encode() * number
            for number in range(_THREADS * _FILES_PER_THREAD)
        }
        with ThreadPoolExecutor(_THREADS) as pool:
            proofs = list(pool.map(lambda item: _put(store, *item), contents.items()))
        assert [proof.md5 for proof in proofs] == [_md5(data) for data in contents.values()]
        assert raw.paths() == set(contents)
        assert {path: raw.read(path) for path in contents} == contents

    # Writing in parts

    def test_parts_in_any_order_make_the_file(self, store: Store, raw: RawAccess) -> None:
        """Nothing is at the path before ``complete``, and nothing beside it afterwards."""
        pieces = _pieces(_PART_BYTES, _PART_BYTES, 123)
        whole = b"".join(pieces)
        upload, parts = _send(store, "folder/file", pieces, order=(3, 1, 2))
        assert "folder/file" not in raw.paths()
        assert store.kind("folder/file") == "missing"
        attributes = Attributes(mtime_ns=_MTIME_NS, md5=_md5(whole))
        proof = store.complete(upload, parts, attributes)
        assert proof.md5 == _md5(whole)
        assert raw.paths() == {"folder/file"}
        assert raw.read("folder/file") == whole
        assert store.head("folder/file").size == len(whole)
        assert store.digest("folder/file") == _md5(whole)

    def test_threads_may_send_parts_at_once(self, store: Store, raw: RawAccess) -> None:
        """Of one upload."""
        pieces = _pieces(_PART_BYTES, _PART_BYTES, _PART_BYTES, 1)
        attributes = Attributes(mtime_ns=_MTIME_NS, md5=_md5(b"".join(pieces)))
        upload = store.begin("file", attributes)
        with ThreadPoolExecutor(len(pieces)) as pool:
            sent = [
                pool.submit(
                    store.put_part, upload, number, _PART_BYTES * (number - 1), piece, _md5(piece)
                )
                for number, piece in enumerate(pieces, 1)
            ]
        proof = store.complete(upload, [part.result() for part in sent], attributes)
        assert proof.md5 == attributes.md5
        assert raw.read("file") == b"".join(pieces)

    def test_a_part_sent_again_replaces_the_first(self, store: Store, raw: RawAccess) -> None:
        """As a retry does it, even if it had other bytes."""
        pieces = _pieces(_PART_BYTES, 456)
        other = b"\0" * _PART_BYTES
        whole = b"".join(pieces)
        attributes = Attributes(mtime_ns=_MTIME_NS, md5=_md5(whole))
        upload = store.begin("file", attributes)
        store.put_part(upload, 1, 0, other, _md5(other))
        last = store.put_part(upload, 2, _PART_BYTES, pieces[1], _md5(pieces[1]))
        first = store.put_part(upload, 1, 0, pieces[0], _md5(pieces[0]))
        assert store.complete(upload, [first, last], attributes).md5 == _md5(whole)
        assert raw.read("file") == whole

    def test_parts_replace_what_was_there_only_when_complete(
        self, store: Store, raw: RawAccess
    ) -> None:
        """Until then readers see the old file."""
        _put(store, "file", b"old and much longer than the new one")
        upload, parts = _send(store, "file", [b"new"])
        assert raw.read("file") == b"old and much longer than the new one"
        store.complete(upload, parts, Attributes(mtime_ns=_MTIME_NS, md5=_md5(b"new")))
        assert raw.read("file") == b"new"

    def test_a_corrupted_part_leaves_nothing(self, store: Store, raw: RawAccess) -> None:
        """It's found when it is sent or when the whole is put together."""
        pieces = _pieces(_PART_BYTES, 789)
        whole = b"".join(pieces)
        attributes = Attributes(mtime_ns=_MTIME_NS, md5=_md5(whole))
        upload = store.begin("file", attributes)
        last = store.put_part(upload, 2, _PART_BYTES, pieces[1], _md5(pieces[1]))
        corrupted = b"\xff" + bytes(pieces[0][1:])
        with pytest.raises(DigestMismatchError, match="file"):  # noqa: PT012 - either may raise
            first = store.put_part(upload, 1, 0, corrupted, _md5(pieces[0]))
            store.complete(upload, [first, last], attributes)
        store.abort(upload)
        assert raw.paths() == set()
        assert store.kind("file") == "missing"

    def test_abort_leaves_nothing(self, store: Store, raw: RawAccess) -> None:
        """Neither at the path nor beside it; a second time it does nothing."""
        upload, _ = _send(store, "file", [b"data"])
        empty = store.begin("other", Attributes(mtime_ns=0, md5=_md5(b"data")))
        for aborted in (upload, empty, upload):
            store.abort(aborted)
        assert raw.paths() == set()

    def test_uploads_of_one_path_do_not_mix(self, store: Store, raw: RawAccess) -> None:
        """The last that completes wins, wholly."""
        first, first_parts = _send(store, "file", [b"first" * 1000])
        second, second_parts = _send(store, "file", [b"second"])
        for upload, parts, data in (
            (second, second_parts, b"second"),
            (first, first_parts, b"first" * 1000),
        ):
            store.complete(upload, parts, Attributes(mtime_ns=_MTIME_NS, md5=_md5(data)))
            assert raw.read("file") == data

    # Taking up what was begun

    def test_held_parts_are_those_that_were_sent(self, store: Store) -> None:
        """All of them, or those asked for; by the token alone."""
        upload, parts = _send(store, "folder/file", _pieces(_PART_BYTES, _PART_BYTES, 123))
        as_read = Upload(
            path="folder/file", token=upload.token, attributes=Attributes(mtime_ns=_MTIME_NS)
        )
        assert list(store.held_parts(as_read, parts)) == parts
        assert list(store.held_parts(as_read, parts[1:2])) == parts[1:2]
        assert list(store.held_parts(as_read, ())) == []

    def test_a_part_that_was_never_sent_is_not_held(self, store: Store) -> None:
        """Whatever a record says."""
        first, second = _pieces(_PART_BYTES, 123)
        attributes = Attributes(mtime_ns=_MTIME_NS, md5=_md5(first + second))
        upload = store.begin("file", attributes)
        sent = store.put_part(upload, 2, _PART_BYTES, second, _md5(second))
        etag = sent.etag and _md5(first)
        never = Part(number=1, offset=0, size=len(first), md5=_md5(first), etag=etag)
        assert list(store.held_parts(upload, [never, sent])) == [sent]

    def test_a_part_sent_again_with_other_bytes_is_not_held_as_before(self, store: Store) -> None:
        """But as it was sent last."""
        pieces = _pieces(_PART_BYTES, 456)
        upload, (first, last) = _send(store, "file", pieces)
        other = pieces[0][::-1]
        again = store.put_part(upload, 1, 0, other, _md5(other))
        assert list(store.held_parts(upload, [first, last])) == [last]
        assert list(store.held_parts(upload, [again, last])) == [again, last]

    def test_uploads_that_ended_hold_nothing(self, store: Store) -> None:
        """They are not found, whether aborted or completed."""
        aborted, parts = _send(store, "file", [b"data"])
        store.abort(aborted)
        with pytest.raises(NotFoundError):
            store.held_parts(aborted, parts)
        completed, parts = _send(store, "file", [b"data"])
        store.complete(completed, parts, completed.attributes)
        with pytest.raises(NotFoundError):
            store.held_parts(completed, parts)

    def test_an_upload_is_taken_up_and_completed_by_its_token(
        self, store: Store, raw: RawAccess
    ) -> None:
        """As another process does it that has only read of it."""
        pieces = _pieces(_PART_BYTES, 456)
        whole = b"".join(pieces)
        attributes = Attributes(mtime_ns=_MTIME_NS, md5=_md5(whole))
        begun = store.begin("file", attributes)
        first = store.put_part(begun, 1, 0, pieces[0], _md5(pieces[0]))
        upload = Upload(path="file", token=begun.token, attributes=attributes)
        (held,) = store.held_parts(upload, [first])
        last = store.put_part(upload, 2, _PART_BYTES, pieces[1], _md5(pieces[1]))
        assert store.complete(upload, [held, last], attributes).md5 == attributes.md5
        assert raw.paths() == {"file"}
        assert raw.read("file") == whole

    def test_a_second_complete_of_the_same_upload_finds_the_first(
        self, store: Store, raw: RawAccess
    ) -> None:
        """As after an answer that was lost, where the store can tell."""
        if not self.recognises_completed:
            pytest.skip("this store can't tell")
        pieces = _pieces(_PART_BYTES, 456)
        upload, parts = _send(store, "file", pieces)
        first = store.complete(upload, parts, upload.attributes)
        assert store.complete(upload, parts, upload.attributes).md5 == first.md5
        raw.write("file", b"of somebody else")
        with pytest.raises(FileError):
            store.complete(upload, parts, upload.attributes)
        assert raw.read("file") == b"of somebody else"

    def test_uploads_are_leftovers_until_they_end(self, store: Store, raw: RawAccess) -> None:
        """Those that were completed or aborted are none, nor are files written whole."""
        _put(store, "folder/whole", b"data")
        assert _tokens(store, "folder/file") == set()
        completed, parts = _send(store, "folder/file", [b"data"])
        aborted, _ = _send(store, "folder/file", [b"data"])
        left, _ = _send(store, "folder/file", [b"data"])
        elsewhere, _ = _send(store, "elsewhere/file", [b"data"])
        assert _tokens(store, "folder/file") == {completed.token, aborted.token, left.token}
        store.complete(completed, parts, completed.attributes)
        store.abort(aborted)
        assert _tokens(store, "folder/file") == {left.token}
        assert _tokens(store, "elsewhere/file") == {elsewhere.token}
        for upload in store.leftovers("folder/file", 0):
            store.abort(upload)
        store.abort(elsewhere)
        assert _tokens(store, "folder/file") == set()
        assert raw.paths() == {"folder/whole", "folder/file"}

    def test_a_folder_that_is_not_there_holds_no_leftovers(self, store: Store) -> None:
        """And is no error."""
        assert list(store.leftovers("not/there", 0)) == []

    def test_listed_files_that_are_unfinished_are_told(self, store: Store, raw: RawAccess) -> None:
        """So that nobody takes them for data."""
        _put(store, "folder/whole", b"data")
        _send(store, "folder/parts", [b"data"])
        raw.write("folder/.jobtool", b"data")
        finished = [entry.path for entry in _files(store) if not store.is_leftover(entry.path)]
        assert finished == ["folder/.jobtool", "folder/whole"]

    def test_what_another_owner_has_begun_is_left_alone(
        self, store: Store, strangers_store: Store | None, raw: RawAccess
    ) -> None:
        """Where the store marks uploads with their owner."""
        if strangers_store is None:
            pytest.skip("this store knows no owners")
        theirs, parts = _send(strangers_store, "folder/file", [b"data"])
        ours, _ = _send(store, "folder/file", [b"data"])
        assert _tokens(store, "folder/file") == {ours.token}
        assert _tokens(strangers_store, "folder/file") == {theirs.token}
        listed = {entry.path for entry in _files(store)}
        told = {path for path in listed if store.is_leftover(path)}
        assert not any(strangers_store.is_leftover(path) for path in told)
        store.abort(ours)
        store.abort(theirs)  # as a record that somebody has edited may ask for
        with pytest.raises(NotFoundError):
            store.held_parts(theirs, parts)
        strangers_store.complete(theirs, parts, theirs.attributes)
        assert raw.read("folder/file") == b"data"

    # Proving what is there

    def test_a_file_is_proven_by_the_md5_of_what_it_holds(
        self, store: Store, raw: RawAccess
    ) -> None:
        """Whole, in parts, in parts of another size, and written by others."""
        pieces = _pieces(_PART_BYTES, 456)
        whole = b"".join(pieces)
        _put(store, "whole", whole)
        upload, parts = _send(store, "parts", pieces)
        store.complete(upload, parts, upload.attributes)
        raw.write("others", whole)
        for path in ("whole", "parts", "others"):
            for composite in (composite_md5(parts), f"{_md5(b'other')}-3"):
                proof = store.prove(path, _md5(whole), composite)
                assert proof is not None, (path, composite)
                assert proof.md5 == _md5(whole)

    def test_a_file_that_holds_something_else_is_not_proven(
        self, store: Store, raw: RawAccess
    ) -> None:
        """Nor one that isn't there; and it's left as it is."""
        _put(store, "whole", b"data")
        _put_in_parts(store, "parts", [b"data"])
        raw.write("empty", b"")
        other = Part(number=1, offset=0, size=5, md5=_md5(b"other"))
        for path in ("whole", "parts", "empty", "missing", "missing/deeper"):
            assert store.prove(path, _md5(b"other"), composite_md5([other])) is None
        assert raw.paths() == {"whole", "parts", "empty"}
        assert raw.read("parts") == b"data"

    # What has no bytes

    @pytest.mark.parametrize(
        "special",
        [Special("folder/empty", "empty-folder"), Special("folder/link", "link", "../no where")],
        ids=["empty folder", "link"],
    )
    def test_what_has_no_bytes_is_listed_as_what_it_is(
        self, store: Store, raw: RawAccess, special: Special
    ) -> None:
        """Beside the files."""
        if special.what not in self.raw_specials:
            pytest.skip(f"raw access can't make {special.what} here")
        raw.write("folder/a", b"1")
        raw.write("folder/z", b"1")
        cast(RawSpecials, raw).make_special(special)
        found = list(store.list())
        assert [entry for entry in found if isinstance(entry, Special)] == [special]
        assert [found.path for found in found] == ["folder/a", special.path, "folder/z"]

    @pytest.mark.parametrize("what", ["empty-folder", "link", "pipe", "socket", "device"])
    def test_what_capabilities_name_is_made_and_all_else_is_refused(
        self, store: Store, raw: RawAccess, what: SpecialKind
    ) -> None:
        """Made twice it's there once; what stood there already stays."""
        special = Special("new/folder/x", what, "../a" if what == "link" else None)
        if what not in store.capabilities.specials:
            with pytest.raises(FileError):
                store.make_special(special)
            assert list(store.list()) == []
            return
        for _ in range(2):
            store.make_special(special)
            assert list(store.list()) == [special]

    # Removing, making durable

    def test_delete_removes_one_file_and_forgives_none(self, store: Store, raw: RawAccess) -> None:
        """Others stay."""
        for path in ("a/b", "a/bc", "a.b"):
            raw.write(path, b"1")
        for _ in range(2):
            store.delete("a/b")
            assert raw.paths() == {"a/bc", "a.b"}
        store.delete("missing/folder/file")

    def test_sync_may_be_called_at_any_time(self, store: Store, raw: RawAccess) -> None:
        """Before anything was written and after."""
        store.sync()
        _put(store, "file", b"data")
        store.sync()
        store.sync()
        assert raw.read("file") == b"data"

    def test_urls_extend_the_root(self, store: Store) -> None:
        """``""`` is the root itself."""
        assert store.url_of("") == store.url
        assert store.url_of("a/b") == store.url.rstrip("/") + "/a/b"


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def _bytes(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


def _pieces(*sizes: int) -> list[bytes]:
    return [_bytes(size, seed) for seed, size in enumerate(sizes)]


def _put(store: Store, path: str, data: bytes, mtime_ns: int = _MTIME_NS) -> Proof:
    return store.put(path, data, Attributes(mtime_ns=mtime_ns, md5=_md5(data)))


def _send(
    store: Store,
    path: str,
    pieces: Sequence[bytes],
    *,
    order: Sequence[int] = (),
    mtime_ns: int = _MTIME_NS,
) -> tuple[Upload, list[Part]]:
    attributes = Attributes(mtime_ns=mtime_ns, md5=_md5(b"".join(pieces)))
    upload = store.begin(path, attributes)
    parts = {}
    for number in order or range(1, len(pieces) + 1):
        offset = sum(len(piece) for piece in pieces[: number - 1])
        data = pieces[number - 1]
        parts[number] = store.put_part(upload, number, offset, data, _md5(data))
    return upload, [parts[number] for number in sorted(parts)]


def _put_in_parts(
    store: Store, path: str, pieces: Sequence[bytes], mtime_ns: int = _MTIME_NS
) -> Proof:
    upload, parts = _send(store, path, pieces, mtime_ns=mtime_ns)
    attributes = Attributes(mtime_ns=mtime_ns, md5=_md5(b"".join(pieces)))
    return store.complete(upload, parts, attributes)


def _tokens(store: Store, path: str) -> set[str]:
    return {upload.token for upload in store.leftovers(path, 0)}


def _files(store: Store) -> list[Entry]:
    return [entry for entry in store.list() if isinstance(entry, Entry)]
