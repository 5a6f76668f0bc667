"""The local store passes the suite."""
from __future__ import annotations

import pytest

from jobtool.stores.local import LocalStore
from jobtool.testing.store_suite import StoreSuite
from tests.stores.raw import LocalRaw


class TestLocalStore(StoreSuite):
    @pytest.fixture
    def store(self, folder):
        return LocalStore(str(folder))

    @pytest.fixture
    def raw(self, folder):
        return LocalRaw(str(folder))
