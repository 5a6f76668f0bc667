"""What ``[s3]`` adds to new objects and to requests, as the server sees it."""

from __future__ import annotations

import base64
import contextlib
import os
from datetime import UTC, datetime, timedelta

import pytest

from jobtool.errors import StoreSettingsError, UsageError
from jobtool.md5 import md5_of
from jobtool.stores.registry import StoreRegistry
from jobtool.stores.s3.config import read_s3_table
from jobtool.stores.store import Attributes, entry_of
from jobtool.transfer.partranges import MEBIBYTE
from tests.faults.proxy import Fault, proxy_before

DATA = b"data"
PIECES = [b"a" * 5 * MEBIBYTE, b"c"]
BUCKET_KEY = ("x-amz-server-side-encryption-bucket-key-enabled", "true")
LOCK = "x-amz-object-lock-mode"


@pytest.fixture
def bucket(moto_s3, monkeypatch):
    for name, value in moto_s3.environment.items():
        monkeypatch.setenv(name, value)
    return moto_s3.new_bucket()


def store_of(bucket, **table):
    return StoreRegistry({"s3": table}).open(f"s3://{bucket}", "destination")


def put(store, path="file", data=DATA, **attributes):
    sent = Attributes(mtime_ns=1, md5=md5_of(data), **attributes)
    return store.write(path, [data], sent)


def put_in_parts(store, path):
    sent = Attributes(mtime_ns=1, md5=md5_of(b"".join(PIECES)))
    upload = store.begin(path, sent)
    parts = [
        store.put_part(upload, n + 1, n * len(PIECES[0]), piece, md5_of(piece))
        for n, piece in enumerate(PIECES)
    ]
    return store.complete(upload, parts, sent)


@pytest.fixture
def recorded(moto_s3, monkeypatch):
    """A function that lets requests pass a proxy, and returns the list of what they carry."""
    with contextlib.ExitStack() as stack:

        def begin():
            seen = []

            def record(request, forward):
                about = ("method", request.method), ("path", request.path)
                seen.append((*about, *request.headers.items()))
                return forward(request)

            fault = Fault(lambda request: True, record, 10**9)
            proxy = stack.enter_context(proxy_before(moto_s3.endpoint_url, fault))
            monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint_url)
            return seen

        yield begin


@pytest.fixture(params=["whole", "in parts"])
def made(request):
    """A function that makes an object in one of the two ways."""
    return put if request.param == "whole" else put_in_parts


def test_new_objects_get_what_the_table_says(moto_s3, bucket, made, recorded):
    seen = recorded()
    store = store_of(
        bucket,
        acl="bucket-owner-full-control",
        server_side_encryption="aws:kms",
        kms_key_id="a-key",
        bucket_key=True,
        tags={"project": "cpg 0016", "owner": "ü"},
        metadata={"instrument": "opera"},
        storage_class="STANDARD_IA",
        storage_class_from_bytes=0,
    )
    proof = made(store, "file.tiff")
    found = moto_s3.client.head_object(Bucket=bucket, Key="file.tiff")
    assert found["Metadata"]["instrument"] == "opera"
    assert found["ContentType"] == "image/tiff"
    assert found["StorageClass"] == "STANDARD_IA"
    assert (found["ServerSideEncryption"], found["SSEKMSKeyId"]) == ("aws:kms", "a-key")
    tags = moto_s3.client.get_object_tagging(Bucket=bucket, Key="file.tiff")["TagSet"]
    assert {tag["Key"]: tag["Value"] for tag in tags} == {"project": "cpg 0016", "owner": "ü"}
    grants = moto_s3.client.get_object_acl(Bucket=bucket, Key="file.tiff")["Grants"]
    assert "FULL_CONTROL" in {grant["Permission"] for grant in grants}
    assert proof.verified_by != "read-back"
    assert BUCKET_KEY in seen[-1] or BUCKET_KEY in seen[0]  # moto forgets it for parts


