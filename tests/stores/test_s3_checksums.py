"""Objects whose ETags aren't MD5s are proven by the server's SHA-256, without being read.

The server is moto behind a proxy that hides ETags, as SSE-KMS does, and that checks and returns
SHA-256 as AWS does. It refuses every request that reads, as for credentials that may only write.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re

import pytest
from msgspec.structs import replace

from jobtool.errors import FileError, RefusedError
from jobtool.md5 import md5_of
from jobtool.stores.registry import StoreRegistry
from jobtool.stores.store import Attributes
from jobtool.transfer.partranges import MEBIBYTE
from tests.faults.proxy import Answer, Fault, encrypt, proxy_before
from tests.stores.raw import S3Raw

DATA = b"data"
PIECES = [b"a" * 5 * MEBIBYTE, b"b" * 5 * MEBIBYTE, b"c"]
FIELD = "x-amz-checksum-sha256"
DENIED = b"<Error><Code>AccessDenied</Code><Message>no reading here</Message></Error>"
UNKNOWN = b"<Error><Code>NotImplemented</Code><Message>what header?</Message></Error>"
BAD = b"<Error><Code>BadDigest</Code><Message>other bytes</Message></Error>"

CHANGED = b"<Error><Code>PreconditionFailed</Code><Message>another object</Message></Error>"


def base64_sha256(data):
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


class Checking:
    """The faults of a server that proves by SHA-256. ``reads`` counts refused requests."""

    def __init__(self, *, returns=True, tells_kms=True):
        self.returns, self.tells_kms = returns, tells_kms
        self.sent = []
        self.etag = None  # of the object or part written last
        self.reads = 0
        self.faults = [
            Fault(lambda request: request.is_put or request.is_part, self.store, 10**9),
            Fault(lambda request: request.is_complete, self.complete, 10**9),
            Fault(lambda request: "uploads" in request.query, self.begin, 10**9),
            Fault(lambda request: request.is_get or request.method == "HEAD", self.deny, 10**9),
        ]

    def store(self, request, forward):
        told = request.headers.get(FIELD)
        self.sent.append(told)
        if told is not None and told != base64_sha256(request.body):
            return Answer(400, [], BAD)
        md5 = base64.b64encode(hashlib.md5(request.body).digest()).decode()
        if request.headers.get("content-md5", md5) != md5:
            return Answer(400, [], BAD)
        condition = request.headers.pop("if-match", None)  # moto knows other ETags
        if condition not in (None, self.etag):
            return Answer(412, [], CHANGED)
        answer = encrypt(request, forward)
        self.etag = next(value for name, value in answer.headers if name.lower() == "etag")
        if told is not None and self.returns:
            answer.headers.append((FIELD, told))
        return answer

    def complete(self, request, forward):
        # The server has the ETags that it gave, not those that the proxy made of them.
        told = re.findall(rb"<ChecksumSHA256>(.*?)</ChecksumSHA256>", request.body)
        self.completed = [checksum.decode() for checksum in told]
        answer = forward(request)
        if told and self.returns and answer.status == 200:
            joined = b"".join(map(base64.b64decode, told))
            checksum = f"<ChecksumSHA256>{base64_sha256(joined)}-{len(told)}</ChecksumSHA256>"
            body = re.sub(rb"(<ETag>)(.*?)(</ETag>)", rb"\1opaque\3", answer.body)
            body = body.replace(b"<ETag>", checksum.encode() + b"<ETag>")
            return Answer(answer.status, answer.headers, body)
        return answer

    def begin(self, request, forward):
        answer = forward(request)
        if self.tells_kms and request.method == "POST":
            answer.headers.append(("x-amz-server-side-encryption", "aws:kms"))
        return answer

    def deny(self, request, forward):
        self.reads += 1
        return Answer(403, [("Content-Type", "application/xml")], DENIED)


@contextlib.contextmanager
def behind(server, monkeypatch, checking, **table):
    """Yield a store whose requests pass the proxy, and raw access to its bucket."""
    with proxy_before(server.endpoint_url, *checking.faults) as proxy:
        checking.proxy = proxy
        for name, value in (server.environment | {"AWS_ENDPOINT_URL": proxy.endpoint_url}).items():
            monkeypatch.setenv(name, value)
        bucket = server.new_bucket()
        store = StoreRegistry({"s3": table}).open(f"s3://{bucket}", "destination")
        yield store, S3Raw(server.client, bucket)


def put(store, path="file", data=DATA, **more):
    return store.write(path, [data], Attributes(mtime_ns=1, md5=md5_of(data), **more))


def put_part(store, upload, number):
    piece = PIECES[number - 1]
    return store.put_part(upload, number, (number - 1) * len(PIECES[0]), piece, md5_of(piece))


WHOLE = Attributes(mtime_ns=1, md5=md5_of(b"".join(PIECES)))
KMS = {"server_side_encryption": "aws:kms"}


@pytest.mark.parametrize("may_replace", [True, False], ids=["replaces", "creates"])
def test_a_default_of_the_bucket_is_noticed_at_the_first_object_and_not_asked_again(
    moto_s3, monkeypatch, may_replace
):
    checking = Checking()
    with behind(moto_s3, monkeypatch, checking) as (store, raw):
        proofs = [put(store, f"file{n}", may_replace=may_replace) for n in range(3)]
        assert {proof.verified_by for proof in proofs} == {"stored-sha256"}
        assert {proof.md5 for proof in proofs} == {md5_of(DATA)}
        assert raw.read("file0") == DATA
    assert checking.sent == [None, *[base64_sha256(DATA)] * 3]
    assert checking.reads == 0


@pytest.mark.parametrize("is_by_kms", [True, False], ids=["KMS", "MD5"])
def test_on_aws_no_object_is_sent_twice(moto_s3, monkeypatch, is_by_kms):
    checking = Checking()
    if not is_by_kms:
        checking.faults[0].happen = record_checksum(checking)
    with behind(moto_s3, monkeypatch, checking) as (store, _):
        access = store._access
        access.connection = replace(access.connection, is_aws=True)
        proofs = [put(store, f"file{n}") for n in range(2)]
    proof = "stored-sha256" if is_by_kms else "etag-md5"
    assert {found.verified_by for found in proofs} == {proof}
    told = base64_sha256(DATA)
    assert checking.sent == ([told, told] if is_by_kms else [told, None])


def record_checksum(checking):
    def store(request, forward):
        checking.sent.append(request.headers.get(FIELD))
        return forward(request)

    return store


def test_settings_that_hide_md5s_send_checksums_from_the_first_object_on(moto_s3, monkeypatch):
    checking = Checking()
    with behind(moto_s3, monkeypatch, checking, **KMS) as (store, _):
        assert put(store).verified_by == "stored-sha256"
    assert checking.sent == [base64_sha256(DATA)]


@pytest.mark.parametrize("table", [{}, KMS], ids=["default of the bucket", "setting"])
def test_parts_are_proven_by_their_checksums_also_by_another_process(moto_s3, monkeypatch, table):
    checking = Checking()
    # Parts' ETags are left alone: moto must find them again.
    checking.faults = [Fault(lambda request: request.is_complete, checking.complete, 10**9),
                       *checking.faults[2:]]  # fmt: skip
    with behind(moto_s3, monkeypatch, checking, **table) as (store, raw):
        upload = store.begin("file", WHOLE)
        parts = [put_part(store, upload, 2)]
        bucket = raw.bucket
        again = StoreRegistry({"s3": table}).open(f"s3://{bucket}", "destination")
        assert list(again.held_parts(upload, parts)) == parts
        parts = [put_part(again, upload, 1), *parts, put_part(again, upload, 3)]
        proof = again.complete(upload, parts, WHOLE)
        assert (proof.verified_by, proof.md5) == ("stored-sha256", WHOLE.md5)
        assert raw.read("file") == b"".join(PIECES)
        assert "Uploads" not in raw.client.list_multipart_uploads(Bucket=bucket)
    assert checking.completed == [base64_sha256(piece) for piece in PIECES]
    assert checking.reads == 0


def test_a_part_whose_checksum_is_another_is_not_held(moto_s3, monkeypatch):
    checking = Checking()
    checking.faults = checking.faults[2:]
    with behind(moto_s3, monkeypatch, checking, **KMS) as (store, _):
        upload = store.begin("file", WHOLE)
        part = put_part(store, upload, 1)
        other = store.put_part(upload, 2, len(PIECES[0]), PIECES[0], md5_of(PIECES[0]))
        assert list(store.held_parts(upload, [part, other])) == [part, other]
        wrong = f"<ChecksumSHA256>{base64_sha256(b'other')}</ChecksumSHA256><ETag>".encode()

        def tell_wrong(request, forward):
            answer = forward(request)
            body = answer.body.replace(b"<ETag>", wrong, 1)  # of the first part
            return Answer(answer.status, answer.headers, body)

        checking.proxy.faults.insert(0, Fault(lambda request: True, tell_wrong, 1))
        assert list(store.held_parts(upload, [part, other])) == [other]


def test_a_server_without_checksums_is_read_back_and_not_asked_for_more(moto_s3, monkeypatch):
    checking = Checking(returns=False)
    checking.faults.pop()  # it may read
    with behind(moto_s3, monkeypatch, checking) as (store, _):
        assert [put(store, f"file{n}").verified_by for n in range(3)] == ["read-back"] * 3
    assert checking.sent == [None, base64_sha256(DATA), None, None]


@pytest.mark.parametrize("table", [{}, KMS], ids=["default of the bucket", "setting"])
def test_a_server_that_refuses_checksums_is_read_back(moto_s3, monkeypatch, table):
    checking = Checking()
    checking.faults.pop()

    def refuse(request, forward):
        return Answer(501, [("Content-Type", "application/xml")], UNKNOWN)

    def has_checksum(request):
        return any("checksum" in name for name in request.headers)

    refusals = Fault(has_checksum, refuse, 10**9)
    hides = Fault(lambda request: request.is_put, checking.store, 10**9)
    checking.faults = [refusals, hides, checking.faults[2]]  # moto must find its parts again
    with behind(moto_s3, monkeypatch, checking, **table) as (store, raw):
        proofs = [put(store, f"file{n}").verified_by for n in range(2)]
        assert proofs == ["read-back"] * 2
        upload = store.begin("parts", WHOLE)
        parts = [put_part(store, upload, number) for number in (1, 2, 3)]
        assert store.complete(upload, parts, WHOLE).md5 == WHOLE.md5
        assert raw.paths() == {"file0", "file1", "parts"}
    assert refusals.hits > 0


def test_an_upload_that_may_not_be_aborted_is_no_reason_to_fail(moto_s3, monkeypatch):
    checking = Checking()
    forbidden = Fault(lambda request: request.method == "DELETE", checking.deny, 10**9)
    checking.faults = [forbidden, *checking.faults[2:]]
    with behind(moto_s3, monkeypatch, checking) as (store, _):
        upload = store.begin("file", WHOLE)
        assert put_part(store, upload, 1).md5 == md5_of(PIECES[0])
    assert forbidden.hits == 1


def test_bytes_that_changed_in_memory_are_never_proven_by_their_checksum(moto_s3, monkeypatch):
    for table in ({}, KMS):
        checking = Checking()
        checking.faults.pop()
        with behind(moto_s3, monkeypatch, checking, **table) as (store, raw):
            attributes = Attributes(mtime_ns=1, md5=md5_of(b"as read"))
            with pytest.raises(FileError, match=r"BadDigest|expected MD5"):
                store.write("file", [b"as sent"], attributes)
            assert raw.paths() == set()


def test_with_read_back_no_checksum_is_a_proof(moto_s3, monkeypatch):
    checking = Checking()
    with behind(moto_s3, monkeypatch, checking, **KMS) as (store, _):
        strict = StoreRegistry({"s3": KMS}, read_back=True).open(store.url, "destination")
        with pytest.raises(RefusedError):
            put(strict)
    assert checking.reads > 0
