"""The S3 store passes the suite against two servers."""

from __future__ import annotations

import pytest

from jobtool.stores.registry import StoreRegistry
from jobtool.testing.store_suite import StoreSuite
from tests.stores.raw import S3Raw

NOT_UTF8 = {"not UTF-8 \udcff\udc80": "S3 keys are UTF-8"}


def open_store(server, monkeypatch, url):
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return StoreRegistry().open(url, "destination")


class S3Suite(StoreSuite):
    refused_names = NOT_UTF8

    @pytest.fixture
    def bucket(self, server):
        return server.new_bucket()

    @pytest.fixture
    def store(self, server, bucket, monkeypatch):
        return open_store(server, monkeypatch, f"s3://{bucket}/some/prefix")

    @pytest.fixture
    def raw(self, server, bucket):
        return S3Raw(server.client(), bucket, "some/prefix/")


class TestAgainstRclone(S3Suite):
    @pytest.fixture
    def server(self, rclone_s3):
        return rclone_s3


class TestAgainstMoto(S3Suite):
    @pytest.fixture
    def server(self, moto_s3):
        return moto_s3
