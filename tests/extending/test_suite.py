"""The store of ``docs/writing-a-store.md`` passes the suite, as a package would test its own."""

from __future__ import annotations

import os
import sqlite3
import sys

import pytest

from jobtool.testing.store_suite import StoreSuite

SITE = os.path.join(os.path.dirname(__file__), "site")


class SqliteRaw:
    """The rows of a database, by SQL."""

    def __init__(self, path):
        self.path = path

    def _execute(self, *statement):
        database = sqlite3.connect(self.path, timeout=60)
        database.execute("PRAGMA synchronous = OFF")
        with database:
            found = database.execute(*statement).fetchall()
        database.close()
        return found

    def write(self, path, data, mtime_ns=None):
        key = os.fsencode(path)
        token = os.urandom(8).hex()
        self._execute("INSERT INTO pieces VALUES (?, 0, ?)", (token, data))
        row = (key, len(data), mtime_ns or 0, token)
        self._execute("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)", row)

    def read(self, path):
        query = "SELECT data FROM pieces JOIN files USING (id) WHERE path = ? ORDER BY start"
        (_,) = self._execute("SELECT 1 FROM files WHERE path = ?", (os.fsencode(path),))
        return b"".join(data for (data,) in self._execute(query, (os.fsencode(path),)))

    def paths(self):
        return {os.fsdecode(path) for (path,) in self._execute("SELECT path FROM files")}


class TestSqliteStore(StoreSuite):
    @pytest.fixture
    def database(self, tmp_path):
        return str(tmp_path / "lab.sqlite")

    @pytest.fixture
    def store(self, database, monkeypatch):
        monkeypatch.syspath_prepend(SITE)
        from jobtool_sqlite import SqliteStore

        assert sys.modules["jobtool_sqlite"].__file__ == os.path.join(SITE, "jobtool_sqlite.py")
        store = SqliteStore(database, "sqlite://lab", "")
        assert list(store.list()) == []  # makes the tables, for raw
        return store

    @pytest.fixture
    def raw(self, database):
        return SqliteRaw(database)
