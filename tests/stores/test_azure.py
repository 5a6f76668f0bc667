"""The Azure store passes the suite against Azurite."""

from __future__ import annotations

import functools
from typing import ClassVar

import pytest

from jobtool.stores.azure import listing
from jobtool.stores.registry import StoreRegistry
from jobtool.testing.store_suite import (
    AccessCheckSuite,
    CopiesInsideSuite,
    DeletesSameSuite,
    MultipartSuite,
    ProverSuite,
    StoreSuite,
)
from tests.stores.raw import AzureRaw

PAGE_SIZE = 60  # names in a page of a listing, where the service allows 5,000
REFUSED = {
    "not UTF-8 \udcff\udc80": "names of blobs are UTF-8",
    "...": "a part of a name can't end in a dot",
    "back\\slash": "Azure takes a backslash for a slash",
    "new\nline": "Azure has no names with control characters",
    "carriage\rreturn": "Azure has no names with control characters",
    "tab\t": "Azure has no names with control characters",
    "control \x01\x1f\x7f": "Azure has no names with control characters",
}


@functools.cache
def registry_for(server):
    """One registry for all tests of a server, as in a worker."""
    return StoreRegistry({"az": {"hierarchical": False}, "abfs": {"hierarchical": True}})


class AzureSuite(
    StoreSuite, MultipartSuite, ProverSuite, AccessCheckSuite, CopiesInsideSuite, DeletesSameSuite
):
    copies_in_parts: ClassVar = False  # Azurite has no "Put Block From URL"
    refused_names: ClassVar = REFUSED
    recognises_completed: ClassVar = True
    publishing_drops_uploads: ClassVar = True
    raw_specials: ClassVar = frozenset({"empty-folder"})
    page_size: ClassVar = PAGE_SIZE
    scheme: ClassVar = "az"

    @pytest.fixture(autouse=True)
    def small_pages(self, monkeypatch):
        monkeypatch.setattr(listing, "PAGE", PAGE_SIZE)

    @pytest.fixture
    def container(self, azurite):
        return azurite.new_container()

    @pytest.fixture
    def store(self, azurite, container, monkeypatch):
        azurite.set_in(monkeypatch)
        return registry_for(azurite).open(f"{self.scheme}://{container}/some/prefix", "destination")

    @pytest.fixture
    def raw(self, azurite, container):
        return AzureRaw(azurite.client, container, "some/prefix/")


class TestListedFlat(AzureSuite):
    """As in an account without a hierarchical namespace."""


@pytest.mark.wide
class TestListedByFolder(AzureSuite):
    """As in an account with one, as far as the Blob API shows it."""

    scheme: ClassVar = "abfs"
