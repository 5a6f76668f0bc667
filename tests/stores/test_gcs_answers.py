"""What is special about Google Cloud Storage: proofs, parts, logins, errors and their scopes."""

from __future__ import annotations

import contextlib
import gzip
import http.server
import itertools
import json
import threading
import time

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from msgspec.structs import replace

from jobtool.errors import (
    CredentialsError,
    DigestMismatchError,
    FileError,
    JobtoolError,
    NotFoundError,
    RefusedError,
    ServerError,
    SourceChangedError,
    SourceError,
    StoreError,
    StoreSettingsError,
    StoreUnavailableError,
    UnreachableError,
)
from jobtool.stores.credentials.provider import ProviderError
from jobtool.stores.registry import StoreRegistry
from jobtool.stores.store import Attributes, Entry, Special, entry_of, kind_of
from jobtool.testing.store_suite.common import (
    MTIME_NS,
    PART_BYTES,
    md5_of,
    pieces_of,
    send,
    write,
    write_in_parts,
)
from tests.commands import unused_port
from tests.faults.proxy import Answer, Fault, lose_answer, proxy_before, truncate
from tests.stores.raw import GcsRaw

DATA = b"data"
WHOLE = Attributes(mtime_ns=MTIME_NS, md5=md5_of(DATA))


@pytest.fixture
def bucket(gcs):
    return gcs.new_bucket()


@pytest.fixture
def raw(gcs, bucket):
    return GcsRaw(gcs.client, bucket)


def store_at(url, bucket, *, owner="us", read_back=False, **settings):
    """Return a store with its own client, without a login unless ``settings`` say so."""
    table = {"endpoint_url": url, "anonymous": True, **settings}
    registry = StoreRegistry({"gs": table}, read_back=read_back)
    return registry.open(f"gs://{bucket}", "destination", owner=owner)


@pytest.fixture
def store(gcs, bucket):
    return store_at(gcs.url, bucket)


@pytest.fixture
def behind(gcs, bucket):
    """Return a store behind a proxy, and the proxy."""
    with proxy_before(gcs.url) as proxy:
        yield store_at(proxy.endpoint_url, bucket), proxy


def is_upload(request):
    return request.path.startswith("/upload/")


def is_compose(request):
    return request.path.endswith("/compose")


def is_get(request):
    return request.method == "GET" and not request.path.startswith("/storage/")


def is_of_object(request):
    return request.method == "GET" and request.path.startswith("/storage/") and not request.body


def changed(change):
    """Return a fault that changes the document of an answer."""

    def happen(request, forward):
        answer = forward(request)
        found = json.loads(answer.body)
        change(found)
        return Answer(answer.status, answer.headers, json.dumps(found).encode())

    return happen


# Proofs


def test_a_small_file_is_one_request_and_proven_by_the_md5_of_the_service(behind, raw):
    store, proxy = behind
    proof = write(store, "file", DATA)
    assert proxy.requests == 1
    assert (proof.md5, proof.verified_by) == (md5_of(DATA), "stored-md5")
    blob = raw.bucket.get_blob("file")
    assert blob.metadata == {"mtime": "2023-11-14T22:13:20.123456000Z"}
    assert str(blob.generation) == proof.etag


def test_a_file_in_parts_is_proven_by_its_crc32c_and_has_the_md5_of_the_whole(behind, raw):
    store, proxy = behind
    pieces = pieces_of(PART_BYTES, 456)
    proof = write_in_parts(store, "folder/file", pieces)
    whole = md5_of(b"".join(pieces))
    assert (proof.md5, proof.verified_by) == (whole, "stored-crc32c")
    entry = entry_of(store, "folder/file")
    # The service has no MD5 of a composed object, and this server has.
    proxy.faults += [
        Fault(is_get, without_md5),
        Fault(is_of_object, changed(lambda found: found.pop("md5Hash")), times=2),
    ]
    attributes = store.read(entry, 0, 10).attributes
    assert (attributes.md5, attributes.mtime_ns) == (whole, MTIME_NS)
    assert store.prove("folder/file", whole, "").verified_by == "read-back"
    assert raw.paths() == {"folder/file"}


