"""From a URL to a store, and the [s3] table."""

from __future__ import annotations

import msgspec
import pytest

from jobtool.errors import UsageError
from jobtool.stores import registry as registry_module
from jobtool.stores.local import LocalStore
from jobtool.stores.memory import MemoryStore
from jobtool.stores.registry import StoreRegistry
from jobtool.stores.s3.config import S3Config, read_s3_table
from jobtool.stores.s3.store import S3Store
from jobtool.stores.storetype import store_type


def test_the_scheme_chooses_the_store(monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    registry = StoreRegistry()
    for url, kind, shown in (
        (f"{tmp_path}/x/", LocalStore, f"{tmp_path}/x"),
        (f"file://{tmp_path}/x%20y", LocalStore, f"{tmp_path}/x y"),
        ("memory://name/p/", MemoryStore, "memory://name/p"),
        ("s3://bucket/p/q/", S3Store, "s3://bucket/p/q"),
        ("s3://bucket", S3Store, "s3://bucket"),
    ):
        store = registry.open(url, "source")
        assert isinstance(store, kind)
        assert store.url == shown


def test_stores_of_one_registry_share_their_memory():
    registry = StoreRegistry()
    first = registry.open("memory://name/a", "source")
    assert registry.open("memory://name", "destination").memory is first.memory
    assert registry.open("memory://other", "source").memory is not first.memory
    assert StoreRegistry().open("memory://name", "source").memory is not first.memory


TABLE = {
    "endpoint_url": "https://minio.example:9000",
    "region": "eu-west-1",
    "source": {"profile": "read"},
    "destination": {"profile": "upload", "endpoint_url": "https://other.example"},
}


def test_a_role_has_its_own_s3_table_over_the_common_one():
    assert read_s3_table(TABLE, "source") == S3Config(
        endpoint_url="https://minio.example:9000", region="eu-west-1", profile="read"
    )
    assert read_s3_table(TABLE, "destination") == S3Config(
        endpoint_url="https://other.example", region="eu-west-1", profile="upload"
    )
    assert read_s3_table({}, "source") == S3Config()


@pytest.mark.parametrize(
    ("table", "named"),
    [
        ({"endpoint": "x"}, "endpoint"),
        ({"source": {"profil": "x"}}, "profil"),
        ({"addressing_style": "sideways"}, "sideways"),
        ({"region": 1}, "region"),
        ({"destination": "x"}, ".destination.: expected a table; found text"),
    ],
)
@pytest.mark.parametrize("role", ["source", "destination"])
def test_an_s3_table_that_makes_no_sense_is_refused_whatever_the_role(table, named, role):
    with pytest.raises(UsageError, match=rf"\[s3.*{named}"):
        read_s3_table(table, role)


def test_a_store_whose_module_is_missing_names_the_extra_to_install(monkeypatch):
    kind = msgspec.structs.replace(
        store_type("memory"), modules=("msgspec.json", "no_such_package.client"), extra="lab"
    )
    monkeypatch.setattr(registry_module, "store_type", lambda scheme: kind)
    with pytest.raises(UsageError, match=r"memory://: .*no_such_package.*'jobtool\[lab\]'"):
        StoreRegistry().open("memory://name/x", "source")


def test_a_store_that_can_only_be_a_source_is_refused_as_a_destination(monkeypatch):
    kind = msgspec.structs.replace(store_type("memory"), source_only=True)
    monkeypatch.setattr(registry_module, "store_type", lambda scheme: kind)
    registry = StoreRegistry()
    registry.open("memory://name/x", "source")
    with pytest.raises(UsageError, match="memory://name/x: expected a destination"):
        registry.open("memory://name/x", "destination")
