"""What is special about HDFS: proofs, parts that were joined, refusals, NameNodes, settings."""

from __future__ import annotations

import http.server
import threading

import pytest

from jobtool.errors import (
    CredentialsError,
    DigestMismatchError,
    FileError,
    NotFoundError,
    RefusedError,
    StoreSettingsError,
    StoreUnavailableError,
    UnreachableError,
    UsageError,
)
from jobtool.redact import redact
from jobtool.stores.hdfs.native import NativeClient
from jobtool.stores.hdfs.site import web_servers
from jobtool.stores.location import Location
from jobtool.stores.registry import StoreRegistry
from jobtool.stores.store import Attributes, entry_of
from jobtool.testing.store_suite.common import MTIME_NS, md5_of, pieces_of, send, some_bytes
from tests.commands import unused_port

MEBIBYTE = 1024 * 1024
ATTRIBUTES = Attributes(mtime_ns=MTIME_NS)


@pytest.fixture
def root(hdfs):
    folder = hdfs.new_folder()
    hdfs.client.mkdirs(folder, create_parent=True)
    return folder


@pytest.fixture
def cluster(hdfs, monkeypatch):
    for name, value in hdfs.environment.items():
        monkeypatch.setenv(name, value)
    return hdfs


@pytest.fixture(params=["hdfs", "webhdfs"])
def url(request, cluster, root):
    return getattr(cluster, request.param) + root


def open_store(url, table=None, **options):
    scheme = url.partition(":")[0]
    return StoreRegistry({scheme: table or {}}, **options).open(url, "destination")


def chunks_of(data, size):
    return [data[at : at + size] for at in range(0, len(data), size)]


@pytest.mark.parametrize(
    ("size", "read_back", "verified_by"),
    [
        (1000, False, "read-back"),
        (17 * MEBIBYTE + 3, False, "hdfs-checksum"),
        (17 * MEBIBYTE + 3, True, "read-back"),
    ],
)
def test_long_files_are_proven_by_their_checksum(url, size, read_back, verified_by):
    data = some_bytes(size)
    store = open_store(url, read_back=read_back)
    proof = store.write("ü %/file", chunks_of(data, 3 * MEBIBYTE + 1), ATTRIBUTES)
    assert (proof.md5, proof.verified_by) == (md5_of(data), verified_by)
    assert store.digest("ü %/file") == md5_of(data)


def test_files_in_parts_are_proven_by_their_checksum(url):
    store = open_store(url)
    pieces = pieces_of(5 * MEBIBYTE, 5 * MEBIBYTE, 777)
    upload, parts = send(store, "file", pieces)
    proof = store.complete(upload, parts, upload.attributes)
    assert proof.verified_by == "hdfs-checksum"
    assert store.digest("file") == md5_of(b"".join(pieces))


def test_parts_that_were_joined_before_an_interruption_are_held(url, cluster):
    store = open_store(url)
    pieces = pieces_of(5 * MEBIBYTE, 5 * MEBIBYTE, 777)
    upload, parts = send(store, "file", pieces)
    sources = ",".join(f"{upload.token}/{number:06}" for number in (1, 2))
    cluster.call("POST", f"{upload.token}/whole", "CONCAT", sources=sources)
    assert list(store.held_parts(upload, parts)) == parts
    store.complete(upload, parts, upload.attributes)
    assert store.digest("file") == md5_of(b"".join(pieces))


@pytest.mark.parametrize("is_known", [True, False])
def test_bytes_that_change_on_their_way_are_noticed(cluster, root, monkeypatch, is_known):
    create = NativeClient.create

    def corrupt(self, path, chunks, **options):
        create(self, path, (b"X" + bytes(chunk[1:]) for chunk in chunks), **options)

    monkeypatch.setattr(NativeClient, "create", corrupt)
    store = open_store(cluster.hdfs + root)
    data = some_bytes(17 * MEBIBYTE)
    attributes = Attributes(mtime_ns=0, md5=md5_of(data) if is_known else None)
    for chunks in ([data[:100]], chunks_of(data, MEBIBYTE)):
        if len(chunks) == 1 and is_known:
            attributes = Attributes(mtime_ns=0, md5=md5_of(data[:100]))
        with pytest.raises(DigestMismatchError, match="removed"):
            store.write("file", chunks, attributes)
        attributes = Attributes(mtime_ns=0, md5=md5_of(data) if is_known else None)
        assert list(store.list()) == []


def test_a_file_that_must_not_be_replaced_is_kept(url):
    store = open_store(url)
    store.write("file", [b"old"], ATTRIBUTES)
    with pytest.raises(FileError, match="exists"):
        store.write("file", [b"new"], Attributes(mtime_ns=0, may_replace=False))
    assert store.digest("file") == md5_of(b"old")
    assert [entry.path for entry in store.list()] == ["file"]


def test_a_file_in_the_place_of_a_folder_is_an_error_of_the_file(url):
    store = open_store(url)
    store.write("file", [b"1"], ATTRIBUTES)
    store.write("folder/x", [b"1"], ATTRIBUTES)
    for path in ("file/below", "folder"):
        with pytest.raises(FileError, match=r"in the place|exists") as caught:
            store.write(path, [b"2"], ATTRIBUTES)
        assert not caught.value.retryable