def without_md5(request, forward):
    answer = forward(request)
    headers = [
        (name, value.partition(",")[0] if name.lower() == "x-goog-hash" else value)
        for name, value in answer.headers
    ]
    return Answer(answer.status, headers, answer.body)


def test_more_parts_than_one_request_composes_are_composed_in_steps(behind, raw):
    store, proxy = behind
    pieces, steps = pieces_of(*[10] * 70), itertools.count(1)
    upload, parts = send(store, "file", pieces)
    failed = json_answer(500, "internalError")
    proxy.faults.append(
        Fault(lambda asked: is_compose(asked) and next(steps) == 2, lambda *_: failed)
    )
    with pytest.raises(ServerError):
        store.complete(upload, parts, upload.attributes)
    assert store.held_parts(upload, parts) == parts
    assert store.complete(upload, parts, upload.attributes).verified_by == "stored-crc32c"
    assert raw.read("file") == b"".join(pieces)
    assert raw.paths() == {"file"}


def test_with_read_back_every_file_is_read(gcs, bucket):
    store = store_at(gcs.url, bucket, read_back=True)
    assert write(store, "small", DATA).verified_by == "read-back"
    assert write_in_parts(store, "large", [DATA]).verified_by == "read-back"
    assert store.prove("small", md5_of(DATA), "").verified_by == "read-back"


@pytest.mark.parametrize("is_known", [True, False])
def test_bytes_that_change_on_the_way_are_noticed(behind, raw, is_known):
    """By what the service answers. This server stores them, where Google's refuses them."""
    store, proxy = behind
    proxy.faults.append(Fault(is_upload, flip_data))
    with pytest.raises(DigestMismatchError, match="file"):
        store.write("file", [DATA], Attributes(mtime_ns=0, md5=md5_of(DATA) if is_known else None))
    proxy.faults.append(Fault(is_upload, flip_data))
    with pytest.raises(DigestMismatchError, match=r"part 1.*file"):
        send(store, "file", [DATA])
    assert raw.paths() == set()


def test_bytes_that_the_service_refuses_are_told(behind):
    store, proxy = behind
    refused = json_answer(400, "invalid", 'Provided MD5 hash "a" doesn\'t match calculated "b".')
    proxy.faults.append(Fault(is_upload, lambda *_: refused, times=2))
    with pytest.raises(DigestMismatchError, match="other bytes"):
        write(store, "file", DATA)
    with pytest.raises(DigestMismatchError, match=r"part 1.*different bytes"):
        send(store, "file", [DATA])


def test_every_object_is_sent_with_its_md5(behind):
    store, proxy = behind
    sent = []
    proxy.faults.append(Fault(lambda request: is_upload(request) and sent.append(request), None))
    write(store, "file", DATA)
    write_in_parts(store, "large", [DATA])
    assert all(b'"md5Hash": "jXd/OF09/siBXSD3SWAm3A=="' in each.body for each in sent)
    assert len(sent) == 2


def flip_data(request, forward):
    body = request.body.replace(b"\r\n\r\ndata", b"\r\n\r\ndbta")
    assert body != request.body
    return forward(type(request)(**{**_fields(request), "body": body}))


def _fields(request):
    return {name: getattr(request, name) for name in ("method", "path", "query", "headers")}


def test_what_the_service_says_of_other_bytes_is_no_proof(behind, raw):
    store, proxy = behind
    other = {"md5Hash": "XUFAKrxLKna5cZ2REBfFkg==", "crc32c": "AAAAAA=="}
    proxy.faults.append(Fault(is_upload, changed(lambda found: found.update(other))))
    with pytest.raises(DigestMismatchError, match="file"):
        write(store, "file", DATA)
    proxy.faults.append(Fault(is_compose, changed(lambda found: found.update(other))))
    with pytest.raises(DigestMismatchError, match="AAAAAA=="):
        write_in_parts(store, "large", [DATA])
    assert "large" not in raw.paths()
    assert "file" not in raw.paths()


