"""The metadata that both clients keep from bucket to bucket, and the notes if they can't."""

from __future__ import annotations

import gzip
import itertools

import obstore
import pytest
from msgspec.structs import replace
from obstore.store import S3Store as ObstoreBucket

from jobtool.md5 import md5_of
from jobtool.stores.s3.metadata import attributes_of, etag_of, told_of
from jobtool.stores.store import Attributes, Store, entry_of
from jobtool.transfer.partranges import MEBIBYTE
from tests.servers.s3 import ACCESS_KEY, REGION, SECRET_KEY
from tests.stores.test_s3 import registry_for

HEADERS = {
    "ContentType": "text/csv",
    "ContentEncoding": "gzip",
    "CacheControl": "max-age=60",
    "ContentDisposition": 'attachment; filename="a b.csv"',
    "ContentLanguage": "de",
}
MTIME = "981173106.123456789"

#: One that obstore reads and writes, and one that only boto3 does.
KEYS = {"obstore": "file", "boto3": "control \x01"}


@pytest.fixture(params=["rclone_s3", "moto_s3"])
def server(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def stores(server) -> tuple[Store, Store, str, str]:
    source, destination = server.new_bucket(), server.new_bucket()
    registry = registry_for(server)
    return (
        registry.open(f"s3://{source}", "destination"),
        registry.open(f"s3://{destination}", "destination"),
        source,
        destination,
    )


def copy(source: Store, destination: Store, key: str, data: bytes, *, in_parts: bool):
    """Copy as a job does, in one piece or in parts."""
    entry = entry_of(source, key)
    content = source.read(entry, 0, min(entry.size, 5 * MEBIBYTE) if in_parts else entry.size)
    attributes = replace(content.attributes, md5=md5_of(data))
    if not in_parts:
        assert bytes(content.data) == data
        return destination.write(key, [content.data], attributes)
    upload = destination.begin(key, attributes)
    half = 5 * MEBIBYTE
    parts = []
    for number, piece in enumerate((data[:half], data[half:]), 1):
        assert bytes(source.read(entry, (number - 1) * half, len(piece)).data) == piece
        sent = destination.put_part(upload, number, (number - 1) * half, piece, md5_of(piece))
        parts.append(sent)
    return destination.complete(upload, parts, attributes)


@pytest.mark.parametrize(
    ("client", "in_parts"), [("obstore", False), ("boto3", False), ("obstore", True)]
)
def test_headers_and_own_metadata_go_from_bucket_to_bucket(
    server, stores, client: str, in_parts: bool
) -> None:
    """Bytes with ``Content-Encoding: gzip`` are copied unchanged, by both clients."""
    source, destination, source_bucket, destination_bucket = stores
    key = KEYS[client]
    data = gzip.compress(bytes(1000))
    if in_parts:
        data = data + bytes(range(256)) * 24_000  # invalid gzip, which must not matter
    own = {"Sample": "A 1", "empty": "", "mtime": MTIME}
    server.client.put_object(Bucket=source_bucket, Key=key, Body=data, Metadata=own, **HEADERS)
    proof = copy(source, destination, key, data, in_parts=in_parts)
    found = server.client.get_object(Bucket=destination_bucket, Key=key)
    assert found["Body"].read() == data
    assert {name: found[name] for name in HEADERS} == HEADERS
    metadata = {name.lower(): value for name, value in found["Metadata"].items()}
    assert metadata["sample"] == "A 1"
    assert metadata.get("empty", "") == ""
    assert metadata["mtime"] == MTIME
    assert {name for name in metadata if metadata[name]} == {"sample", "mtime", "md5chksum"}
    assert proof.notes == ()


def test_metadata_that_is_not_ascii_is_read_and_sent_on_as_an_encoded_word(server, stores) -> None:
    source, destination, source_bucket, destination_bucket = stores
    bucket = ObstoreBucket(
        source_bucket,
        endpoint=server.endpoint_url,
        access_key_id=ACCESS_KEY,
        secret_access_key=SECRET_KEY,
        region=REGION,
        client_options={"allow_http": True},
    )
    obstore.put(bucket, "file", b"data", attributes={"place": "Zürich"}, use_multipart=False)
    copy(source, destination, "file", b"data", in_parts=False)
    found = server.client.head_object(Bucket=destination_bucket, Key="file")
    metadata = {name.lower(): value for name, value in found["Metadata"].items()}
    assert metadata["place"] == "=?UTF-8?B?WsO8cmljaA==?="
    copy(destination, destination, "file", b"data", in_parts=False)  # and stays unchanged
    found = server.client.head_object(Bucket=destination_bucket, Key="file")
    assert {name.lower(): value for name, value in found["Metadata"].items()} == metadata


def test_metadata_named_like_a_header_is_no_header(moto_s3) -> None:
    source_bucket, destination_bucket = moto_s3.new_bucket(), moto_s3.new_bucket()
    registry = registry_for(moto_s3)
    own = {"content-type": "of the user", "storage-class": "GLACIER", "expires": "never"}
    moto_s3.client.put_object(
        Bucket=source_bucket, Key="file", Body=b"data", ContentType="text/csv", Metadata=own
    )
    copy(
        registry.open(f"s3://{source_bucket}", "destination"),
        registry.open(f"s3://{destination_bucket}", "destination"),
        "file",
        b"data",
        in_parts=False,
    )
    found = moto_s3.client.head_object(Bucket=destination_bucket, Key="file")
    assert found["ContentType"] == "text/csv"
    assert found.get("StorageClass", "STANDARD") == "STANDARD"
    assert {name: found["Metadata"].get(name) for name in own} == own


@pytest.mark.parametrize(
    ("metadata", "headers", "lost"),
    [
        ({"a": "x" * 1900, "b": "y" * 200}, {}, "metadata b"),
        ({"a": "ä" * 900}, {}, "metadata a"),
        ({"a b": "1"}, {}, "metadata a b"),
        ({}, {"Content-Disposition": "attachment; filename=ä.csv"}, "Content-Disposition"),
    ],
    ids=["2 KB", "2 KB encoded", "a name that HTTP doesn't allow", "a header that isn't ASCII"],
)
def test_what_a_request_cannot_carry_is_a_note_and_the_object_goes_without_it(
    server, stores, metadata, headers, lost
) -> None:
    _, destination, _, bucket = stores
    attributes = Attributes(
        mtime_ns=1,
        md5=md5_of(b"data"),
        metadata=tuple(metadata.items()),
        headers=tuple(headers.items()),
    )
    proof = destination.write("file", [b"data"], attributes)
    assert proof.notes[-1].attribute in (lost, "metadata")  # rclone's server counts all headers
    found = server.client.head_object(Bucket=bucket, Key="file")["Metadata"]
    assert {name.lower() for name in found} >= {"mtime", "md5chksum"}
    assert sum(map(len, itertools.chain(*found.items()))) <= 2048


def test_metadata_that_a_server_finds_too_large_fail_no_upload_in_parts(rclone_s3) -> None:
    bucket, data = rclone_s3.new_bucket(), b"data"
    store = registry_for(rclone_s3).open(f"s3://{bucket}", "destination")
    attributes = Attributes(mtime_ns=1, md5=md5_of(data), metadata=(("a", "x" * 1850),))
    upload = store.begin("file", attributes)
    part = store.put_part(upload, 1, 0, data, md5_of(data))
    proof = store.complete(upload, [part], attributes)
    assert [note.attribute for note in proof.notes] == ["metadata"]
    assert rclone_s3.client.get_object(Bucket=bucket, Key="file")["Body"].read() == data


@pytest.mark.parametrize(
    ("mtime", "mtime_ns", "is_noted"),
    [
        ("9999999999.5", 2**63 - 1, True),
        ("-9999999999999999999999", -(2**63), True),
        ("9223372036.854775807", 2**63 - 1, False),
        ("9223372036.854775808", 2**63 - 1, True),
        ("1e10", 7, False),
        ("nan", 7, False),
        ("", 7, False),
        ("9" * 1000, 7, False),
        ("٣٣", 7, False),
    ],
)
def test_absurd_times_in_metadata_are_brought_within_64_bits_or_ignored(
    mtime: str, mtime_ns: int, is_noted: bool
) -> None:
    attributes = attributes_of({"mtime": mtime}, 7)
    assert attributes.mtime_ns == mtime_ns
    assert bool(attributes.notes) == is_noted


def test_how_a_body_was_sent_is_not_taken_for_the_contents_encoding() -> None:
    for told, kept in (
        ("aws-chunked", ()),
        ("gzip,aws-chunked", (("Content-Encoding", "gzip"),)),
        ("aws-chunked, gzip, br", (("Content-Encoding", "gzip, br"),)),
    ):
        attributes = attributes_of({"Content-Encoding": told}, 0)
        assert attributes.headers == kept
        assert told_of(attributes).headers == dict(kept)


@pytest.mark.parametrize(("told", "etag"), [('"abc"', "abc"), ("abc", "abc"), ('""', None)])
def test_an_etag_is_what_stands_between_the_quotes_and_an_empty_one_is_none(told, etag) -> None:
    assert etag_of(told) == etag
    assert etag_of(None) is None
