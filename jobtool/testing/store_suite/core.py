"""The suites of the core protocol: of a whole store, and of one that can only be a source."""

from __future__ import annotations

from functools import partial

import pytest

from jobtool.errors import FileError
from jobtool.stores.optional import PROTOCOLS
from jobtool.stores.store import Attributes, Store
from jobtool.testing.store_suite.common import RawAccess, Suite, named_files, require_refused
from jobtool.testing.store_suite.reading import Reading, require_named_files
from jobtool.testing.store_suite.writing import Writing


class _Protocols(Suite):
    def test_the_suites_are_those_of_the_stores_protocols(self, store: Store) -> None:
        """The suites tested are exactly those of the protocols that the store has."""
        found = {protocol.__name__ for protocol in PROTOCOLS if isinstance(store, protocol)}
        suites = [base for base in type(self).__mro__ if "protocol" in vars(base)]
        assert found == {vars(suite)["protocol"].__name__ for suite in suites}


class StoreSuite(_Protocols, Reading, Writing):
    """What every store must do. Subclass it and define the fixtures ``store`` and ``raw``.

    ``refused_names`` are those of ``ODD_NAMES`` that the store refuses with ``FileError``.
    ``unsupported_names`` are those that the store would send but the server under test can't hold.
    Both map names to reasons.
    """


class SourceSuite(_Protocols, Reading):
    """What a store must do that can only be a source (``StoreType.source_only``).

    All files are written by ``raw``. ``refused_names`` are those of ``ODD_NAMES`` that the store
    can't name in a request, which it refuses with ``FileError``. ``unsupported_names`` are those
    that the server under test can't hold or doesn't list. Both map names to reasons.
    """

    def test_odd_names_are_read(self, store: Store, raw: RawAccess) -> None:
        """They work as names of files and of folders, in every method that reads."""
        for path in named_files([*self.refused_names]):
            require_refused(partial(store.stat, path), path)
        files = named_files(self.held_names())
        for path, data in files.items():
            raw.write(path, data)
        require_named_files(store, files)

    def test_nothing_is_written_or_removed(self, store: Store, raw: RawAccess) -> None:
        """Both are refused, and a stream isn't begun."""
        raw.write("file", b"data")
        chunks = iter([b"other"])
        for path in ("file", "new"):
            with pytest.raises(FileError):
                store.write(path, chunks, Attributes(mtime_ns=0))
            with pytest.raises(FileError):
                store.delete(path)
        assert list(chunks) == [b"other"]
        assert raw.paths() == {"file"}
        assert raw.read("file") == b"data"
        store.sync()