def test_a_service_that_answers_without_digests_is_read_back(behind):
    store, proxy = behind
    proxy.faults.append(Fault(is_upload, changed(lambda found: found.pop("md5Hash"))))
    assert write(store, "file", DATA).verified_by == "read-back"
    proxy.faults.append(Fault(is_compose, changed(lambda found: found.pop("crc32c"))))
    assert write_in_parts(store, "large", [DATA]).verified_by == "read-back"


# Uploads


def test_an_upload_is_taken_up_by_another_client(gcs, bucket, store, raw):
    pieces = pieces_of(PART_BYTES, 7)
    upload = store.begin("file", WHOLE)
    first = store.put_part(upload, 1, 0, pieces[0], md5_of(pieces[0]))
    other = store_at(gcs.url, bucket)
    assert other.held_parts(upload, [first]) == [first]
    last = other.put_part(upload, 2, PART_BYTES, pieces[1], md5_of(pieces[1]))
    whole = Attributes(mtime_ns=0, md5=md5_of(b"".join(pieces)))
    assert other.complete(upload, [first, last], whole).verified_by == "stored-crc32c"
    assert raw.read("file") == b"".join(pieces)


def test_a_token_of_another_folder_or_owner_is_refused(gcs, bucket, store, raw):
    theirs, parts = send(store_at(gcs.url, bucket, owner="them"), "folder/file", [DATA])
    raw.write("data/file", DATA)
    for token in (theirs.token, "data", "folder/../data"):
        upload = type(theirs)(path="folder/file", token=token, attributes=WHOLE)
        with pytest.raises(NotFoundError):
            store.held_parts(upload, parts)
        with pytest.raises(FileError):
            store.put_part(upload, 1, 0, DATA, md5_of(DATA))
        store.abort(upload)
    assert raw.paths() == {"data/file", f"{theirs.token}/00001"}


def test_a_lost_answer_to_a_composition_is_no_harm(behind, raw):
    store, proxy = behind
    upload, parts = send(store, "file", [DATA])
    proxy.faults.append(Fault(is_compose, lose_answer))
    with pytest.raises(UnreachableError):
        store.complete(upload, parts, WHOLE)
    assert store.complete(upload, parts, WHOLE).verified_by == "stored-crc32c"
    assert raw.read("file") == DATA
    assert raw.paths() == {"file"}


def test_parts_that_cannot_be_removed_fail_no_file(behind, raw):
    store, proxy = behind
    upload, parts = send(store, "file", [DATA])
    held = json_answer(403, "retentionPolicyNotMet")
    proxy.faults.append(Fault(lambda request: request.method == "DELETE", lambda *_: held, times=2))
    assert store.complete(upload, parts, WHOLE).verified_by == "stored-crc32c"
    assert raw.paths() == {"file", f"{upload.token}/00001"}
    with pytest.raises(FileError, match="retention policy"):
        store.abort(upload)


def test_parts_that_are_gone_are_told(store, raw):
    upload, parts = send(store, "file", [DATA, DATA])
    raw.blob(f"{upload.token}/00001").delete()
    assert store.held_parts(upload, parts) == parts[1:]
    with pytest.raises(StoreError, match="file"):
        store.complete(upload, parts, upload.attributes)
    assert "file" not in raw.paths()


def test_a_long_stream_goes_in_parts(store, raw):
    pieces = pieces_of(9_000_000, 9_000_000, 5)
    proof = store.write("file", iter(pieces), Attributes(mtime_ns=0))
    assert (proof.md5, proof.verified_by) == (md5_of(b"".join(pieces)), "stored-crc32c")
    assert raw.paths() == {"file"}

    def chunks():
        yield from pieces
        raise SourceChangedError("changed")

    with pytest.raises(SourceChangedError):
        store.write("other", chunks(), Attributes(mtime_ns=0))
    assert raw.paths() == {"file"}


# Conditions


def put(store, data, attributes, in_parts):
    if not in_parts:
        return store.write("file", [data], attributes)
    upload = store.begin("file", attributes)
    part = store.put_part(upload, 1, 0, data, md5_of(data))
    return store.complete(upload, [part], attributes)


