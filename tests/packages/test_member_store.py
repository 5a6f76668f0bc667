"""Members of a package as the source of a transfer: the store's contract, whole transfers."""

from __future__ import annotations

import threading

import pytest

from jobtool.stores.registry import StoreRegistry
from jobtool.testing.store_suite import KnowsMd5sSuite, SourceSuite
from tests.packages.made import make_package


class PackageRaw:
    """Makes the package again with each file that is written."""

    def __init__(self, folder) -> None:
        self.folder = folder
        self.files: dict[str, bytes] = {}
        self.times: dict[str, int] = {}
        self._lock = threading.Lock()
        make_package(folder, {})

    def write(self, path: str, data: bytes, mtime_ns: int | None = None) -> None:
        with self._lock:
            self.files[path] = data
            if mtime_ns is not None:
                self.times[path] = mtime_ns
            make_package(self.folder, self.files, times=self.times)

    def read(self, path: str) -> bytes:
        return self.files[path]

    def paths(self) -> set[str]:
        return {*self.files}


class TestMembers(SourceSuite, KnowsMd5sSuite):
    page_size = 10  # the index has no pages, and each file makes the package again

    @pytest.fixture
    def raw(self, tmp_path):
        return PackageRaw(tmp_path)

    @pytest.fixture
    def store(self, raw, tmp_path):
        return StoreRegistry().open(f"package+file://{tmp_path}/p.tar", "source")
