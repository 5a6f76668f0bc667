"""Which service, which login: URLs, tables and the environment of Google Cloud Storage."""

from __future__ import annotations

import google_crc32c
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobtool.errors import CredentialsError, StoreSettingsError, UsageError
from jobtool.stores.gcs.config import ENDPOINT, Endpoint, GcsSettings, endpoint_for
from jobtool.stores.gcs.crc32c import combined
from jobtool.stores.gcs.metadata import found_in, found_in_headers
from jobtool.stores.location import Location
from jobtool.stores.registry import StoreRegistry
from jobtool.stores.storetype import store_type


@pytest.mark.parametrize(
    ("url", "bucket", "path"),
    [
        ("gs://plates-1/a/b", "plates-1", "a/b"),
        ("gcs://example.com_x/ü", "example.com_x", "ü"),
        ("GS://plates", "plates", ""),
    ],
)
def test_urls(url, bucket, path):
    location = Location.parse(url)
    assert (location.name, location.path) == (bucket, path)


@pytest.mark.parametrize("url", ["gs://Plates", "gs://ab", "gs://-ab", "gs://abc-", "gcs://a:b/x"])
def test_names_that_no_bucket_has_are_refused(url):
    with pytest.raises(UsageError, match="expected a bucket's name"):
        Location.parse(url)


def test_a_path_that_is_not_utf8_is_refused():
    with pytest.raises(UsageError, match="UTF-8"):
        Location.parse("gs://plates/\udcff")


def test_both_schemes_are_one_store():
    assert store_type("gcs") is store_type("gs")


EMULATOR = {"STORAGE_EMULATOR_HOST": "127.0.0.1:4443"}


@pytest.mark.parametrize(
    ("settings", "environment", "expected"),
    [
        ({}, {}, Endpoint(ENDPOINT, True)),
        ({"anonymous": True}, {}, Endpoint(ENDPOINT, False)),
        ({}, EMULATOR, Endpoint("http://127.0.0.1:4443", False)),
        ({}, {"STORAGE_EMULATOR_HOST": "https://gcs.test/"}, Endpoint("https://gcs.test", False)),
        ({"endpoint_url": "https://gcs.example/"}, EMULATOR, Endpoint("https://gcs.example", True)),
        ({"endpoint_url": "http://gcs.example", "anonymous": True}, {},
         Endpoint("http://gcs.example", False)),
        ({"endpoint_url": "http://localhost:1"}, {}, Endpoint("http://localhost:1", True)),
    ],
)  # fmt: skip
def test_the_endpoint_and_its_login(settings, environment, expected):
    assert endpoint_for(GcsSettings(**settings), environment) == expected


def test_a_login_over_plain_http_is_refused():
    with pytest.raises(StoreSettingsError, match="https"):
        endpoint_for(GcsSettings(endpoint_url="http://gcs.example"), {})


def test_an_emulator_that_has_no_address_is_told():
    with pytest.raises(StoreSettingsError, match="STORAGE_EMULATOR_HOST"):
        endpoint_for(GcsSettings(), {"STORAGE_EMULATOR_HOST": "file://x"})


def test_a_file_of_credentials_that_is_missing_is_told_at_once(monkeypatch):
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/no/such/file")
    with pytest.raises(CredentialsError, match="/no/such/file"):
        StoreRegistry().prepare({"source": "gs://plates"})


def test_a_file_of_certificates_that_is_missing_is_told():
    registry = StoreRegistry({"gs": {"anonymous": True, "ca_bundle": "/no/such/file"}})
    with pytest.raises(StoreSettingsError, match="/no/such/file"):
        registry.open("gs://plates", "source")


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"endpoint_url": "plates"}, "endpoint_url: expected a URL"),
        ({"endpoint_url": "https://user:secret@host"}, "no place for a password"),
        ({"user_project": "No Project"}, "user_project: expected the ID"),
        ({"user_project": "p", "anonymous": True}, "only a login can bill"),
        ({"storage_class": "nearline"}, "expected one of STANDARD"),
        ({"timeout_seconds": 0}, "timeout_seconds"),
        ({"ca_bundle": "relative"}, "absolute path"),
        ({"token": "secret"}, "token"),
    ],
)
@pytest.mark.parametrize("scheme", ["gs", "gcs"])
def test_settings_that_do_not_fit_are_told(scheme, table, said):
    with pytest.raises(UsageError, match=said) as raised:
        StoreRegistry({scheme: table})
    assert f"[{scheme}]" in str(raised.value)
    if "token" not in table:
        assert "secret" not in str(raised.value)


def test_a_role_has_settings_of_its_own():
    registry = StoreRegistry({"gs": {"destination": {"endpoint_url": "http://a.test"}}})
    registry.prepare({"source": "gs://plates"})
    with pytest.raises(StoreSettingsError, match=r"http://a\.test"):
        registry.prepare({"destination": "gs://plates"})


@given(st.lists(st.binary(max_size=300), max_size=8))
def test_the_crc_of_a_whole_follows_from_those_of_its_parts(pieces):
    told = [(google_crc32c.value(piece), len(piece)) for piece in pieces]
    assert combined(told) == google_crc32c.value(b"".join(pieces))


def test_the_crc_of_parts_of_the_largest_object():
    """Of zeros, whose CRC over 2**n bytes is combined of two halves."""
    half = google_crc32c.value(bytes(2**16))
    whole = combined([(half, 2**16)] * 2)
    assert whole == google_crc32c.value(bytes(2**17))
    assert combined([(7, 5), (0, 5 * 2**40)]) == combined([(7, 5), *[(0, 2**40)] * 5])


@pytest.mark.parametrize("found", [{}, {"size": "x"}, {"size": "1"}, {"size": None}])
def test_documents_that_describe_no_object(found):
    with pytest.raises(ValueError):  # noqa: PT011 - of either kind
        found_in(found)
    with pytest.raises(ValueError, match="describe"):
        found_in_headers({"Content-Range": "bytes 0-1/2"})


def test_the_anonymous_provider_needs_no_tls():
    tables = {"gs": {"endpoint_url": "http://emulator.test:4443"}}
    registry = StoreRegistry(tables, credentials={"provider": "anonymous"})
    registry.prepare({"source": "gs://plates"})
    assert registry.credential_holders() == []
