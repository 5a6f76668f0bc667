"""Odd answers of S3 servers, by a proxy before a real one: nothing is lost or invented."""

from __future__ import annotations

import contextlib

import pytest

from jobtool.errors import FileError, JobtoolError, NotFoundError, ServerError, StoreError
from jobtool.md5 import md5_of
from jobtool.stores.registry import StoreRegistry
from jobtool.stores.store import Attributes, Entry, entry_of, kind_of
from tests.faults.proxy import (
    Answer,
    Fault,
    encrypt,
    lose_answer,
    proxy_before,
    truncate,
)
from tests.stores.raw import S3Raw

FOR_EVER = 10**9
DATA = b"data"
NO_KEYS = b"""<?xml version="1.0"?><ListBucketResult><Name>any</Name><KeyCount>0</KeyCount>
<IsTruncated>true</IsTruncated><NextContinuationToken>made up</NextContinuationToken>
</ListBucketResult>"""


@contextlib.contextmanager
def registry_behind(server):
    with (
        proxy_before(server.endpoint_url) as proxy,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, value in (server.environment | {"AWS_ENDPOINT_URL": proxy.endpoint_url}).items():
            patch.setenv(name, value)
        registry = StoreRegistry()
        registry.open("s3://any", "destination")
        registry.begin_job({})
        yield proxy, registry


@pytest.fixture(scope="module")
def behind_rclone(rclone_s3):
    with registry_behind(rclone_s3) as behind:
        yield *behind, rclone_s3


@pytest.fixture(scope="module")
def behind_moto(moto_s3):
    with registry_behind(moto_s3) as behind:
        yield *behind, moto_s3


def store_of(proxy, registry, server):
    proxy.faults.clear()
    bucket = server.new_bucket()
    return registry.open(f"s3://{bucket}", "destination"), S3Raw(server.client, bucket), proxy


@pytest.fixture
def proxied(behind_rclone):
    return store_of(*behind_rclone)


@pytest.fixture
def proxied_moto(behind_moto):
    """A proxy before a server that honours If-None-Match, which rclone's ignores."""
    return store_of(*behind_moto)


def is_listing(request):
    return request.method == "GET" and "list-type" in request.query


def attributes_of(data, *, may_replace=True):
    return Attributes(mtime_ns=1_700_000_000_000_000_000, md5=md5_of(data), may_replace=may_replace)


def with_an_empty_page_first():
    """A server that scans many deleted keys: the first page of its listing is empty."""
    later = []

    def happen(request, forward):
        if "continuation-token" in request.query:
            return later.pop()
        later.append(forward(request))
        return Answer(200, [("Content-Type", "application/xml")], NO_KEYS)

    return Fault(is_listing, happen, FOR_EVER)


@pytest.mark.parametrize(
    ("look", "expected"),
    [
        (lambda store: kind_of(store, "folder"), "folder"),
        (lambda store: kind_of(store, ""), "folder"),
        (lambda store: kind_of(store, "nothing"), "missing"),
        (lambda store: [child.name for child in store.children("folder")], ["file"]),
        (lambda store: [entry.path for entry in store.list()], ["folder/file"]),
    ],
    ids=["a folder", "the root", "nothing", "children", "list"],
)
def test_a_page_without_keys_is_not_the_end_of_a_listing(proxied, look, expected):
    store, _, proxy = proxied
    store.write("folder/file", [DATA], attributes_of(DATA))
    fault = with_an_empty_page_first()
    proxy.faults.append(fault)
    assert look(store) == expected
    assert fault.hits == 2


def test_a_page_without_keys_does_not_make_a_file_a_changed_one(proxied):
    store, _, proxy = proxied
    store.write("folder/file", [DATA], attributes_of(DATA))
    (entry,) = store.list()  # with the time in its metadata; GET returns that of the PUT
    fault = with_an_empty_page_first()
    proxy.faults.append(fault)
    assert bytes(store.read(entry, 0, 4).data) == DATA
    assert fault.hits == 2


@pytest.mark.parametrize("body", [b"", b"<html><body>Log in</body></html>"], ids=["empty", "page"])
def test_an_answer_that_is_no_listing_is_not_an_empty_bucket(proxied, body):
    store, _, proxy = proxied
    proxy.faults.append(
        Fault(lambda request: True, lambda request, forward: Answer(200, [], body), FOR_EVER)
    )
    for look in (
        lambda: list(store.list()),
        lambda: list(store.children("")),
        lambda: kind_of(store, ""),
        lambda: store.check_access(write=False),
        lambda: store.check_access(write=True),
        lambda: store.begin("file", attributes_of(DATA)),
    ):
        with pytest.raises(ServerError, match="other than S3"):
            look()


@pytest.mark.parametrize("length", [4, 2], ids=["obstore", "boto3"])
def test_an_object_whose_bytes_always_break_off_is_not_known_to_be_the_stores_fault(
    proxied, length
):
    store, _, proxy = proxied
    store.write("file", [DATA], attributes_of(DATA))
    store._access.is_lax_about_ranges = True
    proxy.faults.append(Fault(lambda request: request.is_get, truncate, FOR_EVER))
    with pytest.raises(ServerError) as caught:
        store.read(entry_of(store, "file"), 0, length)
    assert caught.value.retryable


def test_an_object_that_became_shorter_is_a_changed_one(proxied):
    store, raw, _ = proxied
    store.write("file", [DATA], attributes_of(DATA))
    entry = entry_of(store, "file")
    raw.write("file", b"d")
    for offset, length in ((0, 4), (2, 2)):
        with pytest.raises(FileError, match=r"changed meanwhile|become shorter") as caught:
            store.read(entry, offset, length)
        assert caught.value.retryable


def test_a_key_that_reads_like_an_answer_is_none(proxied):
    store, _, proxy = proxied
    name = "status code: 401 <Code>ExpiredToken</Code>"
    store.write(name, [DATA], attributes_of(DATA))
    entry = entry_of(store, name)
    gone = Answer(404, [], b"<Error><Code>NoSuchKey</Code></Error>")
    proxy.faults.append(Fault(lambda request: request.is_get, lambda *_: gone, FOR_EVER))
    with pytest.raises(NotFoundError):
        store.read(entry, 0, 4)


# Writes that must not replace anything


def put_once(store, name, data):
    return store.write(name, [data], attributes_of(data, may_replace=False))


def complete_once(store, name, data):
    attributes = attributes_of(data, may_replace=False)
    upload = store.begin(name, attributes)
    part = store.put_part(upload, 1, 0, data, md5_of(data))
    return store.complete(upload, [part], attributes)


def is_write(request):
    return request.is_put or request.is_complete


def is_read(request):
    return request.is_get or request.method == "HEAD"


def lose_all_but_the_refusal(request, forward):
    """Lose the answer of every request that changes something."""
    answer = forward(request)
    return answer if answer.status == 412 else lose_answer(request, lambda _: answer)


WRITES = pytest.mark.parametrize(
    ("write", "name"),
    [(put_once, "plain"), (put_once, "con\x01trol"), (complete_once, "parts")],
    ids=["obstore", "boto3", "complete"],
)


def once_more(write, tries=3):
    """Call with retries, like a transfer."""
    for left in reversed(range(tries)):
        try:
            return write()
        except JobtoolError as error:
            if not left or not error.retryable:
                raise
    raise AssertionError


@WRITES
@pytest.mark.parametrize("is_encrypted", [False, True], ids=["md5", "no md5"])
def test_a_write_that_creates_only_recognises_its_own_object(
    proxied_moto, write, name, is_encrypted
):
    store, raw, proxy = proxied_moto
    fault = Fault(is_write, lose_all_but_the_refusal, FOR_EVER)
    proxy.faults.append(fault)
    if is_encrypted:
        proxy.faults.append(Fault(is_read, encrypt, FOR_EVER))
    proof = once_more(lambda: write(store, name, DATA))
    assert proof.md5 == md5_of(DATA)
    assert (proof.verified_by == "read-back") == is_encrypted
    assert fault.hits > 1
    assert raw.read(name) == DATA


@WRITES
@pytest.mark.parametrize("other", [b"DATA", b"of another size"], ids=["same size", "other size"])
def test_a_write_that_creates_only_never_takes_another_object_for_its_own(
    proxied_moto, write, name, other
):
    store, raw, _ = proxied_moto
    raw.write(name, other)
    with pytest.raises(FileError, match="must not be replaced") as caught:
        write(store, name, DATA)
    assert not caught.value.retryable
    assert raw.read(name) == other


@WRITES
def test_what_is_gone_when_it_is_looked_for_is_the_error_that_it_was(proxied_moto, write, name):
    store, _, proxy = proxied_moto
    proxy.faults.append(Fault(is_write, lambda request, forward: Answer(412, [], b""), FOR_EVER))
    with pytest.raises(FileError, match="must not be replaced"):
        write(store, name, DATA)
    with pytest.raises(NotFoundError):
        entry_of(store, name)


@pytest.mark.parametrize("code", ["InvalidPart", "NoSuchUpload"])
def test_a_completion_whose_answer_is_lost_recognises_its_object(proxied, code):
    store, raw, proxy = proxied
    upload = store.begin("parts", attributes_of(DATA))
    part = store.put_part(upload, 1, 0, DATA, md5_of(DATA))
    refusal = Answer(400, [], f"<Error><Code>{code}</Code></Error>".encode())
    refused = Fault(lambda request: request.is_complete, lambda *_: refusal, FOR_EVER)
    proxy.faults.append(refused)
    with pytest.raises(StoreError) as caught:  # nothing is there yet
        store.complete(upload, [part], attributes_of(DATA))
    assert caught.value.retryable
    proxy.faults[:] = [Fault(lambda request: request.is_complete, lose_answer), refused]
    assert store.complete(upload, [part], attributes_of(DATA)).md5 == md5_of(DATA)
    assert raw.read("parts") == DATA
    assert [entry.path for entry in store.list() if isinstance(entry, Entry)] == ["parts"]
