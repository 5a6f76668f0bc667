"""Which account, which credentials: URLs, tables and the environment of Azure."""

from __future__ import annotations

import base64

import pytest
from rich.pretty import pretty_repr

from jobtool.errors import CredentialsError, JobtoolError, StoreSettingsError, UsageError
from jobtool.stores.azure.config import Account, AzureSettings, account_for
from jobtool.stores.azure.names import account_of, blob_endpoint_of, container_of
from jobtool.stores.azure.order import in_byte_order
from jobtool.stores.location import Location
from jobtool.stores.registry import StoreRegistry

KEY = base64.b64encode(b"a key of some length").decode()
PLATES = "https://plates.blob.core.windows.net"
LAKE = "https://lake.blob.core.windows.net"
STRING = f"DefaultEndpointsProtocol=https;AccountName=plates;AccountKey={KEY};EndpointSuffix="
STRING += "core.windows.net"


@pytest.mark.parametrize(
    ("url", "container", "endpoint", "path"),
    [
        ("az://plates-1/a/b", "plates-1", None, "a/b"),
        ("az://$root", "$root", None, ""),
        ("abfs://plates/a", "plates", None, "a"),
        ("abfss://raw@lake.dfs.core.windows.net/a", "raw", LAKE, "a"),
        ("ABFSS://raw@lake.dfs.core.chinacloudapi.cn", "raw",
         "https://lake.blob.core.chinacloudapi.cn", ""),
        ("abfs://raw@lake.blob.core.windows.net/ü", "raw", LAKE, "ü"),
    ],
)  # fmt: skip
def test_urls(url, container, endpoint, path):
    location = Location.parse(url)
    assert container_of(location.name) == container
    assert blob_endpoint_of(location.name) == endpoint
    assert location.path == path


@pytest.mark.parametrize(
    "url", ["az://Plates", "az://a", "az://a--b", "az://-ab", "az://x" + "y" * 63,
            "abfss://raw@/a", "abfss://raw@lake/a", "abfss://@lake.dfs.core.windows.net/a"],
)  # fmt: skip
def test_names_that_no_container_has_are_refused(url):
    with pytest.raises(UsageError, match="container"):
        Location.parse(url)


def test_a_path_that_is_not_utf8_is_refused():
    with pytest.raises(UsageError, match="UTF-8"):
        Location.parse("az://plates/\udcff")


@pytest.mark.parametrize(
    ("url", "name"),
    [
        (PLATES, "plates"),
        ("http://127.0.0.1:10000/devstoreaccount1", "devstoreaccount1"),
        ("https://storage.example", ""),
    ],
)
def test_the_account_of_a_url(url, name):
    assert account_of(url) == name


@pytest.mark.parametrize(
    ("settings", "endpoint", "environment", "expected"),
    [
        ({}, None, {"AZURE_STORAGE_ACCOUNT": "plates"}, Account(url=PLATES, name="plates")),
        ({"account": "plates"}, None, {"AZURE_STORAGE_KEY": KEY},
         Account(url=PLATES, name="plates", key=KEY)),
        ({"account_url": PLATES + "/"}, None, {"AZURE_STORAGE_ACCOUNT_KEY": KEY},
         Account(url=PLATES, name="plates", key=KEY)),
        ({}, PLATES, {"AZURE_STORAGE_SAS_TOKEN": "?sv=1&sig=2"},
         Account(url=PLATES, name="plates", sas="sv=1&sig=2")),
        ({}, None, {"AZURE_STORAGE_CONNECTION_STRING": STRING},
         Account(url=PLATES, name="plates", key=KEY)),
        ({}, PLATES, {"AZURE_STORAGE_CONNECTION_STRING": STRING},
         Account(url=PLATES, name="plates", key=KEY)),
        ({}, None, {"AZURE_STORAGE_CONNECTION_STRING":
                    "BlobEndpoint=https://plates.blob.core.windows.net/;SharedAccessSignature=a=b"},
         Account(url=PLATES, name="plates", sas="a=b")),
        ({"anonymous": True, "account": "plates"}, None, {"AZURE_STORAGE_KEY": KEY},
         Account(url=PLATES, name="plates", anonymous=True)),
        ({"account_url": "http://127.0.0.1:1/lake"}, "https://lake.blob.core.windows.net", {},
         Account(url="http://127.0.0.1:1/lake", name="lake")),
    ],
)  # fmt: skip
def test_the_account_and_its_credentials(settings, endpoint, environment, expected):
    assert account_for(AzureSettings(**settings), endpoint, environment) == expected


