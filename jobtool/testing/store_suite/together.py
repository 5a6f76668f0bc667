"""The suites of stores that take many small files at a time."""

from __future__ import annotations

from typing import ClassVar

from jobtool.md5 import md5_of
from jobtool.stores.optional import ReadsTogether, WritesTogether
from jobtool.stores.store import Attributes, Entry, entry_of
from jobtool.testing.store_suite.common import ESCAPING_PATHS, MTIME_NS, RawAccess, Suite, write

_FILES = {f"{number % 3}/{number}": b"%d" % number * number for number in range(40)}


class ReadsTogetherSuite(Suite):
    """Reading many small files at a time."""

    protocol: ClassVar = ReadsTogether

    def test_files_are_read_together_as_they_are_alone(
        self, store: ReadsTogether, raw: RawAccess
    ) -> None:
        """In the order asked for. Any file may be left to ``read``."""
        for path, data in _FILES.items():
            raw.write(path, data)
        entries = [entry_of(store, path) for path in reversed(_FILES)]
        found = store.read_together(entries)
        assert len(found) == len(entries)
        for entry, content in zip(entries, found, strict=True):
            assert content in (None, store.read(entry, 0, entry.size))

    def test_what_is_missing_or_has_another_size_is_not_read(
        self, store: ReadsTogether, raw: RawAccess
    ) -> None:
        """Such a file is left to ``read``, which says what is wrong."""
        for path, data in _FILES.items():
            raw.write(path, data)
        entries = [entry_of(store, path) for path in _FILES]
        entries[1] = Entry("missing", 1, MTIME_NS)
        entries[2] = Entry(entries[2].path, entries[2].size + 1, entries[2].mtime_ns)
        found = store.read_together(entries)
        assert found[1:3] == [None, None]


class WritesTogetherSuite(Suite):
    """Writing many small files at a time."""

    protocol: ClassVar = WritesTogether

    def test_files_are_written_together_as_they_are_alone(
        self, store: WritesTogether, raw: RawAccess
    ) -> None:
        """Each has its proof, or is left to ``write`` and isn't there. Old files are replaced."""
        write(store, "1/4", b"before")
        files = [(path, data, _attributes(data)) for path, data in _FILES.items()]
        proofs = store.write_together(files)
        arrived = {"1/4"}
        for (path, data, attributes), proof in zip(files, proofs, strict=True):
            if proof is not None:
                arrived.add(path)
                assert proof.md5 == attributes.md5
                assert raw.read(path) == data
                assert entry_of(store, path).size == len(data)
        assert raw.paths() == arrived

    def test_bytes_that_differ_from_their_md5_are_not_proven(
        self, store: WritesTogether, raw: RawAccess
    ) -> None:
        """Nothing is left of such a file, and what was there stays."""
        write(store, "there", b"before")
        wrong = _attributes(b"other")
        files = [("there", b"flipped", wrong), ("new", b"flipped", wrong)]
        files += [(path, data, _attributes(data)) for path, data in _FILES.items()]
        proofs = store.write_together(files)
        assert proofs[:2] == [None, None]
        assert raw.read("there") == b"before"
        assert "new" not in raw.paths()

    def test_a_path_that_leads_elsewhere_is_not_written(
        self, store: WritesTogether, raw: RawAccess
    ) -> None:
        """It is left to ``write``, which refuses it."""
        files = [(path, b"data", _attributes(b"data")) for path in ESCAPING_PATHS]
        assert not any(store.write_together(files))
        assert raw.paths() == set()


def _attributes(data: bytes) -> Attributes:
    return Attributes(mtime_ns=MTIME_NS, md5=md5_of(data))
