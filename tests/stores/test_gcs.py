"""The store of Google Cloud Storage passes the suite against fake-gcs-server."""

from __future__ import annotations

import functools
from typing import ClassVar

import pytest

from jobtool.stores.gcs import listing
from jobtool.stores.registry import StoreRegistry
from jobtool.testing.store_suite import (
    AccessCheckSuite,
    CopiesInsideSuite,
    DeletesSameSuite,
    MultipartSuite,
    ProverSuite,
    StoreSuite,
    TemporariesSuite,
)
from tests.stores.raw import GcsRaw

PAGE_SIZE = 60  # names in a page of a listing, where the service allows 1,000
REFUSED = {
    "not UTF-8 \udcff\udc80": "names of objects are UTF-8",
    "new\nline": "Google Cloud Storage allows no line breaks in names",
    "carriage\rreturn": "Google Cloud Storage allows no line breaks in names",
}


@functools.cache
def registry_for(server):
    """One registry for all tests of a server, as in a worker."""
    return StoreRegistry()


class TestGcs(
    StoreSuite,
    MultipartSuite,
    TemporariesSuite,
    ProverSuite,
    AccessCheckSuite,
    CopiesInsideSuite,
    DeletesSameSuite,
):
    compares_etags: ClassVar = False  # fake-gcs-server deletes without looking at conditions
    copies_in_parts: ClassVar = False
    heeds_conditions: ClassVar = False
    refused_names: ClassVar = REFUSED
    recognises_completed: ClassVar = True
    raw_specials: ClassVar = frozenset({"empty-folder"})
    page_size: ClassVar = PAGE_SIZE

    @pytest.fixture(autouse=True)
    def small_pages(self, monkeypatch):
        monkeypatch.setattr(listing, "PAGE", PAGE_SIZE)

    @pytest.fixture
    def bucket(self, gcs):
        return gcs.new_bucket()

    def open(self, gcs, bucket, monkeypatch, owner):
        gcs.set_in(monkeypatch)
        url = f"gs://{bucket}/some/prefix"
        return registry_for(gcs).open(url, "destination", owner=owner)

    @pytest.fixture
    def store(self, gcs, bucket, monkeypatch):
        return self.open(gcs, bucket, monkeypatch, "us")

    @pytest.fixture
    def strangers_store(self, gcs, bucket, monkeypatch):
        return self.open(gcs, bucket, monkeypatch, "them")

    @pytest.fixture
    def raw(self, gcs, bucket):
        return GcsRaw(gcs.client, bucket, "some/prefix/")