def test_small_objects_keep_the_standard_class(moto_s3, bucket):
    store = store_of(bucket, storage_class="GLACIER", storage_class_from_bytes=10)
    put(store, "small", b"123456789")
    put(store, "large", b"1234567890")
    put_in_parts(store, "parts")
    classes = {
        item["Key"]: item["StorageClass"]
        for item in moto_s3.client.list_objects_v2(Bucket=bucket)["Contents"]
    }
    assert classes == {"small": "STANDARD", "large": "GLACIER", "parts": "GLACIER"}


def test_an_object_lock_lasts_as_many_days_as_told(moto_s3, bucket, made, recorded):
    locked = f"{bucket}-locked"
    moto_s3.client.create_bucket(Bucket=locked, ObjectLockEnabledForBucket=True)
    seen = recorded()
    made(store_of(locked, object_lock_mode="GOVERNANCE", object_lock_days=3), "file")
    (told,) = [dict(headers) for headers in seen if LOCK in dict(headers)]  # moto forgets parts'
    until = datetime.fromisoformat(dict(told)[f"{LOCK[:-4]}retain-until-date"])
    assert dict(told)[LOCK] == "GOVERNANCE"
    assert timedelta(days=2.9) < until - datetime.now(UTC) < timedelta(days=3.1)
    if made is put:
        found = moto_s3.client.head_object(Bucket=locked, Key="file")
        assert found["ObjectLockRetainUntilDate"] == until


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a/b.csv", "text/csv"),
        ("b.json", "application/json"),
        ("b.csv.gz", "application/gzip"),
        ("0.0.0", None),
        ("README", None),
        ("x.zarr/c/0", "application/x-chunk"),
        ("b.ome.tif", "image/ome"),
    ],
)
def test_types_are_guessed_by_the_name_unless_a_pattern_says_otherwise(
    moto_s3, bucket, name, expected
):
    kinds = {"*.ome.tif": "image/ome", "*.zarr/*": "application/x-chunk"}
    put(store_of(bucket, content_types=kinds), name)
    found = moto_s3.client.head_object(Bucket=bucket, Key=name)
    assert found["ContentType"] == (expected or "binary/octet-stream")
    assert "ContentEncoding" not in found


def test_the_type_and_metadata_of_the_source_come_first(moto_s3, bucket):
    store = store_of(bucket, metadata={"lab": "ours", "more": "x"})
    put(store, "a.csv", headers=(("Content-Type", "text/x-own"),), metadata=(("lab", "theirs"),))
    found = moto_s3.client.head_object(Bucket=bucket, Key="a.csv")
    assert found["ContentType"] == "text/x-own"
    assert (found["Metadata"]["lab"], found["Metadata"]["more"]) == ("theirs", "x")


def test_every_request_names_the_payer_the_owner_and_the_key(bucket, recorded, tmp_path):
    key_file = tmp_path / "key"
    key_file.write_bytes(os.urandom(32))
    key_file.chmod(0o600)
    seen = recorded()
    store = store_of(
        bucket,
        requester_pays=True,
        expected_bucket_owner="123456789012",
        customer_key_file=str(key_file),
    )
    put(store)
    put_in_parts(store, "parts")
    entry = entry_of(store, "file")
    assert bytes(store.read(entry, 0, entry.size).data) == DATA
    list(store.list())
    store.delete("file")
    assert {method for ((_, method), *_) in seen} == {"PUT", "POST", "GET", "HEAD", "DELETE"}
    key = base64.b64encode(key_file.read_bytes()).decode()
    for headers in map(dict, seen):
        assert headers["x-amz-request-payer"] == "requester"
        assert headers["x-amz-expected-bucket-owner"] == "123456789012"
        if headers["path"].count("/") > 1 and headers["method"] != "DELETE":  # about an object
            assert headers["x-amz-server-side-encryption-customer-key"] == key, headers
    assert key not in repr(store._access.connection)


