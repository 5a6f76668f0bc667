"""The stores of HDFS pass the suite against Hadoop's own servers."""

from __future__ import annotations

from typing import ClassVar

import pytest

from jobtool.stores.hdfs.comparing import COMPARED_BYTES
from jobtool.stores.registry import StoreRegistry
from jobtool.testing.store_suite import (
    AccessCheckSuite,
    ComparesInsideSuite,
    MultipartSuite,
    ProverSuite,
    PrunesSuite,
    SpecialsSuite,
    StoreSuite,
    TemporariesSuite,
)
from tests.servers.hdfs import PAGE_SIZE
from tests.stores.raw import HdfsRaw

MILLISECOND_NS = 1_000_000
NOT_UTF8 = "not UTF-8 \udcff\udc80"
COLON = "a=b;c:d,e@f!$(g)[h]{i}|j~k^l`m*n"


@pytest.fixture
def root(hdfs):
    folder = hdfs.new_folder()
    hdfs.call("PUT", folder, "MKDIRS")
    return folder


@pytest.fixture
def cluster(hdfs, monkeypatch):
    """The cluster, which this process finds by its configuration."""
    for name, value in hdfs.environment.items():
        monkeypatch.setenv(name, value)
    return hdfs


def open_store(url, table=None, owner="", **options):
    scheme = url.partition(":")[0]
    registry = StoreRegistry({scheme: table or {}}, **options)
    return registry.open(url, "destination", owner=owner)


class Fixtures:
    page_size: ClassVar = PAGE_SIZE
    time_resolution_ns: ClassVar = MILLISECOND_NS
    times_held_ns: ClassVar = (0, 2**63 - 1)
    raw_specials: ClassVar = frozenset({"empty-folder"})
    refused_names: ClassVar = {
        NOT_UTF8: "names in HDFS are UTF-8",
        COLON: "HDFS allows no colon",
    }
    table: ClassVar[dict] = {}

    @pytest.fixture
    def url(self, cluster, root):
        return cluster.hdfs + root

    @pytest.fixture
    def store(self, url):
        return open_store(url, self.table)

    @pytest.fixture
    def strangers_store(self, url):
        return open_store(url, self.table, owner="stranger")

    @pytest.fixture
    def raw(self, hdfs, root):
        return HdfsRaw(hdfs.client, root)


class HdfsSuite(
    Fixtures,
    StoreSuite,
    MultipartSuite,
    ProverSuite,
    AccessCheckSuite,
    PrunesSuite,
    SpecialsSuite,
    TemporariesSuite,
    ComparesInsideSuite,
):
    compared_bytes: ClassVar = COMPARED_BYTES


class TestNative(HdfsSuite):
    pass


@pytest.mark.wide
class TestNativeWithoutWebHdfs(Fixtures, MultipartSuite):
    """Parts are joined by copying them."""

    table: ClassVar = {"webhdfs_url": ""}


@pytest.mark.wide
class TestWebHdfs(HdfsSuite):
    @pytest.fixture
    def url(self, cluster, root):
        return cluster.webhdfs + root
