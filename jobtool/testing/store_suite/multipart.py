"""The suites of stores that take files in parts: ``Multipart``, ``Temporaries``."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ClassVar

import pytest

from jobtool.errors import (
    DigestMismatchError,
    FileError,
    NotFoundError,
    StoreError,
)
from jobtool.stores.optional import (
    Multipart,
    Temporaries,
    supports,
)
from jobtool.stores.store import (
    Attributes,
    Note,
    Part,
    Upload,
    entry_of,
    kind_of,
)
from jobtool.testing.store_suite.common import (
    ESCAPING_PATHS,
    MTIME_NS,
    MTIMES_NS,
    PART_BYTES,
    RawAccess,
    Suite,
    files_of,
    md5_of,
    named_files,
    pieces_of,
    require_refused,
    send,
    tokens_of,
    unfinished,
    write,
    write_in_parts,
)


class MultipartSuite(Suite):
    """Files in parts: sent in any order, resumed by another process, dropped.

    ``publishing_drops_uploads`` is for services that, when a file is published, drop the parts of
    all other uploads of its path.
    """

    protocol: ClassVar = Multipart
    recognises_completed: ClassVar[bool] = False
    publishing_drops_uploads: ClassVar[bool] = False

    def test_no_upload_leaves_the_root(self, store: Multipart, raw: RawAccess) -> None:
        """The path is refused before an upload is begun."""
        attributes = Attributes(mtime_ns=0, md5=md5_of(b"data"))
        for path in ESCAPING_PATHS:
            require_refused(partial(store.begin, path, attributes), path)
        assert raw.paths() == set()

    def test_odd_names_are_kept_in_parts(self, store: Multipart, raw: RawAccess) -> None:
        """They work as names of files and of folders."""
        for path in named_files([*self.refused_names]):
            require_refused(partial(write_in_parts, store, path, [b"data"]), path)
        assert raw.paths() == set()
        files = named_files(self.held_names())
        for path, data in files.items():
            write_in_parts(store, path, [data])
        assert {path: raw.read(path) for path in raw.paths()} == files

    @pytest.mark.parametrize("mtime_ns", MTIMES_NS)
    def test_attributes_are_kept_in_parts(self, store: Multipart, mtime_ns: int) -> None:
        """The store keeps those that it keeps of whole files, and passes on the source's notes."""
        note = Note("acl", "it can't be read")
        attributes = Attributes(mtime_ns=mtime_ns, md5=md5_of(b"data"), mode=0o640, notes=(note,))
        upload, parts = send(store, "file", [b"data"], mtime_ns=mtime_ns)
        assert note in store.complete(upload, parts, attributes).notes
        found = store.read(entry_of(store, "file"), 0, 4).attributes
        self.require_held_time(mtime_ns)
        if "times" in store.capabilities.keeps:
            assert self.is_time(found.mtime_ns, mtime_ns)
        if "mode" in store.capabilities.keeps:
            assert found.mode == 0o640

    def test_parts_in_any_order_make_the_file(self, store: Multipart, raw: RawAccess) -> None:
        """Nothing is at the path before ``complete``, and nothing beside it afterwards."""
        pieces = pieces_of(PART_BYTES, PART_BYTES, 123)
        whole = b"".join(pieces)
        upload, parts = send(store, "folder/file", pieces, order=(3, 1, 2))
        assert "folder/file" not in raw.paths()
        assert kind_of(store, "folder/file") == "missing"
        attributes = Attributes(mtime_ns=MTIME_NS, md5=md5_of(whole))
        proof = store.complete(upload, parts, attributes)
        assert proof.md5 == md5_of(whole)
        assert raw.paths() == {"folder/file"}
        assert raw.read("folder/file") == whole
        assert entry_of(store, "folder/file").size == len(whole)
        assert store.digest("folder/file") == md5_of(whole)

    def test_threads_may_send_parts_at_once(self, store: Multipart, raw: RawAccess) -> None:
        """The parts are those of one upload."""
        pieces = pieces_of(PART_BYTES, PART_BYTES, PART_BYTES, 1)
        attributes = Attributes(mtime_ns=MTIME_NS, md5=md5_of(b"".join(pieces)))
        upload = store.begin("file", attributes)
        with ThreadPoolExecutor(len(pieces)) as pool:
            sent = [
                pool.submit(
                    store.put_part, upload, number, PART_BYTES * (number - 1), piece, md5_of(piece)
                )
                for number, piece in enumerate(pieces, 1)
            ]
        proof = store.complete(upload, [part.result() for part in sent], attributes)
        assert proof.md5 == attributes.md5
        assert raw.read("file") == b"".join(pieces)

    def test_a_part_sent_again_replaces_the_first(self, store: Multipart, raw: RawAccess) -> None:
        """A retry does this. The part may have other bytes."""
        pieces = pieces_of(PART_BYTES, 456)
        other = b"\0" * PART_BYTES
        whole = b"".join(pieces)
        attributes = Attributes(mtime_ns=MTIME_NS, md5=md5_of(whole))
        upload = store.begin("file", attributes)
        store.put_part(upload, 1, 0, other, md5_of(other))
        last = store.put_part(upload, 2, PART_BYTES, pieces[1], md5_of(pieces[1]))
        first = store.put_part(upload, 1, 0, pieces[0], md5_of(pieces[0]))
        assert store.complete(upload, [first, last], attributes).md5 == md5_of(whole)
        assert raw.read("file") == whole

    def test_parts_replace_what_was_there_only_when_complete(
        self, store: Multipart, raw: RawAccess
    ) -> None:
        """Until then readers see the old file."""
        write(store, "file", b"old and much longer than the new one")
        upload, parts = send(store, "file", [b"new"])
        assert raw.read("file") == b"old and much longer than the new one"
        store.complete(upload, parts, Attributes(mtime_ns=MTIME_NS, md5=md5_of(b"new")))
        assert raw.read("file") == b"new"

    def test_a_corrupted_part_leaves_nothing(self, store: Multipart, raw: RawAccess) -> None:
        """It is detected when it is sent or when the parts are assembled."""
        pieces = pieces_of(PART_BYTES, 789)
        whole = b"".join(pieces)
        attributes = Attributes(mtime_ns=MTIME_NS, md5=md5_of(whole))
        upload = store.begin("file", attributes)
        last = store.put_part(upload, 2, PART_BYTES, pieces[1], md5_of(pieces[1]))
        corrupted = b"\xff" + bytes(pieces[0][1:])
        with pytest.raises(DigestMismatchError, match="file"):  # noqa: PT012 - either may raise
            first = store.put_part(upload, 1, 0, corrupted, md5_of(pieces[0]))
            store.complete(upload, [first, last], attributes)
        store.abort(upload)
        assert raw.paths() == set()
        assert kind_of(store, "file") == "missing"

    def test_abort_leaves_nothing(self, store: Multipart, raw: RawAccess) -> None:
        """No file is at the path or beside it. A second abort does nothing."""
        upload, _ = send(store, "file", [b"data"])
        empty = store.begin("other", Attributes(mtime_ns=0, md5=md5_of(b"data")))
        for aborted in (upload, empty, upload):
            store.abort(aborted)
        assert raw.paths() == set()

    def test_uploads_of_one_path_do_not_mix(self, store: Multipart, raw: RawAccess) -> None:
        """The last upload that completes replaces the whole file, or no other one completes."""
        first, first_parts = send(store, "file", [b"first" * 1000])
        second, second_parts = send(store, "file", [b"second"])
        if self.publishing_drops_uploads:
            store.complete(second, second_parts, second.attributes)
            with pytest.raises(StoreError, match="file"):
                store.complete(first, first_parts, first.attributes)
            assert raw.read("file") == b"second"
            return
        for upload, parts, data in (
            (second, second_parts, b"second"),
            (first, first_parts, b"first" * 1000),
        ):
            store.complete(upload, parts, Attributes(mtime_ns=MTIME_NS, md5=md5_of(data)))
            assert raw.read("file") == data

    def test_held_parts_are_those_that_were_sent(self, store: Multipart) -> None:
        """All parts or the requested ones are returned, by the token alone."""
        upload, parts = send(store, "folder/file", pieces_of(PART_BYTES, PART_BYTES, 123))
        as_read = Upload(
            path="folder/file", token=upload.token, attributes=Attributes(mtime_ns=MTIME_NS)
        )
        assert list(store.held_parts(as_read, parts)) == parts
        assert list(store.held_parts(as_read, parts[1:2])) == parts[1:2]
        assert list(store.held_parts(as_read, ())) == []

    def test_a_part_that_was_never_sent_is_not_held(self, store: Multipart) -> None:
        """A record that says otherwise changes nothing."""
        first, second = pieces_of(PART_BYTES, 123)
        attributes = Attributes(mtime_ns=MTIME_NS, md5=md5_of(first + second))
        upload = store.begin("file", attributes)
        sent = store.put_part(upload, 2, PART_BYTES, second, md5_of(second))
        etag = sent.etag and md5_of(first)
        never = Part(number=1, offset=0, size=len(first), md5=md5_of(first), etag=etag)
        assert list(store.held_parts(upload, [never, sent])) == [sent]

    def test_a_part_sent_again_with_other_bytes_is_not_held_as_before(
        self, store: Multipart
    ) -> None:
        """It is held with the bytes sent last."""
        pieces = pieces_of(PART_BYTES, 456)
        upload, (first, last) = send(store, "file", pieces)
        other = pieces[0][::-1]
        again = store.put_part(upload, 1, 0, other, md5_of(other))
        assert list(store.held_parts(upload, [first, last])) == [last]
        assert list(store.held_parts(upload, [again, last])) == [again, last]

    def test_uploads_that_ended_hold_nothing(self, store: Multipart) -> None:
        """They aren't found, whether aborted or completed."""
        aborted, parts = send(store, "file", [b"data"])
        store.abort(aborted)
        with pytest.raises(NotFoundError):
            store.held_parts(aborted, parts)
        completed, parts = send(store, "file", [b"data"])
        store.complete(completed, parts, completed.attributes)
        with pytest.raises(NotFoundError):
            store.held_parts(completed, parts)

    def test_an_upload_is_taken_up_and_completed_by_its_token(
        self, store: Multipart, raw: RawAccess
    ) -> None:
        """Another process can do this with only the token."""
        pieces = pieces_of(PART_BYTES, 456)
        whole = b"".join(pieces)
        attributes = Attributes(mtime_ns=MTIME_NS, md5=md5_of(whole))
        begun = store.begin("file", attributes)
        first = store.put_part(begun, 1, 0, pieces[0], md5_of(pieces[0]))
        upload = Upload(path="file", token=begun.token, attributes=attributes)
        (held,) = store.held_parts(upload, [first])
        last = store.put_part(upload, 2, PART_BYTES, pieces[1], md5_of(pieces[1]))
        assert store.complete(upload, [held, last], attributes).md5 == attributes.md5
        assert raw.paths() == {"file"}
        assert raw.read("file") == whole

    def test_a_second_complete_of_the_same_upload_finds_the_first(
        self, store: Multipart, raw: RawAccess
    ) -> None:
        """A lost answer causes it. Stores that can't detect it are skipped."""
        if not self.recognises_completed:
            pytest.skip("this store can't tell")
        pieces = pieces_of(PART_BYTES, 456)
        upload, parts = send(store, "file", pieces)
        first = store.complete(upload, parts, upload.attributes)
        assert store.complete(upload, parts, upload.attributes).md5 == first.md5
        raw.write("file", b"of somebody else")
        with pytest.raises(FileError):
            store.complete(upload, parts, upload.attributes)
        assert raw.read("file") == b"of somebody else"

    def test_uploads_are_leftovers_until_they_end(self, store: Multipart, raw: RawAccess) -> None:
        """Completed or aborted uploads and files that were written whole aren't leftovers."""
        write(store, "folder/whole", b"data")
        assert tokens_of(store, "folder/file") == set()
        completed, parts = send(store, "folder/file", [b"data"])
        aborted, _ = send(store, "folder/file", [b"data"])
        left, _ = send(store, "folder/file", [b"data"])
        elsewhere, _ = send(store, "elsewhere/file", [b"data"])
        assert tokens_of(store, "folder/file") == {completed.token, aborted.token, left.token}
        store.complete(completed, parts, completed.attributes)
        if self.publishing_drops_uploads:
            assert tokens_of(store, "folder/file") == set()
            left, _ = send(store, "folder/file", [b"data"])
        store.abort(aborted)
        assert tokens_of(store, "folder/file") == {left.token}
        assert tokens_of(store, "elsewhere/file") == {elsewhere.token}
        for upload in store.leftovers("folder/file", 0):
            store.abort(upload)
        store.abort(elsewhere)
        assert tokens_of(store, "folder/file") == set()
        assert raw.paths() == {"folder/whole", "folder/file"}

    def test_a_folder_that_is_not_there_holds_no_leftovers(self, store: Multipart) -> None:
        """It isn't an error."""
        assert list(store.leftovers("not/there", 0)) == []