def test_requester_pays_alone_keeps_the_faster_client(moto_s3, bucket):
    store = store_of(bucket, requester_pays=True)
    put(store)
    assert store._access.is_for_obstore(bucket)


@pytest.mark.parametrize(
    ("table", "named"),
    [
        ({"acl": "everyone"}, "acl: expected one of private"),
        ({"expected_bucket_owner": "me"}, "12 digits"),
        ({"object_lock_mode": "GOVERNANCE"}, "object_lock_days together"),
        ({"tags": {str(n): "x" for n in range(11)}}, "at most 10"),
        ({"metadata": {"mtime": "1"}}, "'mtime'"),
        ({"metadata": {"With Space": "1"}}, "'With Space'"),
        ({"customer_key_file": "key"}, "absolute path"),
        ({"customer_key_file": "/key", "server_side_encryption": "AES256"}, "found both"),
        ({"storage_class_from_bytes": -1}, "storage_class_from_bytes"),
        ({"object_lock_days": 0, "object_lock_mode": "COMPLIANCE"}, "object_lock_days"),
    ],
)
def test_settings_that_s3_would_refuse_are_named(table, named):
    for role in ("source", "destination"):
        with pytest.raises(UsageError, match=named):
            read_s3_table({role: table}, role)


@pytest.mark.parametrize(
    ("content", "mode", "said"),
    [
        (None, 0o600, "can't be read: No such file"),
        (b"short", 0o600, "expected 32 bytes"),
        (b"k" * 32, 0o644, "chmod 600"),
    ],
    ids=["missing", "short", "open to all"],
)
def test_a_key_file_that_cannot_be_used_is_named_without_its_content(
    moto_s3, bucket, tmp_path, content, mode, said
):
    path = tmp_path / "key"
    if content is not None:
        path.write_bytes(content)
        path.chmod(mode)
    with pytest.raises(StoreSettingsError, match=said) as raised:
        store_of(bucket, customer_key_file=str(path))
    assert str(path) in str(raised.value)
    assert "short" not in str(raised.value)
    assert "kkkk" not in str(raised.value)


def test_a_key_in_base64_is_the_same_key(moto_s3, bucket, tmp_path):
    key = os.urandom(32)
    for name, content in (("raw", key), ("text", base64.b64encode(key) + b"\n")):
        (tmp_path / name).write_bytes(content)
        (tmp_path / name).chmod(0o600)
    first = store_of(bucket, customer_key_file=str(tmp_path / "raw"))
    second = store_of(bucket, customer_key_file=str(tmp_path / "text"))
    assert first._access.connection.arguments == second._access.connection.arguments


@pytest.mark.parametrize(
    ("endpoint_url", "proxy", "is_refused"),
    [
        ("http://minio.example:9000", None, True),
        ("http://10.0.0.7", None, True),
        ("https://minio.example", None, False),
        ("http://localhost:9000", None, False),
        ("http://[::1]:9000", None, False),
        ("http://127.0.0.1:9000", "http://proxy.example:3128", True),
        ("https://minio.example", "http://proxy.example:3128", False),
    ],
)
def test_a_key_travels_encrypted_or_not_at_all(
    moto_s3, monkeypatch, tmp_path, endpoint_url, proxy, is_refused
):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    if proxy is not None:
        monkeypatch.setenv("HTTP_PROXY", proxy)
        monkeypatch.setenv("HTTPS_PROXY", proxy)
    path = tmp_path / "key"
    path.write_bytes(b"k" * 32)
    path.chmod(0o600)
    table = {"endpoint_url": endpoint_url, "customer_key_file": str(path)}
    if not is_refused:
        store_of("bucket", **table)
        return
    with pytest.raises(StoreSettingsError, match="expected an endpoint with https://") as raised:
        store_of("bucket", **table)
    assert endpoint_url in str(raised.value)
