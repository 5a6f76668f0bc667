"""The S3 store passes the suite against two servers that share no code."""

from __future__ import annotations

import functools
from typing import ClassVar

import pytest

from jobtool.stores.registry import StoreRegistry
from jobtool.testing.store_suite import (
    AccessCheckSuite,
    CopiesInsideSuite,
    DeletesSameSuite,
    MultipartSuite,
    ProverSuite,
    StoreSuite,
)
from tests.servers.s3 import MOTO_PAGE_SIZE
from tests.stores.raw import S3Raw

NOT_UTF8 = "not UTF-8 \udcff\udc80"
CONTROL = "control \x01\x1f\x7f"
NO_XML = "the server can't name control characters in the XML of a multipart upload"


@functools.cache
def registry_for(server):
    """One registry for all tests of a server: making clients takes longer than most tests."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        registry = StoreRegistry()
        registry.open("s3://any", "destination")
        registry.begin_job({})
    return registry


class S3Suite(
    StoreSuite, MultipartSuite, ProverSuite, AccessCheckSuite, CopiesInsideSuite, DeletesSameSuite
):
    refused_names: ClassVar = {NOT_UTF8: "S3 keys are UTF-8"}

    @pytest.fixture
    def bucket(self, server):
        return server.new_bucket()

    @pytest.fixture
    def store(self, server, bucket):
        return registry_for(server).open(f"s3://{bucket}/some/prefix", "destination")

    @pytest.fixture
    def raw(self, server, bucket):
        return S3Raw(server.client, bucket, "some/prefix/")

    def test_uploads_that_ended_leave_no_parts(self, server, bucket, store, raw):
        self.test_abort_leaves_nothing(store, raw)
        self.test_a_corrupted_part_leaves_nothing(store, raw)
        self.test_parts_in_any_order_make_the_file(store, raw)
        assert "Uploads" not in server.client.list_multipart_uploads(Bucket=bucket)


class TestAgainstRclone(S3Suite):
    recognises_completed: ClassVar = True  # moto answers with an error of its own
    unsupported_names: ClassVar = {CONTROL: NO_XML}
    copies_in_parts: ClassVar = False
    compares_etags: ClassVar = False

    @pytest.fixture
    def server(self, rclone_s3):
        return rclone_s3


@pytest.mark.wide
class TestAgainstMoto(S3Suite):
    page_size: ClassVar = MOTO_PAGE_SIZE
    unsupported_names: ClassVar = {CONTROL: NO_XML, "new\nline": "moto's routes end at a newline"}
    raw_specials: ClassVar = frozenset({"empty-folder"})  # rclone has folders of its own

    @pytest.fixture
    def server(self, moto_s3):
        return moto_s3