@pytest.mark.parametrize(
    "environment",
    [
        {"AZURE_STORAGE_CONNECTION_STRING": STRING},
        {"AZURE_STORAGE_ACCOUNT": "plates", "AZURE_STORAGE_KEY": KEY},
        {"AZURE_STORAGE_ACCOUNT": "plates", "AZURE_STORAGE_SAS_TOKEN": "sig=2"},
    ],
)
def test_what_is_for_one_account_is_not_sent_to_another(environment):
    other = "https://other.blob.core.windows.net"
    assert account_for(AzureSettings(), other, environment) == Account(url=other, name="other")


def test_without_an_account_all_ways_to_name_one_are_told():
    with pytest.raises(StoreSettingsError, match="AZURE_STORAGE_ACCOUNT"):
        account_for(AzureSettings(), None, {})


@pytest.mark.parametrize("text", ["nonsense", f"AccountKey={KEY}", "BlobEndpoint=nowhere"])
def test_a_connection_string_that_is_none_is_told_and_not_shown(text):
    with pytest.raises(CredentialsError, match="AZURE_STORAGE_CONNECTION_STRING") as raised:
        account_for(AzureSettings(), None, {"AZURE_STORAGE_CONNECTION_STRING": text})
    assert text not in str(raised.value)


def test_an_account_does_not_show_its_secrets():
    account = Account(url=PLATES, name="plates", key=KEY)
    assert KEY not in repr(account)
    assert KEY not in pretty_repr(account)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"account": "Plates"}, "account: expected 3 to 24"),
        ({"account_url": "plates"}, "account_url: expected a URL"),
        ({"account_url": PLATES + "?sv=1&sig=secret"}, "no place for a signature"),
        ({"account_url": "https://user:secret@host"}, "no place for a signature"),
        ({"timeout_seconds": 0}, "timeout_seconds"),
        ({"ca_bundle": "relative"}, "absolute path"),
        ({"account_key": "secret"}, "account_key"),
    ],
)
def test_settings_that_do_not_fit_are_told(table, said):
    with pytest.raises(UsageError, match=said) as raised:
        StoreRegistry({"az": table})
    assert "[az]" in str(raised.value)
    if "account_key" not in table:
        assert "secret" not in str(raised.value)


def test_a_login_over_plain_http_is_refused(monkeypatch):
    for name in ("CONNECTION_STRING", "KEY", "ACCOUNT_KEY", "SAS_TOKEN", "ACCOUNT"):
        monkeypatch.delenv(f"AZURE_STORAGE_{name}", raising=False)
    registry = StoreRegistry({"az": {"account_url": "http://127.0.0.1:1/plates"}})
    with pytest.raises(StoreSettingsError, match="https"):
        registry.prepare({"destination": "az://plates"})


def test_without_any_login_that_is_told(monkeypatch):
    for name in ("CONNECTION_STRING", "KEY", "ACCOUNT_KEY", "SAS_TOKEN", "ACCOUNT"):
        monkeypatch.delenv(f"AZURE_STORAGE_{name}", raising=False)
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential")
    registry = StoreRegistry({"az": {"account_url": "https://127.0.0.1:1/plates"}})
    with pytest.raises(JobtoolError) as raised:
        registry.open("az://plates", "source").stat("file")
    assert isinstance(raised.value, CredentialsError)
    assert "az login" in str(raised.value)


def test_a_file_of_certificates_that_is_missing_is_told(monkeypatch):
    monkeypatch.setenv("AZURE_STORAGE_KEY", KEY)
    registry = StoreRegistry({"az": {"account": "plates", "ca_bundle": "/no/such/file"}})
    with pytest.raises(StoreSettingsError, match="/no/such/file"):
        registry.open("az://plates", "source")


@pytest.mark.parametrize("order", [str.encode, lambda name: name.encode("utf-16-be")])
def test_names_are_put_in_the_order_of_their_bytes(order):
    letters = ["a", "\uff08", "\U0001f9ec", "/", "\ud7ff"]
    names = {a + b + c for a in letters for b in letters for c in ["", *letters]}
    listed = sorted(names, key=order)
    assert list(in_byte_order(listed, str)) == sorted(names, key=str.encode)


def test_few_names_are_held_back():
    names = [f"\U0001f9ec/{number:05}" for number in range(1000)]
    taken = []
    listed = (taken.append(name) or name for name in names)
    found = in_byte_order(listed, str, most=10)
    assert next(found) == names[0]
    assert len(taken) == 11
    assert [names[0], *found] == names


@pytest.mark.parametrize(("name", "is_one"), [("123456", True), ("äöüß", False), ("a1", False)])
def test_account_names_are_of_small_letters_and_digits(name, is_one):
    if is_one:
        assert AzureSettings(account=name).account == name
    else:
        with pytest.raises(ValueError, match="3 to 24"):
            AzureSettings(account=name)