class TemporariesSuite(Suite):
    """Unfinished files beside the others, distinguished from data and from other owners' files."""

    protocol: ClassVar = Temporaries

    @pytest.fixture
    def strangers_store(self) -> Temporaries:
        """Return another owner's store of the same place."""
        raise NotImplementedError(
            "a subclass of TemporariesSuite must define the fixture 'strangers_store'"
        )

    def test_listed_files_that_are_unfinished_are_told(
        self, store: Temporaries, raw: RawAccess
    ) -> None:
        """A listing can skip them, so that they aren't taken for data."""
        write(store, "folder/whole", b"data")
        raw.write("folder/.jobtool", b"data")
        with unfinished(store, "folder/other"):
            listed = [entry.path for entry in files_of(store)]
            finished = [path for path in listed if not store.is_leftover(path)]
        assert finished == ["folder/.jobtool", "folder/whole"]

    def test_each_unfinished_file_is_one_owners(
        self, store: Temporaries, strangers_store: Temporaries
    ) -> None:
        """Both see all files, and each tells its own."""
        with unfinished(store, "folder/file"), unfinished(strangers_store, "folder/file"):
            listed = {entry.path for entry in files_of(store)}
            ours = {path for path in listed if store.is_leftover(path)}
            theirs = {path for path in listed if strangers_store.is_leftover(path)}
            found = tokens_of(store, "folder/file")
            assert not ours & theirs
            assert not found & tokens_of(strangers_store, "folder/file")
            assert bool(found) == bool(ours)
            for upload in strangers_store.leftovers("folder/file", 0):
                store.abort(upload)  # as an edited record may ask for
            assert {entry.path for entry in files_of(store)} == listed

    def test_what_another_owner_has_begun_is_left_alone(
        self, store: Temporaries, strangers_store: Temporaries, raw: RawAccess
    ) -> None:
        """A record that says otherwise changes nothing."""
        is_ours, is_theirs = store.is_leftover, strangers_store.is_leftover
        if not (supports(store, Multipart) and supports(strangers_store, Multipart)):
            pytest.skip("this store has no uploads")
        theirs, parts = send(strangers_store, "folder/file", [b"data"])
        ours, _ = send(store, "folder/file", [b"data"])
        assert tokens_of(store, "folder/file") == {ours.token}
        assert tokens_of(strangers_store, "folder/file") == {theirs.token}
        listed = {entry.path for entry in files_of(store)}
        told = {path for path in listed if is_ours(path)}
        assert not any(is_theirs(path) for path in told)
        store.abort(ours)
        store.abort(theirs)  # as an edited record may ask for
        with pytest.raises(NotFoundError):
            store.held_parts(theirs, parts)
        strangers_store.complete(theirs, parts, theirs.attributes)
        assert raw.read("folder/file") == b"data"
