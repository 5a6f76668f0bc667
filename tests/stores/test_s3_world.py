"""What is special about S3: refusals, settings, and what other tools see of our objects."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import time

import pytest
from msgspec.structs import replace

from jobtool.errors import (
    CredentialsError,
    FileError,
    NotFoundError,
    RefusedError,
    SourceChangedError,
    StoreError,
    StoreUnavailableError,
    UnreachableError,
)
from jobtool.md5 import md5_of
from jobtool.stores.credentials.provider import AwsKeys
from jobtool.stores.registry import StoreRegistry
from jobtool.stores.store import (
    Attributes,
    Entry,
    Special,
    Unlisted,
    composite_md5,
    entry_of,
    kind_of,
)
from jobtool.transfer.partranges import MEBIBYTE
from tests.faults.proxy import Fault, encrypt, proxy_before
from tests.servers.s3 import ACCESS_KEY, REGION, SECRET_KEY
from tests.stores.raw import S3Raw

MTIME_NS = 1_700_000_000_123_456_000
PIECES = [b"a" * 5 * MEBIBYTE, b"b" * 5 * MEBIBYTE, b"c"]


@pytest.fixture
def use(monkeypatch):
    def enter(server, **changes):
        for name, value in (server.environment | changes).items():
            monkeypatch.setenv(name, value)

    return enter


@pytest.fixture
def bucket(rclone_s3):
    return rclone_s3.new_bucket()


@pytest.fixture
def raw(rclone_s3, bucket):
    return S3Raw(rclone_s3.client, bucket)


@pytest.fixture
def store(rclone_s3, bucket, use):
    use(rclone_s3)
    return StoreRegistry().open(f"s3://{bucket}", "destination")


def put(store, path="file", data=b"data"):
    return store.write(path, [data], Attributes(mtime_ns=MTIME_NS, md5=md5_of(data)))


def put_in_parts(store, path):
    attributes = Attributes(mtime_ns=MTIME_NS, md5=md5_of(b"".join(PIECES)))
    upload = store.begin(path, attributes)
    parts = [
        store.put_part(upload, number, (number - 1) * len(PIECES[0]), piece, md5_of(piece))
        for number, piece in enumerate(PIECES, 1)
    ]
    return store.complete(upload, parts, attributes), parts


def attempts(store, *, with_head=True):
    yield lambda: list(store.list())
    yield lambda: list(store.children(""))
    yield lambda: kind_of(store, "")
    yield lambda: put(store)
    yield lambda: store.begin("file", Attributes(mtime_ns=0, md5=md5_of(b"")))
    if with_head:
        yield lambda: entry_of(store, "file")


# Refusals


def test_a_wrong_secret_is_told_with_the_endpoint_and_without_the_secret(rclone_s3, bucket, use):
    use(rclone_s3, AWS_SECRET_ACCESS_KEY="wrong-secret-of-tests")
    store = StoreRegistry().open(f"s3://{bucket}", "destination")
    for attempt in (*attempts(store, with_head=False), lambda: kind_of(store, "file")):
        with pytest.raises(CredentialsError) as caught:
            attempt()
        assert rclone_s3.endpoint_url in str(caught.value)
        assert "wrong-secret" not in str(caught.value)
        assert ACCESS_KEY not in str(caught.value)
    with pytest.raises(RefusedError, match=rclone_s3.endpoint_url):  # 403, without a reason
        entry_of(store, "file")


def test_without_any_credentials_one_is_told_where_they_may_come_from(monkeypatch, rclone_s3):
    monkeypatch.setenv("AWS_ENDPOINT_URL", rclone_s3.endpoint_url)
    store = StoreRegistry({"s3": {"region": REGION}}).open("s3://bucket", "source")
    for attempt in attempts(store):
        with pytest.raises(CredentialsError, match="expected AWS credentials"):
            attempt()


def test_a_profile_that_is_not_there_is_named(rclone_s3, use):
    use(rclone_s3)
    with pytest.raises(CredentialsError, match="nobody"):
        StoreRegistry({"s3": {"profile": "nobody"}}).open("s3://bucket", "source")


@pytest.mark.parametrize("server_name", ["rclone_s3", "moto_s3"])
def test_a_missing_bucket_is_the_worlds_fault(request, use, server_name):
    use(request.getfixturevalue(server_name))
    store = StoreRegistry().open("s3://no-such-bucket", "destination")
    for attempt in attempts(store, with_head=False):
        with pytest.raises(StoreUnavailableError, match="no bucket no-such-bucket"):
            attempt()


def test_an_endpoint_that_is_down_is_unreachable(rclone_s3, use):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        use(rclone_s3, AWS_ENDPOINT_URL=url)
        store = StoreRegistry().open("s3://bucket", "destination")
        for attempt in (lambda: kind_of(store, ""), lambda: put(store)):
            with pytest.raises(UnreachableError, match=url):
                attempt()


def test_names_that_s3_cannot_hold_fail_that_file_only(store, raw):
    for name, message in (("bad\udcff", "UTF-8"), ("x" * 1025, "1024 bytes")):
        for attempt in (
            lambda name=name: put(store, name),
            lambda name=name: entry_of(store, name),
        ):
            with pytest.raises(FileError, match=message):
                attempt()
    assert raw.paths() == set()


def test_an_upload_dropped_at_the_server_may_be_begun_again(store, raw):
    attributes = Attributes(mtime_ns=MTIME_NS, md5=md5_of(PIECES[2]))
    upload = store.begin("file", attributes)
    part = store.put_part(upload, 1, 0, PIECES[2], md5_of(PIECES[2]))
    raw.client.abort_multipart_upload(Bucket=raw.bucket, Key="file", UploadId=upload.token)
    for attempt in (
        lambda: store.put_part(upload, 1, 0, PIECES[2], md5_of(PIECES[2])),
        lambda: store.complete(upload, [part], attributes),
    ):
        with pytest.raises(StoreError, match="dropped at the server") as caught:
            attempt()
        assert caught.value.retryable
    assert raw.paths() == set()


def test_uploads_begun_long_before_the_job_or_of_a_longer_key_are_nobodys_leftovers(store, raw):
    longer = store.begin("file.bak", Attributes(mtime_ns=0))
    ours = store.begin("file", Attributes(mtime_ns=0))
    now_ns = time.time_ns()
    assert [found.token for found in store.leftovers("file", now_ns)] == [ours.token]
    assert list(store.leftovers("file", now_ns + 3600 * 10**9)) == []
    assert [found.token for found in store.leftovers("file.bak", 0)] == [longer.token]


@pytest.mark.parametrize("server_name", ["rclone_s3", "moto_s3"])
def test_with_read_back_an_etag_is_no_proof(request, use, server_name):
    server = request.getfixturevalue(server_name)
    use(server)
    name = server.new_bucket()
    store = StoreRegistry(read_back=True).open(f"s3://{name}", "destination")
    assert put(store).verified_by == "read-back"
    assert put_in_parts(store, "parts")[0].verified_by == "read-back"


def test_an_etag_that_is_no_md5_is_no_proof_either(rclone_s3, use, bucket):
    def befalls(request):
        return request.is_put or request.is_complete or request.method in ("GET", "HEAD")

    with proxy_before(rclone_s3.endpoint_url, Fault(befalls, encrypt, times=10**9)) as proxy:
        use(rclone_s3, AWS_ENDPOINT_URL=proxy.endpoint_url)
        store = StoreRegistry().open(f"s3://{bucket}", "destination")
        whole = put(store)
        parts, _ = put_in_parts(store, "parts")
        assert (whole.verified_by, parts.verified_by) == ("read-back", "read-back")
        assert (whole.md5, parts.md5) == (md5_of(b"data"), md5_of(b"".join(PIECES)))
        assert whole.etag != whole.md5
        again = store.prove("parts", parts.md5, "no composite")
        assert again == replace(parts, etag=again.etag)


# What other tools see


@pytest.mark.parametrize("in_parts", [False, True], ids=["whole", "in parts"])
def test_rclone_sees_the_time_and_the_md5(rclone_s3, bucket, store, tmp_path, in_parts):
    data = b"".join(PIECES) if in_parts else b"data"
    if in_parts:
        put_in_parts(store, "folder/file")
    else:
        put(store, "folder/file", data)
    printed = rclone_s3.rclone("lsjson", "--hash", "--metadata", "-R", f"s3:{bucket}")
    (found,) = [entry for entry in json.loads(printed) if not entry["IsDir"]]
    assert (found["Path"], found["Size"]) == ("folder/file", len(data))
    assert found["ModTime"].startswith("2023-11-14T22:13:20.123456")
    assert found["Hashes"]["md5"] == md5_of(data)
    assert rclone_s3.rclone("md5sum", f"s3:{bucket}") == f"{md5_of(data)}  folder/file\n"
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_bytes(data)
    rclone_s3.rclone("check", "--download", str(tmp_path), f"s3:{bucket}")
    rclone_s3.rclone("check", str(tmp_path), f"s3:{bucket}")


def test_objects_that_rclone_lists_with_other_times_than_it_sends_cost_no_listing_each(
    rclone_s3, bucket, use, tmp_path
):
    for number in range(20):
        (tmp_path / str(number)).write_text(f"number {number}")
        os.utime(tmp_path / str(number), (1_600_000_000, 1_600_000_000 + number))
    rclone_s3.rclone("copy", str(tmp_path), f"s3:{bucket}/folder")
    listings = Fault(
        lambda request: "prefix" in request.query and request.query.get("max-keys") == ["1"],
        lambda request, forward: forward(request),
        times=1000,
    )
    with proxy_before(rclone_s3.endpoint_url, listings) as proxy:
        use(rclone_s3, AWS_ENDPOINT_URL=proxy.endpoint_url)
        store = StoreRegistry().open(f"s3://{bucket}/folder", "source")
        entries = [*store.list()]
        read = {entry.path: bytes(store.read(entry, 0, entry.size).data) for entry in entries}
        assert read == {str(number): f"number {number}".encode() for number in range(20)}
        changed = replace(entries[3], mtime_ns=entries[3].mtime_ns + 1_000_000_000)
        with pytest.raises(SourceChangedError):
            store.read(changed, 0, changed.size)
    assert 1 <= listings.hits <= 2, "of the first object, and of the one that was changed"


@pytest.mark.parametrize("server_name", ["rclone_s3", "moto_s3"])
def test_the_etag_of_parts_is_proven_and_recorded(request, use, server_name):
    # AWS's is made of those of the parts; rclone's is the MD5 of the whole. Nothing is read again.
    server = request.getfixturevalue(server_name)
    use(server)
    name = server.new_bucket()
    proof, parts = put_in_parts(StoreRegistry().open(f"s3://{name}", "destination"), "file")
    digests = b"".join(hashlib.md5(piece).digest() for piece in PIECES)
    assert composite_md5(parts) == f"{hashlib.md5(digests).hexdigest()}-3"
    etag = S3Raw(server.client, name).head("file")["ETag"].strip('"')
    assert proof.etag == etag
    expected = {
        "moto_s3": (composite_md5(parts), "multipart-etag"),
        "rclone_s3": (md5_of(b"".join(PIECES)), "etag-md5"),
    }
    assert (etag, proof.verified_by) == expected[server_name]


def test_metadata_is_what_rclone_and_aws_tools_expect(store, raw):
    put(store)
    found = {name.lower(): value for name, value in raw.head("file")["Metadata"].items()}
    assert found == {
        "mtime": "1700000000.123456000",
        "md5chksum": "jXd/OF09/siBXSD3SWAm3A==",
    }


def test_a_whole_object_is_proven_by_its_etag(store, raw):
    proof = put(store)
    assert (proof.verified_by, proof.etag) == ("etag-md5", md5_of(b"data"))
    assert raw.head("file")["ETag"] == f'"{proof.etag}"'


def test_keys_of_other_tools_are_listed_and_read(moto_s3, use):
    use(moto_s3)
    name = moto_s3.new_bucket()
    raw = S3Raw(moto_s3.client, name)
    for key in ("a/", "a/b", "a//c", "/d"):
        raw.write(key, b"" if key == "a/" else b"data")
    store = StoreRegistry().open(f"s3://{name}", "source")
    found = list(store.list())
    # The marker of a folder has no bytes to copy, but shows the folder.
    assert [entry.path for entry in found] == ["/d", "a", "a//c", "a/b"]
    assert found[1] == Special("a", "empty-folder")
    assert isinstance(found[3], Entry)
    assert bytes(store.read(found[3], 0, 4).data) == b"data"


def test_objects_whose_keys_are_no_paths_are_named_and_the_others_are_listed(moto_s3, use):
    use(moto_s3)
    name = moto_s3.new_bucket()
    raw = S3Raw(moto_s3.client, name)
    odd = ("p/", "p//lead", "p/a//c", "p/a/../b", "p/a/./b", "p/e/", "p/..", "p/f//")
    empty = ("p/empty/", "p/twice//")
    for key in (*odd, *empty, "p/a", "p/z/..z"):
        raw.write(key, b"" if key in empty else b"data")
    found = list(StoreRegistry().open(f"s3://{name}/p", "source").list())
    refused = {each.path: str(each.error) for each in found if isinstance(each, Unlisted)}
    assert refused.keys() == {key.removeprefix("p/") for key in (*odd, "p/twice//")}
    for path, message in refused.items():
        assert f"s3://{name}/p/{path}:" in message
    assert [each.path for each in found if isinstance(each, Entry)] == ["a", "z/..z"]
    assert {each.path for each in found if isinstance(each, Special)} == {"empty"}


# Settings


def write_config(path, monkeypatch, text):
    path.write_text(text)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(path))


def test_a_profile_of_awss_config_file_is_enough(rclone_s3, bucket, raw, tmp_path, monkeypatch):
    write_config(
        tmp_path / "config",
        monkeypatch,
        f"[profile lab]\nregion = {REGION}\nendpoint_url = {rclone_s3.endpoint_url}\n"
        f"aws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n",
    )
    put(StoreRegistry({"s3": {"profile": "lab"}}).open(f"s3://{bucket}", "destination"), "by table")
    monkeypatch.setenv("AWS_PROFILE", "lab")
    put(StoreRegistry().open(f"s3://{bucket}", "destination"), "by environment")
    assert raw.paths() == {"by table", "by environment"}


def test_each_role_may_have_its_own_endpoint(rclone_s3, bucket, raw, moto_s3, use):
    use(rclone_s3)
    name = moto_s3.new_bucket()
    S3Raw(moto_s3.client, name).write("file", b"from moto")
    registry = StoreRegistry({"s3": {"source": {"endpoint_url": moto_s3.endpoint_url}}})
    source = registry.open(f"s3://{name}", "source")
    data = source.read(entry_of(source, "file"), 0, 9).data
    put(registry.open(f"s3://{bucket}", "destination"), "file", bytes(data))
    assert raw.read("file") == b"from moto"


@pytest.mark.parametrize(
    ("config", "told", "expected"),
    [
        ("", None, "path"),
        ("s3 =\n  addressing_style = virtual\n", None, "virtual"),
        ("s3 =\n  addressing_style = virtual\n", "auto", "auto"),
    ],
)
def test_buckets_are_addressed_as_told(
    rclone_s3, use, tmp_path, monkeypatch, config, told, expected
):
    use(rclone_s3)
    write_config(tmp_path / "config", monkeypatch, f"[default]\nregion = {REGION}\n{config}")
    registry = StoreRegistry({"s3": {"addressing_style": told} if told else {}})
    access = registry.open("s3://any", "destination")._access
    assert access.connection.addressing_style == expected


def test_a_rewritten_credentials_file_is_seen_after_a_refresh(
    rclone_s3, bucket, tmp_path, monkeypatch
):
    monkeypatch.setenv("AWS_ENDPOINT_URL", rclone_s3.endpoint_url)
    path = tmp_path / "credentials"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(path))
    text = "[default]\naws_access_key_id = {}\naws_secret_access_key = {}\n"
    path.write_text(text.format(ACCESS_KEY, "an-expired-secret"))
    registry = StoreRegistry({"s3": {"region": REGION}})
    store = registry.open(f"s3://{bucket}", "destination")
    with pytest.raises(CredentialsError):
        put(store)
    path.write_text(text.format(ACCESS_KEY, SECRET_KEY))
    registry.begin_job({})
    assert not list(store.list())
    with pytest.raises(NotFoundError):
        entry_of(store, "file")


def test_credentials_are_not_shown_by_their_repr():
    credentials = AwsKeys(access_key=ACCESS_KEY, secret_key=SECRET_KEY, session_token="a-token")
    assert not any(secret in repr(credentials) for secret in (ACCESS_KEY, SECRET_KEY, "a-token"))
