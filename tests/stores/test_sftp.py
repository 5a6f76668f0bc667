"""The SFTP store passes the suite against OpenSSH, as sites set it up."""

from __future__ import annotations

import functools
from typing import ClassVar

import pytest

from jobtool.stores.registry import StoreRegistry
from jobtool.testing.store_suite import (
    AccessCheckSuite,
    FolderAttributesSuite,
    MultipartSuite,
    ProverSuite,
    PrunesSuite,
    SpecialsSuite,
    StoreSuite,
    TakesFilesSuite,
    TemporariesSuite,
)
from tests.servers.sftp import sftp_server
from tests.stores.raw import LocalRaw


@pytest.fixture(scope="session")
def sftp(tmp_path_factory):
    with sftp_server(tmp_path_factory.mktemp("sftp")) as server:
        yield server


@functools.cache
def registry_for(server):
    """One registry for all tests of a server: logging in takes longer than most tests."""
    return StoreRegistry({"sftp": server.settings()}, links="keep")


class SftpSuite(
    StoreSuite,
    MultipartSuite,
    TemporariesSuite,
    TakesFilesSuite,
    ProverSuite,
    PrunesSuite,
    SpecialsSuite,
    FolderAttributesSuite,
    AccessCheckSuite,
):
    kind: ClassVar[str]
    raw_specials: ClassVar = frozenset({"empty-folder", "link"})
    time_resolution_ns: ClassVar = 1_000_000_000
    times_held_ns: ClassVar = (0, (2**32 - 1) * 1_000_000_000)

    def open(self, server, folder, owner):
        url = f"sftp://{server.authority(self.kind)}{folder}"
        return registry_for(server).open(url, "destination", owner=owner)

    @pytest.fixture
    def store(self, sftp, folder):
        return self.open(sftp, folder, "we")

    @pytest.fixture
    def strangers_store(self, sftp, folder):
        return self.open(sftp, folder, "they")

    @pytest.fixture
    def raw(self, folder):
        return LocalRaw(str(folder))


class TestWithShell(SftpSuite):
    kind: ClassVar = "shell"


@pytest.mark.wide
class TestWithSftpOnly(SftpSuite):
    kind: ClassVar = "sftp_only"


@pytest.mark.wide
class TestWithoutExtensions(SftpSuite):
    kind: ClassVar = "plain"