def refuse_to_replace(proxy):
    """Make compositions as conditional as they are at the service. This server ignores that."""

    def is_conditional(request):
        return is_compose(request) and request.query.get("ifGenerationMatch") == ["0"]

    exists = json_answer(412, "conditionNotMet")
    proxy.faults.append(Fault(is_conditional, lambda *_: exists, times=9))


@pytest.mark.parametrize("in_parts", [False, True])
def test_what_must_not_be_replaced_is_kept_unless_it_is_the_same(behind, raw, in_parts):
    store, proxy = behind
    refuse_to_replace(proxy)
    raw.write("file", b"old")
    attributes = Attributes(mtime_ns=MTIME_NS, md5=md5_of(DATA), may_replace=False)
    with pytest.raises(FileError, match="must not be replaced") as raised:
        put(store, DATA, attributes, in_parts)
    assert not raised.value.retryable
    assert raw.read("file") == b"old"
    raw.write("file", DATA)
    assert put(store, DATA, attributes, in_parts).md5 == md5_of(DATA)


def test_a_read_is_one_request_pinned_to_the_listed_version(behind, raw):
    store, proxy = behind
    raw.write("file", b"12345", mtime_ns=MTIME_NS)
    entry = replace(entry_of(store, "file"), etag=None)  # plans keep no ETags
    before = proxy.requests
    content = store.read(entry, 1, 3)
    assert (content.data, content.attributes.mtime_ns) == (b"234", MTIME_NS)
    assert content.attributes.md5 == md5_of(b"12345")
    assert proxy.requests - before == 1
    raw.write("file", b"54321", mtime_ns=MTIME_NS)
    for length in (5, 0):
        with pytest.raises(SourceChangedError, match="file"):
            store.read(entry, 0, length)


def test_generations_need_not_be_times(behind, raw):
    """Then a read takes two more requests if only the time is known."""
    store, proxy = behind
    raw.write("file", b"12345")
    number = str(raw.bucket.get_blob("file").generation)

    def renumber(request, forward):
        answer = forward(request)
        headers = [(name, value.replace(number, "7")) for name, value in answer.headers]
        return Answer(answer.status, headers, answer.body.replace(number.encode(), b"7"))

    proxy.faults.append(Fault(lambda request: True, renumber, times=99))
    (entry,) = store.list()
    assert (entry.etag, entry.mtime_ns // 10**12) == ("7", int(number) // 10**9)
    for listed, requests in ((entry, 1), (replace(entry, etag=None), 3)):
        before = proxy.requests
        assert store.read(listed, 1, 3).data == b"234"
        assert proxy.requests - before == requests


# Folders, names and attributes


def test_markers_of_folders_are_folders_and_no_files(store, raw):
    for path in ("full", "empty", "full/inner"):
        raw.make_special(Special(path, "empty-folder"))
    raw.write("full/file", b"1")
    raw.write("empty-not", b"1")
    assert [(type(found).__name__, found.path) for found in store.list()] == [
        ("Entry", "empty-not"),
        ("Special", "empty"),
        ("Entry", "full/file"),
        ("Special", "full/inner"),
    ]
    assert [kind_of(store, path) for path in ("full", "empty", "full/inner")] == ["folder"] * 3
    assert [(child.name, child.is_folder) for child in store.children("")] == [
        ("empty", True),
        ("empty-not", False),
        ("full", True),
    ]
    assert list(store.children("empty")) == []


def test_objects_whose_names_are_no_paths_are_told(store, raw):
    raw.write("a//b", b"1")
    raw.write("c", b"1")
    found = list(store.list())
    assert [entry.path for entry in found] == ["a//b", "c"]
    assert isinstance(found[0].error, SourceError)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("ü" * 513, "1026 bytes"),
        ("a\nb", "line break"),
        (".well-known/acme-challenge/x", "acme-challenge"),
        ("\udcff", "UTF-8"),
    ],
)
def test_names_that_the_service_cannot_hold_are_refused(store, raw, path, said):
    with pytest.raises(FileError, match=said):
        write(store, path, DATA)
    with pytest.raises(FileError, match=said):
        store.begin(path, WHOLE)
    assert raw.paths() == set()


