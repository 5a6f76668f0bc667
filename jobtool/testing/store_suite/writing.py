"""What every store must do for writing: whole files, odd names, removal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from jobtool.errors import (
    DigestMismatchError,
    NotFoundError,
    SourceChangedError,
)
from jobtool.stores.store import (
    Attributes,
    Note,
    Store,
    entry_of,
    kind_of,
)
from jobtool.testing.store_suite.common import (
    ESCAPING_PATHS,
    FILES_PER_THREAD,
    MEBIBYTE,
    MTIME_NS,
    MTIMES_NS,
    ODD_NAMES,
    THREADS,
    RawAccess,
    Suite,
    md5_of,
    named_files,
    pieces_of,
    require_refused,
    some_bytes,
    write,
)
from jobtool.testing.store_suite.reading import require_named_files


class Writing(Suite):
    """Writing whole files and removing them."""

    @pytest.mark.parametrize("size", [0, 1, 1000, MEBIBYTE + 1])
    def test_write_publishes_the_file_and_proves_nothing_else(
        self, store: Store, raw: RawAccess, size: int
    ) -> None:
        """Its folders are made, and no other file."""
        data = some_bytes(size)
        proof = write(store, "new/folder/file", data)
        assert raw.paths() == {"new/folder/file"}
        assert raw.read("new/folder/file") == data
        assert proof is None or proof.md5 == md5_of(data)
        assert store.digest("new/folder/file") == md5_of(data)
        assert entry_of(store, "new/folder/file").size == size

    def test_write_takes_a_memoryview(self, store: Store, raw: RawAccess) -> None:
        """It may be a part of a buffer."""
        data = b"0123456789"
        attributes = Attributes(mtime_ns=MTIME_NS, md5=md5_of(data[2:5]))
        store.write("file", [memoryview(data)[2:5]], attributes)
        assert raw.read("file") == b"234"

    @pytest.mark.parametrize("sizes", [(), (0,), (3, 0, 1000, MEBIBYTE, 1)], ids=str)
    @pytest.mark.parametrize("is_known", [True, False], ids=["MD5 known", "MD5 unknown"])
    def test_write_takes_a_stream(
        self, store: Store, raw: RawAccess, sizes: Sequence[int], is_known: bool
    ) -> None:
        """Chunks have any size, and the MD5 of the whole may be unknown."""
        pieces = pieces_of(*sizes)
        whole = b"".join(pieces)
        attributes = Attributes(mtime_ns=MTIME_NS, md5=md5_of(whole) if is_known else None)
        proof = store.write("folder/file", iter(pieces), attributes)
        assert proof is None or proof.md5 == md5_of(whole)
        assert raw.paths() == {"folder/file"}
        assert raw.read("folder/file") == whole

    @pytest.mark.parametrize("before", [None, b"old"], ids=["new", "replaced"])
    def test_a_stream_that_breaks_off_leaves_what_was_there(
        self, store: Store, raw: RawAccess, before: bytes | None
    ) -> None:
        """The reader's error is raised, and no file is left beside the old one."""
        if before is not None:
            raw.write("folder/file", before)

        def chunks() -> Iterator[bytes]:
            yield b"new" * 1000
            raise SourceChangedError("changed while it was read")

        with pytest.raises(SourceChangedError, match="while it was read"):
            store.write("folder/file", chunks(), Attributes(mtime_ns=MTIME_NS))
        assert raw.paths() == (set() if before is None else {"folder/file"})
        assert before is None or raw.read("folder/file") == before

    def test_readers_see_the_old_file_until_the_stream_ends(
        self, store: Store, raw: RawAccess
    ) -> None:
        """They see it whole at each moment."""
        raw.write("file", b"old")
        seen = []

        def chunks() -> Iterator[bytes]:
            for _ in range(3):
                yield b"new" * 1000
                seen.append(raw.read("file"))

        store.write("file", chunks(), Attributes(mtime_ns=MTIME_NS))
        assert seen == [b"old"] * 3
        assert raw.read("file") == b"new" * 3000

    def test_write_replaces_what_was_there(self, store: Store, raw: RawAccess) -> None:
        """The new file may be shorter or longer."""
        for data in (b"long" * 1000, b"short", b"", b"long again" * 1000):
            write(store, "file", data)
            assert raw.read("file") == data
        assert raw.paths() == {"file"}

    def test_other_bytes_than_announced_are_never_proven(
        self, store: Store, raw: RawAccess
    ) -> None:
        """A store that checks leaves no file and no leftover. One that doesn't gives no proof."""
        for data in (b"what was sent", b"", b"x" * MEBIBYTE):
            attributes = Attributes(mtime_ns=0, md5=md5_of(b"announced"))
            try:
                proof = store.write("file", [data], attributes)
            except DigestMismatchError:
                assert raw.paths() == set()
                assert kind_of(store, "file") == "missing"
            else:
                assert proof is None
                assert store.digest("file") == md5_of(data)

    def test_paths_that_leave_the_root_are_refused(self, store: Store, raw: RawAccess) -> None:
        """Every method that writes refuses them."""
        for path in ESCAPING_PATHS:
            require_refused(partial(write, store, path, b"data"), path)
            require_refused(partial(store.delete, path), path)
        assert raw.paths() == set()

    @pytest.mark.parametrize("mtime_ns", MTIMES_NS)
    def test_the_modification_time_is_kept(self, store: Store, mtime_ns: int) -> None:
        """It is as exact as the store keeps times, if it keeps them at all."""
        if "times" not in store.capabilities.keeps:
            pytest.skip("this store keeps no times")
        self.require_held_time(mtime_ns)
        write(store, "file", b"data", mtime_ns=mtime_ns)
        content = store.read(entry_of(store, "file"), 0, 4)
        assert self.is_time(content.attributes.mtime_ns, mtime_ns)
        assert content.attributes.md5 in (None, md5_of(b"data"))

    @pytest.mark.parametrize("mode", [0o400, 0o640, 0o755])
    def test_the_mode_is_kept(self, store: Store, mode: int) -> None:
        """Stores that don't keep modes are skipped."""
        if "mode" not in store.capabilities.keeps:
            pytest.skip("this store keeps no mode")
        attributes = Attributes(mtime_ns=MTIME_NS, md5=md5_of(b"data"), mode=mode)
        store.write("file", [b"data"], attributes)
        assert store.read(entry_of(store, "file"), 0, 4).attributes.mode == mode

    def test_a_proof_hands_on_what_its_source_could_not_tell(self, store: Store) -> None:
        """The notes are passed on, so that a job's log can show them."""
        note = Note("acl", "it can't be read")
        attributes = Attributes(mtime_ns=MTIME_NS, md5=md5_of(b"data"), notes=(note,))
        proof = store.write("file", [b"data"], attributes)
        assert proof is None or note in proof.notes

    def test_odd_names_are_kept(self, store: Store, raw: RawAccess) -> None:
        """They work as names of files and of folders, in every method."""
        for path in named_files([*self.refused_names]):
            require_refused(partial(write, store, path, b"data"), path)
        assert raw.paths() == set()
        files = named_files(self.held_names())
        for path, data in files.items():
            write(store, path, data)
        assert {path: raw.read(path) for path in raw.paths()} == files
        require_named_files(store, files)
        while files:
            store.delete(files.popitem()[0])
            if len(files) in (0, len(ODD_NAMES) // 2):
                assert raw.paths() == set(files)

    def test_threads_may_write_at_once(self, store: Store, raw: RawAccess) -> None:
        """They write different files into the same folders."""
        contents = {
            f"folder{number % 7}/{number}": f"{number}".encode() * number
            for number in range(THREADS * FILES_PER_THREAD)
        }
        with ThreadPoolExecutor(THREADS) as pool:
            proofs = list(pool.map(lambda item: write(store, *item), contents.items()))
        for proof, data in zip(proofs, contents.values(), strict=True):
            assert proof is None or proof.md5 == md5_of(data)
        assert raw.paths() == set(contents)
        assert {path: raw.read(path) for path in contents} == contents

    def test_a_file_removed_after_its_listing_is_noticed(self, store: Store) -> None:
        """It raises ``NotFoundError``."""
        write(store, "file", b"12345")
        entry = entry_of(store, "file")
        store.delete("file")
        with pytest.raises(NotFoundError):
            store.read(entry, 0, 5)

    def test_delete_removes_one_file_and_forgives_none(self, store: Store, raw: RawAccess) -> None:
        """Other files are kept."""
        for path in ("a/b", "a/bc", "a.b"):
            raw.write(path, b"1")
        for _ in range(2):
            store.delete("a/b")
            assert raw.paths() == {"a/bc", "a.b"}
        store.delete("missing/folder/file")

    def test_sync_may_be_called_at_any_time(self, store: Store, raw: RawAccess) -> None:
        """It may be called before the first write, too."""
        store.sync()
        write(store, "file", b"data")
        store.sync()
        store.sync()
        assert raw.read("file") == b"data"