def test_a_refusal_may_be_about_one_file_or_all(url, monkeypatch):
    open_store(url).write("file", [b"1"], Attributes(mtime_ns=0, mode=0o600))
    monkeypatch.setenv("HADOOP_USER_NAME", "somebody")
    store = open_store(url)
    entry = entry_of(store, "file")
    for attempt in (
        lambda: store.read(entry, 0, 1),
        lambda: store.write("other", [b"1"], ATTRIBUTES),
        lambda: store.delete("file"),
        lambda: store.check_access(write=True),
    ):
        with pytest.raises(RefusedError, match="AccessControlException") as caught:
            attempt()
        assert "\tat " not in str(caught.value)
    store.check_access(write=False)


def test_a_root_that_is_missing_is_an_error(url):
    with pytest.raises(NotFoundError, match="missing"):
        list(open_store(f"{url}/missing").list())


@pytest.mark.parametrize("scheme", ["hdfs", "webhdfs"])
def test_a_server_that_is_down_is_out_of_reach(scheme, monkeypatch):
    monkeypatch.setenv("HADOOP_TOKEN", "very-secret")
    store = open_store(f"{scheme}://127.0.0.1:{unused_port()}/x")
    with pytest.raises(UnreachableError, match=r"can't reach .*refused") as caught:
        store.stat("file")
    assert "very-secret" not in str(caught.value)
    if scheme == "webhdfs":
        assert "very-secret" not in repr(store._client._setup)
    assert redact("it was very-secret") == "it was [redacted]"


def test_a_server_of_another_kind_is_out_of_reach(cluster):
    for url in (
        f"hdfs://127.0.0.1:{cluster.http_port}/x",
        f"webhdfs://127.0.0.1:{cluster.rpc_port}/x",
    ):
        with pytest.raises(UnreachableError):
            open_store(url).stat("file")


def test_a_server_that_wants_kerberos_gets_advice(monkeypatch):
    class Answers(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(401)
            self.send_header("WWW-Authenticate", "Negotiate")
            self.end_headers()

        def log_message(self, *_):
            pass

    asked = []
    with http.server.HTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("HADOOP_TOKEN", "very-secret")
        store = open_store(f"webhdfs://127.0.0.1:{server.server_port}/x")
        with pytest.raises(CredentialsError, match="HADOOP_TOKEN") as caught:
            store.stat("file")
        server.shutdown()
    assert "very-secret" not in str(caught.value)
    assert "delegation=very-secret" in asked[0]


def test_the_active_namenode_of_a_nameservice_is_found(cluster, root, tmp_path, monkeypatch):
    dead = f"127.0.0.1:{unused_port()}"
    values = {
        "dfs.nameservices": "lab",
        "dfs.ha.namenodes.lab": "one,two",
        "dfs.namenode.rpc-address.lab.one": dead,
        "dfs.namenode.rpc-address.lab.two": cluster.hdfs.removeprefix("hdfs://"),
        "dfs.namenode.http-address.lab.one": dead,
        "dfs.namenode.http-address.lab.two": cluster.webhdfs.removeprefix("webhdfs://"),
    }
    rows = "".join(
        f"<property><name>{name}</name><value>{value}</value></property>"
        for name, value in values.items()
    )
    (tmp_path / "hdfs-site.xml").write_text(f"<configuration>{rows}</configuration>")
    monkeypatch.setenv("HADOOP_CONF_DIR", str(tmp_path))
    store = open_store(f"hdfs://lab{root}")
    upload, parts = send(store, "file", pieces_of(5 * MEBIBYTE, 1))
    assert store.complete(upload, parts, upload.attributes).verified_by == "hdfs-checksum"


def test_a_nameservice_that_is_not_configured_is_named():
    with pytest.raises(StoreSettingsError, match="HADOOP_CONF_DIR"):
        open_store("hdfs://nowhere/x").stat("file")


def test_the_web_servers_are_those_of_the_namenode():
    settings = {
        "dfs.namenode.rpc-address": "nn:8020",
        "dfs.namenode.http-address": "0.0.0.0:9870",
        "dfs.namenode.https-address": "nn:9871",
    }
    assert web_servers("nn:8020", settings) == ["http://nn:9870"]
    assert web_servers("nn:8020", {**settings, "dfs.http.policy": "HTTPS_ONLY"}) == [
        "https://nn:9871"
    ]
    assert web_servers("other:8020", settings) == []


def test_settings_reach_the_cluster(url, hdfs, root):
    open_store(url, {"replication": 1, "block_bytes": MEBIBYTE}).write("file", [b"1"], ATTRIBUTES)
    found = hdfs.client.get_file_info(f"{root}/file")
    assert (found.replication, found.blocksize) == (1, MEBIBYTE)


def test_settings_that_do_not_fit_the_cluster_end_the_job(url):
    with pytest.raises(StoreUnavailableError, match=r"joblist\.toml"):
        open_store(url, {"block_bytes": 512}).write("file", [b"1"], ATTRIBUTES)


@pytest.mark.parametrize(
    "table",
    [{"replication": 0}, {"block_bytes": 1000}, {"password": "x"}, {"webhdfs_url": 1}],
    ids=str,
)
def test_settings_that_make_no_sense_are_refused(table):
    with pytest.raises(UsageError, match=r"\[hdfs\]"):
        StoreRegistry({"hdfs": table})


def test_a_web_address_that_is_none_is_refused():
    with pytest.raises(StoreSettingsError, match="webhdfs_url"):
        open_store("hdfs://127.0.0.1:1/x", {"webhdfs_url": "127.0.0.1:9870"})


@pytest.mark.parametrize(
    "url", ["webhdfs://host/x", "hdfs://host:1/a:b", "hdfs://ho st/x", "hdfs:///x"]
)
def test_urls_that_hdfs_can_not_have_are_refused(url):
    with pytest.raises(UsageError):
        Location.parse(url)