def test_headers_and_the_users_metadata_are_kept_and_what_cannot_be_is_noted(store):
    attributes = Attributes(
        mtime_ns=MTIME_NS,
        md5=md5_of(DATA),
        headers=(("Content-Type", "text/csv"), ("Cache-Control", "no-store"), ("Expires", "0")),
        metadata=(("Stain", "DAPI"), ("umlaut", "ü"), ("has space", "1"), ("big", "x" * 9000)),
    )
    for in_parts in (False, True):
        proof = put(store, DATA, attributes, in_parts)
        lost = {"Expires", "metadata has space", "metadata big"}
        assert {note.attribute for note in proof.notes} == lost
        found = store.read(entry_of(store, "file"), 0, 4).attributes
        assert dict(found.headers) == dict(attributes.headers[:2])
        assert found.metadata == (("Stain", "DAPI"), ("umlaut", "ü"))
        assert (found.mtime_ns, found.md5) == (MTIME_NS, md5_of(DATA))


def test_a_packed_object_is_read_as_it_is_stored(store, raw):
    packed = gzip.compress(DATA * 100)
    blob = raw.blob("file")
    blob.content_encoding = "gzip"
    blob.upload_from_string(packed)
    entry = entry_of(store, "file")
    content = store.read(entry, 0, entry.size)
    assert bytes(content.data) == packed
    assert dict(content.attributes.headers)["Content-Encoding"] == "gzip"


@pytest.mark.parametrize("in_parts", [False, True])
def test_objects_and_their_parts_get_the_storage_class(gcs, bucket, raw, in_parts):
    sent = []
    with proxy_before(gcs.url) as proxy:
        proxy.faults.append(
            Fault(lambda request: request.method == "POST" and sent.append(request.body), None)
        )
        store = store_at(proxy.endpoint_url, bucket, storage_class="NEARLINE")
        put(store, DATA, WHOLE, in_parts)
    # This server keeps the class of what is uploaded, not that of what is composed.
    assert raw.bucket.get_blob("file").storage_class == ("STANDARD" if in_parts else "NEARLINE")
    assert all(b'"storageClass": "NEARLINE"' in body for body in sent)
    assert len(sent) == 1 + in_parts


def test_times_of_other_programs_are_read(store, raw):
    blob = raw.blob("file")
    blob.metadata = {"goog-reserved-file-mtime": "1700000000"}
    blob.upload_from_string(DATA)
    found = store.read(entry_of(store, "file"), 0, 4).attributes
    assert (found.mtime_ns, found.metadata) == (1_700_000_000_000_000_000, ())
    blob.metadata = {"mtime": "yesterday"}
    blob.upload_from_string(DATA)
    entry = entry_of(store, "file")
    assert store.read(entry, 0, 4).attributes.mtime_ns == entry.mtime_ns


# Errors and their scopes


def attempts(store):
    entry = Entry("file", 4, MTIME_NS, "123")
    return {
        "write": lambda: write(store, "file", DATA),
        "parts": lambda: send(store, "file", [DATA]),
        "stat": lambda: store.stat("file"),
        "read": lambda: store.read(entry, 0, 4),
        "list": lambda: list(store.list()),
        "children": lambda: list(store.children("")),
        "delete": lambda: store.delete("file"),
        "may write": lambda: store.check_access(write=True),
        "may read": lambda: store.check_access(write=False),
    }


ATTEMPTS = list(attempts(None))


def error_of(store, attempt):
    with pytest.raises(JobtoolError) as raised:
        attempts(store)[attempt]()
    assert "\n" not in str(raised.value)
    return raised.value


@pytest.mark.parametrize("attempt", ["stat", "list", "children", "may read"])
def test_a_missing_bucket_is_about_all_files(gcs, attempt):
    error = error_of(store_at(gcs.url, "not-there"), attempt)
    assert type(error) is StoreUnavailableError
    assert "there is no bucket not-there" in str(error)


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_a_port_without_a_server_may_come_back(bucket, attempt):
    error = error_of(store_at(f"http://127.0.0.1:{unused_port()}", bucket), attempt)
    assert type(error) is UnreachableError
    assert "Connection refused" in str(error)


