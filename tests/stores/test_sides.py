"""Tables and objects of fsspec's kind, translated."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import fsspec
import pytest
from fsspec.registry import _registry

from jobtool.errors import JobtoolError, StoreSettingsError, UsageError
from jobtool.redact import is_secret, redact
from jobtool.stores.anyfs.errors import of_failure
from jobtool.stores.dialects import DIALECTS
from jobtool.stores.registry import StoreRegistry
from jobtool.stores.sides import Side, side_of, table_to_write
from jobtool.stores.store import Entry
from jobtool.stores.storetype import store_type
from tests.needs import lack
from tests.servers.passwords import PASSWORD, USER, password_server
from tests.trees import write


def side(given, role="destination", **more) -> Side:
    return side_of(given, role, where="target_fs", **more)


@pytest.mark.parametrize(
    ("table", "path", "url", "settings"),
    [
        ({"protocol": "file"}, "/data/x", "/data/x", {}),
        ({"protocol": "local", "auto_mkdir": False}, "x", "x", {}),
        ({"protocol": "s3", "bucket": "b"}, "transfers/", "s3://b/transfers", {}),
        ({"protocol": "s3a", "bucket": "b"}, "s3a://b/x", "s3://b/x", {}),
        ({"protocol": "S3"}, "b/x", "s3://b/x", {}),
        ({"protocol": "s3", "bucket": "b"}, "", "s3://b", {}),
        (
            {
                "protocol": "s3",
                "bucket": "b",
                "anon": False,
                "client_kwargs": {"region_name": "r", "endpoint_url": "http://h"},
                "profile": "p",
            },
            "/x",
            "s3://b/x",
            {"region": "r", "endpoint_url": "http://h", "profile": "p"},
        ),
        ({"protocol": "hdfs", "host": "nn"}, "/x", "hdfs://nn/x", {}),
        (
            {"protocol": "hdfs", "host": "nn", "port": 8020, "user": "u"},
            "/x",
            "hdfs://nn:8020/x",
            {"user": "u"},
        ),
        (
            {"protocol": "ssh", "host": "h", "port": "22", "username": "u", "key_filename": "/k"},
            "/x y",
            "sftp://u@h:22/x y",
            {"identity_file": "/k"},
        ),
        (
            {"protocol": "abfs", "account_name": "acct", "container": "c"},
            "/data/",
            "abfs://c/data",
            {"account": "acct"},
        ),
        ({"protocol": "http", "host": "::1", "port": 8080}, "x%20y", "http://[::1]:8080/x%20y", {}),
        ({"protocol": "github", "org": "o"}, "docs", "github://./docs", {"org": "o"}),
        ({"protocol": "smb", "host": "h"}, "/share/x", "smb://h/share/x", {"host": "h"}),
    ],
)  # fmt: skip
def test_a_table_becomes_a_url_and_settings(table, path, url, settings):
    found = side(table)
    assert found.url_of(path) == url
    assert found.table == settings
    assert not found.secrets


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ({}, "expected protocol"),
        ({"protocol": 1}, "expected protocol"),
        ({"protocol": "hfds", "host": "h"}, "Did you mean 'hdfs'?"),
        ({"protocol": "hdfs"}, "expected the host of hdfs://"),
        ({"protocol": "s3", "buket": "b"}, "Did you mean 'bucket'?"),
        ({"protocol": "s3", "target_path": 1}, "target_path: expected text"),
        ({"protocol": "http", "host": "h", "password": "pw"}, "~/.netrc"),
        ({"protocol": "hdfs", "host": "h", "token": "hidden"}, "kinit"),
        ({"protocol": "az", "client_secret": "hidden"}, "az login"),
    ],
)
def test_a_table_that_makes_no_side_is_refused(table, expected):
    with pytest.raises(UsageError) as caught:
        side(table)
    assert "target_fs" in str(caught.value)
    assert expected in str(caught.value)
    assert "hidden" not in str(caught.value)


def test_paths_that_belong_elsewhere_are_refused():
    with pytest.raises(UsageError, match="since target_fs is of the protocol 's3'"):
        side({"protocol": "s3", "bucket": "b"}).url_of("hdfs://nn/x")
    with pytest.raises(UsageError, match="begins with a slash"):
        side({"protocol": "sftp", "host": "h"}).url_of("from/home")
    with pytest.raises(UsageError, match="or a filesystem of fsspec; found int"):
        side(3)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("key", "x", True),
        ("secret", "x", True),
        ("token", "abc", True),
        ("token", "/srv/account.json", False),
        ("token", "keys/account.json", False),
        ("token", "google_default", False),
        ("account_key", "x", True),
        ("sas_token", "x", True),
        ("connection_string", "x", True),
        ("client_kwargs", {"aws_secret_access_key": "x"}, True),
        ("client_kwargs", {"region_name": "x"}, False),
        ("client_kwargs", {"deeper": [{"password": "x"}]}, True),
        ("logins", [{"password": "x"}], True),
        ("headers", {"Authorization": "Basic x"}, True),
        ("auth", ("u", "pw"), True),
        ("auth", [], False),
        ("password", 20231114, True),
        ("password", b"x", True),
        ("password", {"text": "x"}, True),
        ("password", "", False),
        ("api_key", "x", True),
        ("tok", "x", True),
        ("credential", object(), True),
        ("token", Path("account.json"), False),
        ("token", {"private_key": "x"}, True),
        ("key_filename", "/k", False),
        ("kms_key_id", "x", False),
        ("anon", True, False),
    ],
)
def test_secrets_are_told_by_name(key, value, expected):
    assert is_secret(key, value) is expected


def test_secrets_are_apart_and_never_shown():
    found = side({"protocol": "s3", "bucket": "b", "key": "id-of-key", "secret": "of-the-key"})
    assert found.secrets == {"access_key": "id-of-key", "secret_key": "of-the-key"}
    assert not found.table
    assert "of-the-key" not in repr(found)
    assert "of-the-key" not in redact("it was of-the-key")
    other = side({"protocol": "dropbox", "token": "of-dropbox"})
    assert other.secrets == {"token": "of-dropbox"}


def test_a_secret_in_a_nested_table_is_left_out_and_the_rest_is_written():
    given = {
        "protocol": "s3",
        "client_kwargs": {"endpoint_url": "http://h", "aws_secret_access_key": "of-the-key"},
        "auth": ("user-name", "of-the-auth"),
        "headers": {"Authorization": "Basic of-the-header"},
    }
    assert table_to_write({}, given) == {
        "protocol": "s3",
        "client_kwargs": {"endpoint_url": "http://h"},
    }


@pytest.mark.parametrize(
    "option",
    [
        {"settings": {"password": "of-the-leaf", "host": "host-of-it"}},
        {"auth": ["user", "of-the-leaf"]},
        {"password": b"of-the-leaf"},
    ],
)
def test_a_secret_in_a_nested_table_is_known_by_itself(option):
    side({"protocol": "dropbox", **option})
    assert redact("it was of-the-leaf at host-of-it") == "it was [redacted] at host-of-it"
    redact._secrets = ()
    other = fsspec.filesystem("memory")
    other.storage_options = option
    side(other)
    assert redact("it was of-the-leaf at host-of-it") == "it was [redacted] at host-of-it"
    redact._secrets = ()


def test_a_secret_of_another_type_than_text_is_refused():
    with pytest.raises(UsageError, match="'password': expected text; found int") as caught:
        side({"protocol": "sftp", "host": "h", "password": 20231114})
    assert "20231114" not in str(caught.value)


def test_an_error_that_is_long_is_redacted_before_it_is_cut():
    redact.learn("a-secret-over-the-end")
    error = OSError("x" * 290 + " a-secret-over-the-end")
    assert "a-secret" not in str(of_failure(error, "smb://h/x"))


def test_an_option_that_chooses_a_login_is_a_credential_provider():
    found = side({"protocol": "s3", "bucket": "bucket", "anon": True})
    assert found.credentials == {"provider": "anonymous"}
    registry = StoreRegistry(credentials={"provider": "profile", "profile": "gone"}, sides=[found])
    registry.open("s3://bucket/x", "destination")
    assert [holder.provider.name for holder in registry.credential_holders()] == ["anonymous"]
    token = DIALECTS["gs"].provider("token", "/srv/account.json")
    assert token == {"provider": "google-file", "path": "/srv/account.json"}
    assert DIALECTS["gs"].provider("token", "cloud") == {"provider": "default"}


def test_an_error_that_repeats_a_secret_option_does_not_show_it(monkeypatch):
    class Talkative(fsspec.AbstractFileSystem):
        protocol = "talkative"
        cachable = False

        def __init__(self, password, fails=False, **more):
            super().__init__(password=password, **more)
            self.password = password
            if fails:
                raise ValueError(f"can't log in by {password}")

        def info(self, path, **more):
            raise OSError(f"no login by {self.password}")

    monkeypatch.setitem(_registry, "talkative", Talkative)
    table = {"protocol": "talkative", "password": "swordfish-1"}
    for given in (table, {**table, "fails": True}, Talkative("swordfish-1")):
        found = side(given)
        store = StoreRegistry(sides=[found]).open(found.url_of("/x"), "destination")
        with pytest.raises(JobtoolError) as caught:
            store.stat("file")
        assert "swordfish" not in str(caught.value)
        assert "[redacted]" in str(caught.value)
    store_type.cache_clear()


def test_a_process_is_one_user_of_hdfs(monkeypatch):
    monkeypatch.setenv("HADOOP_USER_NAME", "somebody")
    registry = StoreRegistry(sides=[side({"protocol": "hdfs", "host": "127.0.0.1", "user": "lab"})])
    with pytest.raises(StoreSettingsError, match=r"expected somebody.*found lab"):
        registry.open("hdfs://127.0.0.1/x", "destination")
    web = side({"protocol": "webhdfs", "host": "127.0.0.1", "port": 9870, "user": "lab"})
    assert StoreRegistry(sides=[web]).open("webhdfs://127.0.0.1:9870/x", "destination")


def test_the_user_of_one_joblist_is_not_that_of_the_next(monkeypatch):
    monkeypatch.setenv("HADOOP_USER_NAME", "")
    monkeypatch.delenv("HADOOP_USER_NAME")
    monkeypatch.setattr("jobtool.stores.hdfs.clients.users_set_here", set())
    lab = side({"protocol": "hdfs", "host": "127.0.0.1", "port": 8020, "user": "lab"})
    assert StoreRegistry(sides=[lab]).open("hdfs://127.0.0.1:8020/x", "destination")
    with pytest.raises(StoreSettingsError, match=r"expected lab.*found none"):
        StoreRegistry().open("hdfs://127.0.0.1:8020/x", "destination")


def test_half_of_a_key_is_refused():
    half = side({"protocol": "s3", "bucket": "bucket", "key": "id-of-key"})
    with pytest.raises(UsageError, match="found no secret"):
        StoreRegistry(sides=[half]).open("s3://bucket", "destination")


def test_a_side_is_over_the_table_of_its_store():
    registry = StoreRegistry(
        {"sftp": {"port": 1, "destination": {"user": "lab", "known_hosts": "/before"}}},
        sides=[side({"protocol": "sftp", "host": "h", "known_hosts": "/now"})],
    )
    for role, expected in (("source", (1, None, None)), ("destination", (1, "lab", "/now"))):
        link = registry.open("sftp://h/x", role)._link
        settings = link._settings
        assert (settings.port, settings.user, settings.known_hosts) == expected


@pytest.mark.parametrize(
    ("protocol", "path", "url"),
    [
        ("file", "/data/x y/", "fsspec://file:/data/x y"),
        ("memory", "memory://a/b", "fsspec://memory:/a/b"),
        ("memory", "/", "fsspec://memory"),
    ],
)
def test_an_object_has_urls(protocol, path, url):
    found = side(fsspec.filesystem(protocol))
    assert found.url_of(path) == url


def test_an_object_of_s3_whose_options_are_known_is_jobtools_own_store():
    if importlib.util.find_spec("s3fs") is None:
        lack("no s3fs: pip install s3fs")
    known = fsspec.filesystem("s3", key="id-of-key", secret="of-the-key", default_block_size=2**20)
    found = side(known)
    assert (found.scheme, found.url_of("s3://b/x"), found.url_of("b/x")) == (
        ("s3", "s3://b/x", "s3://b/x")
    )
    assert found.secrets["secret_key"] == "of-the-key"
    there = fsspec.filesystem("s3", secret="x", key="y", bucket="b", endpoint_url="http://h")
    assert table_to_write({}, there) == {"protocol": "s3", "endpoint_url": "http://h"}
    other = side(fsspec.filesystem("s3", config_kwargs={"retries": {}}))
    assert (other.scheme, other.url_of("s3://b/x")) == ("fsspec", "fsspec://s3/b/x")


def test_a_filesystem_of_one_process_is_made_from_a_table_but_not_from_a_file(tmp_path):
    found = side({"protocol": "dir", "path": str(tmp_path), "target_protocol": "file"})
    assert found.filesystem is not None
    with pytest.raises(UsageError, match="no file can name it"):
        side({"protocol": "memory"}, is_file=True)
    with pytest.raises(UsageError, match="fsspec makes no filesystem 'dir'"):
        side({"protocol": "dir"})


def test_a_password_given_in_python_logs_in_at_an_ssh_server(tmp_path):
    with password_server(tmp_path) as server:
        write(server.folder / "remote" / "file", b"data")
        table = {
            "protocol": "sftp",
            "host": "127.0.0.1",
            "port": server.port,
            "username": USER,
            "password": PASSWORD,
            "known_hosts": str(server.known_hosts),
        }
        found = side(table, "source")
        store = StoreRegistry(sides=[found]).open(found.url_of("/remote"), "source")
        assert [entry.path for entry in store.list() if isinstance(entry, Entry)] == ["file"]
