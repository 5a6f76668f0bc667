"""The suites of the smaller optional protocols."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import ClassVar, cast

import pytest

from jobtool.errors import (
    FileError,
    NotFoundError,
    SourceError,
)
from jobtool.stores.optional import (
    AccessCheck,
    DeletesSame,
    FolderAttributes,
    KnowsMd5s,
    Multipart,
    Prover,
    Prunes,
    Specials,
    TakesFiles,
    Temporaries,
    supports,
)
from jobtool.stores.store import (
    Attributes,
    Part,
    Special,
    SpecialKind,
    composite_md5,
    entry_of,
    kind_of,
)
from jobtool.testing.store_suite.common import (
    ESCAPING_PATHS,
    MTIME_NS,
    ODD_NAMES,
    PART_BYTES,
    RawAccess,
    RawSpecials,
    Suite,
    files_of,
    md5_of,
    named_files,
    pieces_of,
    require_refused,
    write,
    write_in_parts,
)


class DeletesSameSuite(Suite):
    """Deleting a file that is still the one that was looked at.

    ``compares_etags`` is False for a server that doesn't know the condition.
    """

    protocol: ClassVar = DeletesSame
    compares_etags: ClassVar = True

    def test_only_the_file_that_was_looked_at_is_deleted(
        self, store: DeletesSame, raw: RawAccess
    ) -> None:
        """Another one stays, and one that is gone is no error."""
        raw.write("folder/file", b"data")
        etag = entry_of(store, "folder/file").etag
        assert etag is not None
        if self.compares_etags:
            raw.write("folder/file", b"more")
            assert not store.delete_same("folder/file", etag)
            assert raw.read("folder/file") == b"more"
            etag = entry_of(store, "folder/file").etag
            assert etag is not None
        assert store.delete_same("folder/file", etag)
        assert store.stat("folder/file", file_only=True) == "missing"
        assert store.delete_same("folder/file", etag)


class KnowsMd5sSuite(Suite):
    """Knowing the MD5s of files before they are read."""

    protocol: ClassVar = KnowsMd5s

    def test_the_known_md5_is_that_of_the_bytes(self, store: KnowsMd5s, raw: RawAccess) -> None:
        """A file that isn't there has none, and the error for a damaged one says both MD5s."""
        raw.write("folder/file", b"data")
        assert store.known_md5("folder/file") in (None, md5_of(b"data"))
        assert store.known_md5("folder/other") is None
        assert md5_of(b"other") in str(store.damaged("folder/file", md5_of(b"other")))


class ProverSuite(Suite):
    """Proving existing files."""

    protocol: ClassVar = Prover

    def test_a_file_is_proven_by_the_md5_of_what_it_holds(
        self, store: Prover, raw: RawAccess
    ) -> None:
        """It may be written whole, in parts, in parts of another size, or by another program."""
        pieces = pieces_of(PART_BYTES, 456)
        whole = b"".join(pieces)
        write(store, "whole", whole)
        parts = [
            Part(number=number, offset=0, size=len(piece), md5=md5_of(piece))
            for number, piece in enumerate(pieces, start=1)
        ]
        _write_as_parts(store, "parts", pieces)
        raw.write("others", whole)
        for path in ("whole", "parts", "others"):
            for composite in (composite_md5(parts), f"{md5_of(b'other')}-3"):
                proof = store.prove(path, md5_of(whole), composite)
                assert proof is not None, (path, composite)
                assert proof.md5 == md5_of(whole)

    def test_a_file_that_holds_something_else_is_not_proven(
        self, store: Prover, raw: RawAccess
    ) -> None:
        """A missing file isn't proven either. The file is left unchanged."""
        write(store, "whole", b"data")
        _write_as_parts(store, "parts", [b"data"])
        raw.write("empty", b"")
        other = Part(number=1, offset=0, size=5, md5=md5_of(b"other"))
        for path in ("whole", "parts", "empty", "missing", "missing/deeper"):
            assert store.prove(path, md5_of(b"other"), composite_md5([other])) is None
        assert raw.paths() == {"whole", "parts", "empty"}
        assert raw.read("parts") == b"data"


class PrunesSuite(Suite):
    """Listings without some folders."""

    protocol: ClassVar = Prunes

    def test_a_folder_that_is_left_out_is_listed_as_such(
        self, store: Prunes, raw: RawAccess
    ) -> None:
        """Nothing below it is asked about, and all else is listed in order."""
        for path in ("a/1", "a/out", "out/a/1", "out/b", "z/out/1", "z/z"):
            raw.write(path, b"1")
        asked: list[str] = []

        def excludes(path: str) -> bool:
            asked.append(path)
            return path.rpartition("/")[2] == "out"

        found = list(store.list_without(excludes))
        specials = [each for each in found if isinstance(each, Special)]
        assert specials == [Special(path, "excluded-folder") for path in ("out", "z/out")]
        assert [each.path for each in found] == ["a/1", "a/out", "out", "z/out", "z/z"]
        assert set(asked) == {"a", "out", "z", "z/out"}

    def test_without_such_folders_all_is_listed(self, store: Prunes, raw: RawAccess) -> None:
        """The listing is that of ``list``."""
        for path in ("a/1", "b"):
            raw.write(path, b"1")
        assert list(store.list_without(lambda path: False)) == list(store.list())