def test_a_torn_answer_is_no_data(behind, raw):
    store, proxy = behind
    raw.write("file", b"12345678")
    entry = entry_of(store, "file")
    proxy.faults.append(Fault(is_get, truncate, times=9))
    with pytest.raises(StoreError):
        store.read(entry, 0, 8)


def json_answer(status, reason, message="Said so."):
    error = {"code": status, "message": message, "errors": [{"reason": reason}]}
    body = json.dumps({"error": error}).encode()
    return Answer(status, [("Content-Type", "application/json")], body)


def xml_answer(status, code):
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>So.</Message></Error>"
    return Answer(status, [("Content-Type", "application/xml")], body.encode())


NO_BUCKET = "The specified bucket does not exist."
PAYS = "Bucket is a requester pays bucket but no user project provided."
CLOSED = "The billing account for the owning project is disabled in state closed"


@pytest.mark.parametrize(
    ("status", "reason", "message", "expected"),
    [
        (503, "backendError", "", UnreachableError),
        (429, "rateLimitExceeded", "", UnreachableError),
        (500, "internalError", "", ServerError),
        (403, "forbidden", "", RefusedError),
        (403, "accountDisabled", CLOSED, StoreUnavailableError),
        (403, "retentionPolicyNotMet", "", FileError),
        (401, "authError", "", CredentialsError),
        (404, "notFound", NO_BUCKET, StoreUnavailableError),
        (400, "required", PAYS, StoreSettingsError),
        (400, "neverHeardOf", "", RefusedError),
        (409, "conflict", "", StoreError),
        (412, "orgPolicyConstraintFailed", "", RefusedError),
        (413, "", "", ServerError),
    ],
)
def test_answers_of_the_service_have_their_scopes(behind, status, reason, message, expected):
    store, proxy = behind
    answer = json_answer(status, reason, message)
    proxy.faults.append(Fault(lambda request: True, lambda *_: answer, times=99))
    error = error_of(store, "write")
    assert type(error) is expected
    assert proxy.requests == 1


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (403, "AccessDenied", RefusedError),
        (404, "NoSuchBucket", StoreUnavailableError),
        (400, "UserProjectMissing", StoreSettingsError),
        (401, "AuthenticationRequired", CredentialsError),
    ],
)
def test_answers_to_reads_have_their_scopes(behind, raw, status, code, expected):
    store, proxy = behind
    raw.write("file", DATA)
    entry = entry_of(store, "file")
    proxy.faults.append(Fault(is_get, lambda *_: xml_answer(status, code)))
    with pytest.raises(expected) as raised:
        store.read(entry, 0, 4)
    assert code in str(raised.value)


@contextlib.contextmanager
def something_else(answer):
    """Run a web server; ``answer`` returns status, type and bytes for a path."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, content_type, body = answer(self.path, sent)
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_DELETE = do_GET  # noqa: N815

        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("attempt", [each for each in ATTEMPTS if each != "delete"])
@pytest.mark.parametrize(
    "answer",
    [
        (200, "text/html", b"<html>log in here</html>"),
        (200, "application/json", b'{"kind": "storage#objects", "items": [{"name": "x"}]}'),
        (404, "text/html", b"<html>nothing here</html>"),
        (302, "text/html", b""),
    ],
)
def test_another_server_is_not_taken_for_the_service(bucket, attempt, answer):
    with something_else(lambda *_: answer) as url:
        error = error_of(store_at(url, bucket), attempt)
    assert type(error) in (ServerError, StoreUnavailableError)


# Logins


@pytest.fixture
def account(tmp_path, monkeypatch):
    """A service account's file, with a server of tokens that count up; and what that was asked."""
    asked, tokens = [], {"valid": 3600, "refuse": False}

    def answer(path, sent):
        asked.append(path)
        if tokens["refuse"]:
            body = {"error": "invalid_grant", "error_description": "secret-assertion expired"}
            return 400, "application/json", json.dumps(body).encode()
        body = {"access_token": f"token-number-{len(asked)}", "expires_in": tokens["valid"]}
        return 200, "application/json", json.dumps(body).encode()

    key = rsa.generate_private_key(public_exponent=65537, key_size=1024).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path = tmp_path / "account.json"
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    with something_else(answer) as url:
        told = {
            "type": "service_account",
            "project_id": "p",
            "private_key": key.decode(),
            "private_key_id": "1",
            "client_email": "us@p.iam.gserviceaccount.com",
            "token_uri": f"{url}/token",
        }
        path.write_text(json.dumps(told))
        yield tokens, asked


def with_login(gcs, bucket, proxy, **settings):
    return store_at(proxy.endpoint_url, bucket, anonymous=False, **settings)


@pytest.fixture
def watched(gcs):
    """A proxy, and the headers and queries of what passes through it."""
    with proxy_before(gcs.url) as proxy:
        passed = []
        proxy.faults.append(Fault(passed.append, None))
        yield proxy, passed


def test_a_service_account_logs_in_and_its_token_is_kept(gcs, bucket, account, watched):
    proxy, passed = watched
    store = with_login(gcs, bucket, proxy, user_project="their-project")
    write(store, "file", DATA)
    assert bytes(store.read(entry_of(store, "file"), 0, 4).data) == DATA
    assert {each.headers["authorization"] for each in passed} == {"Bearer token-number-1"}
    assert {each.headers["x-goog-user-project"] for each in passed} == {"their-project"}
    queries = [each.query.get("userProject") for each in passed]
    assert queries == [["their-project"], ["their-project"], None]
    assert len(account[1]) == 1


def test_a_token_that_ends_is_renewed(gcs, bucket, account, watched):
    proxy, passed = watched
    account[0]["valid"] = 1
    store = with_login(gcs, bucket, proxy)
    write(store, "one", DATA)
    account[0]["valid"] = 3600
    time.sleep(1.1)
    write(store, "two", DATA)
    tokens = [each.headers["authorization"] for each in passed]
    assert tokens == ["Bearer token-number-1", "Bearer token-number-2"]


def test_a_token_that_is_refused_is_renewed_once(gcs, bucket, account, watched):
    proxy, passed = watched
    store = with_login(gcs, bucket, proxy)
    refused = json_answer(401, "authError", "Invalid Credentials")
    proxy.faults.append(Fault(is_upload, lambda *_: refused))
    assert write(store, "file", DATA).verified_by == "stored-md5"
    assert len(account[1]) == 2
    proxy.faults.append(Fault(is_upload, lambda *_: refused, times=2))
    with pytest.raises(CredentialsError, match="gcloud auth") as raised:
        write(store, "file", DATA)
    assert "token-number" not in str(raised.value)
    assert len(passed) == 4


def test_a_login_that_is_not_accepted_is_about_all_files(gcs, bucket, account):
    account[0]["refuse"] = True
    error = error_of(store_at(gcs.url, bucket, anonymous=False), "list")
    assert type(error) is ProviderError
    assert "secret-assertion" not in str(error)


def test_a_login_server_that_does_not_answer_may_come_back(gcs, bucket, account, tmp_path):
    path = tmp_path / "account.json"
    told = json.loads(path.read_text()) | {"token_uri": f"http://127.0.0.1:{unused_port()}/"}
    path.write_text(json.dumps(told))
    error = error_of(store_at(gcs.url, bucket, anonymous=False), "list")
    assert type(error) is ProviderError


def test_without_any_login_that_is_told(gcs, bucket, monkeypatch, tmp_path):
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    error = error_of(store_at(gcs.url, bucket, anonymous=False), "list")
    assert type(error) is ProviderError
    assert "gcloud auth application-default login" in str(error)


@pytest.mark.parametrize("text", ["{", '{"type": "unknown"}'])
def test_a_file_of_credentials_that_is_none_is_told(gcs, bucket, account, tmp_path, text):
    (tmp_path / "account.json").write_text(text)
    error = error_of(store_at(gcs.url, bucket, anonymous=False), "list")
    assert type(error) is ProviderError