class SpecialsSuite(Suite):
    """Empty folders and links."""

    protocol: ClassVar = Specials
    raw_specials: ClassVar[frozenset[SpecialKind]] = frozenset()

    def test_no_special_leaves_the_root(self, store: Specials, raw: RawAccess) -> None:
        """The path is refused."""
        for path in ESCAPING_PATHS:
            require_refused(partial(store.make_special, Special(path, "empty-folder")), path)
        assert raw.paths() == set()

    @pytest.mark.parametrize(
        "special",
        [Special("folder/empty", "empty-folder"), Special("folder/link", "link", "../no where")],
        ids=["empty folder", "link"],
    )
    def test_what_has_no_bytes_is_listed_as_what_it_is(
        self, store: Specials, raw: RawAccess, special: Special
    ) -> None:
        """They are listed together with the files."""
        if special.what not in self.raw_specials:
            pytest.skip(f"raw access can't make {special.what} here")
        raw.write("folder/a", b"1")
        raw.write("folder/z", b"1")
        cast(RawSpecials, raw).make_special(special)
        found = list(store.list())
        assert [entry for entry in found if isinstance(entry, Special)] == [special]
        assert [found.path for found in found] == ["folder/a", special.path, "folder/z"]

    @pytest.mark.parametrize("what", ["empty-folder", "link", "pipe", "socket", "device"])
    def test_what_the_store_names_is_made_and_all_else_is_refused(
        self, store: Specials, raw: RawAccess, what: SpecialKind
    ) -> None:
        """Making one twice changes nothing, and an existing file is kept."""
        special = Special("new/folder/x", what, "../a" if what == "link" else None)
        if what not in store.specials:
            with pytest.raises(FileError):
                store.make_special(special)
            assert list(store.list()) == []
            return
        for _ in range(2):
            store.make_special(special)
            assert list(store.list()) == [special]


class FolderAttributesSuite(Suite):
    """Attributes of folders."""

    protocol: ClassVar = FolderAttributes

    @pytest.mark.parametrize("path", ["folder", "folder/deeper", ""], ids=repr)
    def test_a_folder_is_given_its_time(self, store: FolderAttributes, path: str) -> None:
        """The time may be set again. The root keeps its own time."""
        write(store, "folder/deeper/file", b"data")
        before = store.folder_attributes(path).mtime_ns
        for _ in range(2):
            store.set_folder_attributes(path, Attributes(mtime_ns=MTIME_NS))
            found = store.folder_attributes(path).mtime_ns
            assert self.is_time(found, MTIME_NS if path else before)

    def test_a_folder_that_is_missing_has_none(self, store: FolderAttributes) -> None:
        """It isn't made either."""
        with pytest.raises(SourceError):
            store.folder_attributes("missing")
        with pytest.raises(NotFoundError):
            store.set_folder_attributes("missing", Attributes(mtime_ns=MTIME_NS))
        assert kind_of(store, "missing") == "missing"


class AccessCheckSuite(Suite):
    """Checking whether anything can be read or written."""

    protocol: ClassVar = AccessCheck

    @pytest.mark.parametrize("is_to_write", [True, False], ids=["write", "read"])
    def test_asking_leaves_nothing(
        self, store: AccessCheck, raw: RawAccess, is_to_write: bool
    ) -> None:
        """Access is granted here."""
        raw.write("file", b"data")
        store.check_access(write=is_to_write)
        assert raw.paths() == {"file"}
        assert [entry.path for entry in files_of(store)] == ["file"]


class TakesFilesSuite(Suite):
    """Files that programs put beside the store's own."""

    protocol: ClassVar = TakesFiles

    def test_a_file_gets_its_name_once_it_is_complete(
        self, store: TakesFiles, raw: RawAccess
    ) -> None:
        """It takes the place of a file that is there. Folders are made, the hidden one removed."""
        files = named_files(ODD_NAMES)
        for target in files:
            folder = store.incoming_for(target)
            store.make_incoming(folder)
            raw.write(f"{folder}/{target}", b"new")
            raw.write(f"{folder}/unfinished", b"data")
            store.make_incoming(folder)  # of an earlier attempt
            for _ in range(2):
                assert not store.take(f"{folder}/{target}", target, 4)
                assert not store.take(f"{folder}/missing", target, 0)
                assert store.take(f"{folder}/{target}", target, 3)
                assert raw.read(target) == b"new"
                raw.write(f"{folder}/{target}", b"own")
                raw.write(target, b"older")
                assert store.take(f"{folder}/{target}", target, 3)
                assert raw.read(target) == b"own"
                raw.write(f"{folder}/{target}", b"new")
            store.remove_incoming(folder)
            store.remove_incoming(folder)
        assert raw.paths() == set(files)

    def test_what_is_in_the_way_is_refused(self, store: TakesFiles, raw: RawAccess) -> None:
        """A folder where a file is needed, a file where a folder is, other than the hidden one."""
        folder = store.incoming_for("file")
        raw.write(folder, b"a file")
        with pytest.raises(FileError):
            store.make_incoming(folder)
        store.delete(folder)
        store.make_incoming(folder)
        raw.write(f"{folder}/1", b"data")
        raw.write("folder/file", b"other")
        for target in ("folder", "folder/file/below"):
            with pytest.raises(FileError):
                store.take(f"{folder}/1", target, 4)
        assert raw.read("folder/file") == b"other"
        store.remove_incoming(folder)

    def test_its_files_are_known_as_leftovers(self, store: TakesFiles, raw: RawAccess) -> None:
        """``jobtool clean`` finds them by their paths."""
        folder = store.incoming_for("file")
        store.make_incoming(folder)
        raw.write(f"{folder}/below/1", b"data")
        raw.write("file", b"data")
        assert supports(store, Temporaries)
        assert [store.is_leftover(entry.path) for entry in files_of(store)] == [True, False]


def _write_as_parts(store: Prover, path: str, pieces: Sequence[bytes]) -> None:
    if supports(store, Multipart):
        write_in_parts(store, path, pieces)
    else:
        store.write(path, pieces, Attributes(mtime_ns=MTIME_NS, md5=md5_of(b"".join(pieces))))
