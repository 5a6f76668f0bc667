"""What is special about Azure: proofs, blocks, folders, conditions, errors and their scopes."""

from __future__ import annotations

import base64
import contextlib
import datetime
import http.server
import threading
import time

import pytest
from azure.storage.blob import ContentSettings, generate_account_sas, generate_container_sas

from jobtool.errors import (
    CredentialsError,
    DigestMismatchError,
    FileError,
    JobtoolError,
    NotFoundError,
    NotYetError,
    RefusedError,
    ServerError,
    SourceChangedError,
    SourceError,
    StoreError,
    StoreUnavailableError,
    UnreachableError,
)
from jobtool.stores.azure.config import Account
from jobtool.stores.azure.direct import Direct
from jobtool.stores.azure.metadata import found_in_headers
from jobtool.stores.credentials.holder import CredentialHolder
from jobtool.stores.credentials.provider import BearerToken, CredentialScope
from jobtool.stores.failures import AnswerError
from jobtool.stores.registry import StoreRegistry
from jobtool.stores.store import Attributes, Entry, Special, composite_md5, entry_of, kind_of
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
from tests.faults.proxy import Answer, Fault, flip_upload, lose_answer, proxy_before, truncate
from tests.servers.azure import ACCOUNT, KEY
from tests.stores.raw import AzureRaw

DATA = b"data"
SOMETIME = "Fri, 27 Nov 2026 04:00:00 GMT"
WHOLE = Attributes(mtime_ns=MTIME_NS, md5=md5_of(DATA))


@pytest.fixture
def container(azurite):
    return azurite.new_container()


@pytest.fixture
def raw(azurite, container):
    return AzureRaw(azurite.client, container)


@pytest.fixture
def registry(azurite, monkeypatch):
    azurite.set_in(monkeypatch)
    return StoreRegistry()


@pytest.fixture
def store(registry, container):
    return registry.open(f"az://{container}", "destination", owner="us")


def store_at(monkeypatch, url, container, *, environment=None, owner="us", **settings):
    """Return a store with its own client, by default with Azurite's key."""
    monkeypatch.delenv("AZURE_STORAGE_CONNECTION_STRING", raising=False)
    for name, value in (environment or {"AZURE_STORAGE_KEY": KEY}).items():
        monkeypatch.setenv(name, value)
    registry = StoreRegistry({"az": {"account_url": f"{url}/{ACCOUNT}", **settings}})
    return registry.open(f"az://{container}", "destination", owner=owner)


@pytest.fixture
def behind(azurite, container, monkeypatch):
    """Return a store behind a proxy, and the proxy."""
    with proxy_before(azurite.url) as proxy:
        yield store_at(monkeypatch, proxy.endpoint_url, container), proxy


def is_blob(request):
    return request.method == "PUT" and "comp" not in request.query


def is_block(request):
    return request.method == "PUT" and request.query.get("comp") == ["block"]


def is_commit(request):
    return request.method == "PUT" and request.query.get("comp") == ["blocklist"]


def is_get(request):
    return request.method == "GET" and "comp" not in request.query


# Proofs


def test_a_small_file_is_one_request_and_proven_by_the_md5_of_the_service(behind, raw):
    store, proxy = behind
    proof = write(store, "file", DATA)
    assert proxy.requests == 1
    assert (proof.md5, proof.verified_by) == (md5_of(DATA), "stored-md5")
    found = raw.properties("file")
    assert found.content_settings.content_md5.hex() == md5_of(DATA)
    assert found.metadata == {"mtime": "2023-11-14T22:13:20.123456000Z"}
    assert found.etag.strip('"') == proof.etag


def test_a_file_in_parts_is_proven_by_its_blocks_and_has_the_md5_of_the_whole(store, raw):
    pieces = pieces_of(PART_BYTES, 456)
    proof = write_in_parts(store, "file", pieces)
    whole = md5_of(b"".join(pieces))
    assert (proof.md5, proof.verified_by) == (whole, "checked-blocks")
    assert raw.properties("file").content_settings.content_md5.hex() == whole
    content = store.read(entry_of(store, "file"), 0, 10)
    assert (content.attributes.md5, content.attributes.mtime_ns) == (whole, MTIME_NS)


def test_with_read_back_every_file_is_read(azurite, container, monkeypatch):
    azurite.set_in(monkeypatch)
    store = StoreRegistry(read_back=True).open(f"az://{container}", "destination")
    assert write(store, "small", DATA).verified_by == "read-back"
    pieces = pieces_of(PART_BYTES, 4)
    assert write_in_parts(store, "large", pieces).verified_by == "read-back"
    assert store.prove("small", md5_of(DATA), "").verified_by == "read-back"


def test_an_existing_file_is_proven_by_what_the_service_checked(store):
    pieces = pieces_of(PART_BYTES, 456)
    whole = md5_of(b"".join(pieces))
    upload, parts = send(store, "large", pieces)
    store.complete(upload, parts, upload.attributes)
    write(store, "small", DATA)
    assert store.prove("small", md5_of(DATA), "").verified_by == "stored-md5"
    assert store.prove("large", whole, composite_md5(parts)).verified_by == "checked-blocks"
    assert store.prove("large", whole, "of parts of another size").verified_by == "read-back"


def test_an_md5_that_a_writer_of_blocks_claims_is_not_believed(store, raw):
    client = raw.client.get_blob_client("file")
    client.stage_block("1", b"other")
    claimed = ContentSettings(content_md5=bytearray.fromhex(md5_of(DATA)))
    client.commit_block_list(["1"], content_settings=claimed)
    assert store.prove("file", md5_of(DATA), "") is None


def test_in_a_hierarchical_namespace_a_stored_md5_is_not_believed(
    azurite, monkeypatch, container, raw
):
    azurite.set_in(monkeypatch)
    raw.write("file", DATA)
    store = StoreRegistry({"abfs": {"hierarchical": True}}).open(f"abfs://{container}", "source")
    assert store.prove("file", md5_of(DATA), "").verified_by == "read-back"


def test_page_and_append_blobs_are_read_and_proven_by_reading(store, raw):
    page = raw.client.get_blob_client("page")
    page.create_page_blob(512)
    page.upload_page(b"x" * 512, 0, 512)
    assert bytes(store.read(entry_of(store, "page"), 0, 512).data) == b"x" * 512
    assert store.prove("page", md5_of(b"x" * 512), "").verified_by == "read-back"


@pytest.mark.parametrize("is_known", [True, False])
def test_bytes_that_change_on_the_way_are_noticed(behind, raw, is_known):
    store, proxy = behind
    proxy.faults.append(Fault(is_blob, flip_upload))
    with pytest.raises(DigestMismatchError, match="file"):
        store.write("file", [DATA], Attributes(mtime_ns=0, md5=md5_of(DATA) if is_known else None))
    assert raw.paths() == set()


def test_a_block_that_changes_on_the_way_is_noticed(behind, raw):
    store, proxy = behind
    proxy.faults.append(Fault(is_block, flip_upload))
    with pytest.raises(DigestMismatchError, match=r"part 1.*file"):
        send(store, "file", [DATA])
    assert raw.paths() == set()


def test_a_service_that_answers_with_another_md5_is_not_believed(behind, raw):
    store, proxy = behind

    def other_md5(request, forward):
        answer = forward(request)
        told = base64.b64encode(bytes.fromhex(md5_of(b"other"))).decode()
        kept = [pair for pair in answer.headers if pair[0].lower() != "content-md5"]
        return Answer(answer.status, [*kept, ("Content-MD5", told)], answer.body)

    proxy.faults.append(Fault(is_blob, other_md5))
    with pytest.raises(DigestMismatchError, match="file"):
        write(store, "file", DATA)
    assert raw.paths() == set()


def test_a_service_that_answers_without_an_md5_is_read_back(behind):
    store, proxy = behind

    def no_md5(request, forward):
        answer = forward(request)
        kept = [pair for pair in answer.headers if pair[0].lower() != "content-md5"]
        return Answer(answer.status, kept, answer.body)

    proxy.faults.append(Fault(is_blob, no_md5))
    assert write(store, "file", DATA).verified_by == "read-back"


# Uploads


def test_an_upload_is_taken_up_by_another_client(azurite, store, container, monkeypatch, raw):
    pieces = pieces_of(PART_BYTES, PART_BYTES, 7)
    upload = store.begin("file", WHOLE)
    first = store.put_part(upload, 1, 0, pieces[0], md5_of(pieces[0]))
    other = store_at(monkeypatch, azurite.url, container)
    assert other.held_parts(upload, [first]) == [first]
    rest = [
        other.put_part(upload, number, PART_BYTES * (number - 1), piece, md5_of(piece))
        for number, piece in ((2, pieces[1]), (3, pieces[2]))
    ]
    whole = Attributes(mtime_ns=0, md5=md5_of(b"".join(pieces)))
    assert other.complete(upload, [first, *rest], whole).verified_by == "checked-blocks"
    assert raw.read("file") == b"".join(pieces)


def test_a_dropped_upload_stays_dropped_for_other_clients(azurite, store, container, monkeypatch):
    upload, parts = send(store, "file", [DATA])
    store.abort(upload)
    other = store_at(monkeypatch, azurite.url, container)
    assert other.leftovers("file", 0) == []
    with pytest.raises(NotFoundError):
        other.held_parts(upload, parts)
    assert kind_of(other, "file") == "missing"


def test_uploads_of_other_owners_and_programs_are_no_leftovers(registry, store, container, raw):
    theirs = registry.open(f"az://{container}", "destination", owner="them")
    upload, _ = send(theirs, "file", [DATA])
    assert store.leftovers("file", 0) == []
    assert [found.token for found in theirs.leftovers("file", 0)] == [upload.token]
    raw.client.get_blob_client("other").stage_block("a short ID", DATA)
    assert store.leftovers("other", 0) == []


def test_blocks_of_another_kind_in_the_way_are_told(store, raw):
    raw.client.get_blob_client("file").stage_block("a short ID", DATA)
    with pytest.raises(FileError, match="another program") as raised:
        send(store, "file", [DATA])
    assert not raised.value.retryable


def test_a_lost_answer_to_a_commit_is_no_harm(behind, raw):
    store, proxy = behind
    upload, parts = send(store, "file", [DATA])
    proxy.faults.append(Fault(is_commit, lose_answer))
    with pytest.raises(UnreachableError):
        store.complete(upload, parts, WHOLE)
    assert store.complete(upload, parts, WHOLE).verified_by == "checked-blocks"
    assert raw.read("file") == DATA


def test_a_long_stream_goes_in_blocks(store, raw):
    pieces = pieces_of(9_000_000, 9_000_000, 5)
    proof = store.write("file", iter(pieces), Attributes(mtime_ns=0))
    assert (proof.md5, proof.verified_by) == (md5_of(b"".join(pieces)), "checked-blocks")
    assert raw.read("file") == b"".join(pieces)


def test_a_long_stream_that_breaks_off_is_dropped(store, raw):
    def chunks():
        yield b"x" * 17_000_000
        yield b"x"
        raise SourceChangedError("changed")

    with pytest.raises(SourceChangedError):
        store.write("file", chunks(), Attributes(mtime_ns=0))
    assert raw.paths() == set()
    assert store.leftovers("file", 0) == []


# Conditions


@pytest.mark.parametrize("in_parts", [False, True])
def test_what_must_not_be_replaced_is_kept(store, raw, in_parts):
    raw.write("file", b"old")
    attributes = Attributes(mtime_ns=MTIME_NS, md5=md5_of(DATA), may_replace=False)
    with pytest.raises(FileError, match="must not be replaced") as raised:
        put(store, DATA, attributes, in_parts)
    assert not raised.value.retryable
    assert raw.read("file") == b"old"


@pytest.mark.parametrize("in_parts", [False, True])
def test_the_same_bytes_that_are_there_already_are_their_proof(store, raw, in_parts):
    raw.write("file", DATA)
    attributes = Attributes(mtime_ns=MTIME_NS, md5=md5_of(DATA), may_replace=False)
    assert put(store, DATA, attributes, in_parts).md5 == md5_of(DATA)


def put(store, data, attributes, in_parts):
    if not in_parts:
        return store.write("file", [data], attributes)
    upload = store.begin("file", attributes)
    part = store.put_part(upload, 1, 0, data, md5_of(data))
    return store.complete(upload, [part], attributes)


def test_a_read_is_pinned_to_the_listed_version(store, raw):
    raw.write("file", b"12345")
    entry = entry_of(store, "file")
    raw.write("file", b"54321")  # in the same second, with the same size
    for length in (5, 0):
        with pytest.raises(SourceChangedError, match="file"):
            store.read(entry, 0, length)


# Folders, names and attributes


def test_markers_of_folders_are_folders_and_no_files(store, raw):
    for path in ("full", "empty", "full/inner"):
        raw.make_special(Special(path, "empty-folder"))
    raw.write("full/file", b"1")
    raw.write("empty-not", b"1")
    raw.client.upload_blob("slash/", b"")
    assert [(type(found).__name__, found.path) for found in store.list()] == [
        ("Entry", "empty-not"),
        ("Special", "empty"),
        ("Entry", "full/file"),
        ("Special", "full/inner"),
        ("Special", "slash"),
    ]
    assert [kind_of(store, path) for path in ("full", "empty", "slash")] == ["folder"] * 3
    assert [(child.name, child.is_folder) for child in store.children("")] == [
        ("empty", True),
        ("empty-not", False),
        ("full", True),
        ("slash", True),
    ]
    assert list(store.children("empty")) == []
    assert store.stat("full/inner") == "folder"


def test_names_beyond_the_basic_plane_are_in_byte_order(store, raw):
    paths = ["a/\uff08b", "a/\U0001f9ec/x", "a/\U0001f9ec", "\uff08", "\U0001f9ec", "b", "a\uff08"]
    for path in paths:
        raw.write(path, b"1")
    assert [entry.path for entry in store.list()] == sorted(paths, key=str.encode)


def test_blobs_whose_names_are_no_paths_are_told(store, raw):
    raw.write("a//b", b"1")
    raw.write("c", b"1")
    found = list(store.list())
    assert [entry.path for entry in found] == ["a//b", "c"]
    assert isinstance(found[0].error, SourceError)
    assert "a//b" in str(found[0].error)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("x" * 1025, "1025 characters"),
        ("/".join("x" * 255), "255 parts"),
        ("a./b", "ends in a dot"),
        ("a.", "ends in a dot"),
        ("a\\b", "backslash"),
        ("a\nb", "control character"),
        ("\udcff", "UTF-8"),
    ],
)
def test_names_that_azure_cannot_hold_are_refused(store, raw, path, said):
    with pytest.raises(FileError, match=said):
        write(store, path, DATA)
    with pytest.raises(FileError, match=said):
        store.begin(path, WHOLE)
    assert raw.paths() == set()


def test_the_longest_name_is_kept(store, raw):
    path = "ü" * 1024
    write(store, path, DATA)
    assert raw.read(path) == DATA


def test_headers_and_the_users_metadata_are_kept_and_what_cannot_be_is_noted(store, raw):
    attributes = Attributes(
        mtime_ns=MTIME_NS,
        md5=md5_of(DATA),
        headers=(("Content-Type", "text/csv"), ("Cache-Control", "no-store")),
        metadata=(("Stain", "DAPI"), ("has-dash", "1"), ("umlaut", "ü"), ("big", "x" * 9000)),
    )
    for in_parts in (False, True):
        proof = put(store, DATA, attributes, in_parts)
        assert {note.attribute for note in proof.notes} == {
            "metadata has-dash",
            "metadata umlaut",
            "metadata big",
        }
        found = store.read(entry_of(store, "file"), 0, 4).attributes
        assert dict(found.headers) == dict(attributes.headers)
        assert {name.lower(): value for name, value in found.metadata} == {"stain": "DAPI"}
        assert (found.mtime_ns, found.md5) == (MTIME_NS, md5_of(DATA))


@pytest.mark.parametrize(
    ("text", "mtime_ns"),
    [
        ("2023-11-14T22:13:20.123456789Z", 1_700_000_000_123_456_789),
        ("2023-11-14T23:13:20+01:00", 1_700_000_000_000_000_000),
        ("-1.5", -1_500_000_000),
    ],
)
def test_times_of_other_programs_are_read(store, raw, text, mtime_ns):
    raw.client.upload_blob("file", DATA, metadata={"mtime": text})
    assert store.read(entry_of(store, "file"), 0, 4).attributes.mtime_ns == mtime_ns


@pytest.mark.parametrize("text", ["yesterday", "2023-13-14T22:13:20Z"])
def test_a_time_that_is_none_is_ignored(store, raw, text):
    raw.client.upload_blob("file", DATA, metadata={"mtime": text})
    entry = entry_of(store, "file")
    assert store.read(entry, 0, 4).attributes.mtime_ns == entry.mtime_ns


# Errors and their scopes


def attempts(store):
    entry = Entry("file", 4, MTIME_NS, "0x1")
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
    message = str(raised.value)
    assert "\n" not in message
    assert KEY not in message
    return raised.value


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_a_missing_container_is_about_all_files(registry, attempt):
    error = error_of(registry.open("az://not-there", "destination"), attempt)
    assert type(error) is StoreUnavailableError
    assert "there is no container not-there" in str(error)


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_a_wrong_key_is_about_all_files(azurite, monkeypatch, container, attempt):
    wrong = {"AZURE_STORAGE_KEY": base64.b64encode(b"wrong" * 10).decode()}
    store = store_at(monkeypatch, azurite.url, container, environment=wrong)
    error = error_of(store, attempt)
    assert isinstance(error, (CredentialsError, RefusedError))
    assert wrong["AZURE_STORAGE_KEY"] not in str(error)


def test_a_key_that_is_no_base64_is_told(azurite, monkeypatch, container):
    wrong = {"AZURE_STORAGE_KEY": "not base64!"}
    with pytest.raises(CredentialsError, match="base64") as raised:
        store_at(monkeypatch, azurite.url, container, environment=wrong)
    assert "not base64!" not in str(raised.value)


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_a_port_without_a_server_may_come_back(monkeypatch, container, attempt):
    url = f"http://127.0.0.1:{unused_port()}"
    error = error_of(store_at(monkeypatch, url, container), attempt)
    assert type(error) is UnreachableError
    assert "Connection refused" in str(error)


def test_an_unknown_host_may_come_back(monkeypatch, container):
    error = error_of(store_at(monkeypatch, "http://no-such-host.invalid", container), "write")
    assert type(error) is UnreachableError


def sas_of(container, permission, hours=1):
    end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=hours)
    return generate_container_sas(ACCOUNT, container, KEY, permission=permission, expiry=end)


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_a_sas_token_that_has_expired_is_told_and_not_shown(
    azurite, monkeypatch, container, attempt
):
    token = sas_of(container, "racwdl", hours=-1)
    store = store_at(
        monkeypatch, azurite.url, container, environment={"AZURE_STORAGE_SAS_TOKEN": token}
    )
    error = error_of(store, attempt)
    assert isinstance(error, (CredentialsError, RefusedError))
    assert "sig=" not in str(error)


def test_a_sas_token_is_not_shown_if_there_is_no_answer(monkeypatch, container):
    environment = {"AZURE_STORAGE_SAS_TOKEN": "?" + sas_of(container, "r")}
    url = f"http://127.0.0.1:{unused_port()}"
    store = store_at(monkeypatch, url, container, environment=environment)
    for attempt in ATTEMPTS:
        error = error_of(store, attempt)
        assert "sig=" not in str(error)
        assert "sv=" not in str(error)


def test_a_sas_token_is_not_logged(azurite, monkeypatch, container, caplog):
    caplog.set_level("DEBUG")
    token = sas_of(container, "racwdl")
    environment = {"AZURE_STORAGE_SAS_TOKEN": token}
    store = store_at(monkeypatch, azurite.url, container, environment=environment)
    write(store, "file", DATA)
    write_in_parts(store, "parts", [DATA])
    assert kind_of(store, "file") == "file"
    assert len(list(store.list())) == 2
    assert "/file" in caplog.text
    assert token.partition("sig=")[2].partition("&")[0] not in caplog.text


class Tokens:
    """Gives a new token at each call."""

    name, can_renew, is_per_purpose = "tokens", True, False

    def __init__(self, seconds):
        self.seconds = seconds
        self.count = 0

    def fetch(self, scope):
        self.count += 1
        ends = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=self.seconds)
        return BearerToken(token=f"token{self.count}", expires_at=ends)


@pytest.mark.parametrize(
    ("seconds", "tokens"), [(3600, ["token1", "token1"]), (0.2, ["token1", "token2"])]
)
def test_a_token_is_sent_until_it_ends(azurite, seconds, tokens):
    sent = []
    with proxy_before(azurite.url) as proxy:
        proxy.faults.append(Fault(lambda request: sent.append(request.headers), proxy.stall))
        account = Account(url=f"{proxy.endpoint_url}/{ACCOUNT}", name=ACCOUNT)
        scope = CredentialScope(job="", url="az://any", permission="READ")
        direct = Direct(
            account, "any", CredentialHolder(Tokens(seconds), scope, accepts=(BearerToken,)),
            connections=1, timeout_seconds=9, trusted={}, proxy=None,
        )  # fmt: skip
        for _ in range(2):
            with pytest.raises(AnswerError) as raised:
                direct.get("file", 0, 1, None)
            assert raised.value.status in (401, 403)
            time.sleep(min(seconds, 0.3))
    assert [each["authorization"] for each in sent] == [f"Bearer {token}" for token in tokens]


def test_a_sas_token_that_may_only_read_does_that(azurite, monkeypatch, container, raw):
    raw.write("file", DATA)
    environment = {"AZURE_STORAGE_SAS_TOKEN": sas_of(container, "rl")}
    store = store_at(monkeypatch, azurite.url, container, environment=environment)
    (entry,) = store.list()
    assert bytes(store.read(entry, 0, 4).data) == DATA
    store.check_access(write=False)
    for attempt in ("write", "parts", "delete", "may write"):
        assert type(error_of(store, attempt)) is RefusedError
    assert raw.paths() == {"file"}


def test_a_sas_token_of_the_account_writes(azurite, monkeypatch, container, raw):
    end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)
    token = generate_account_sas(
        ACCOUNT, KEY, resource_types="sco", permission="racwdl", expiry=end, services="b"
    )
    environment = {"AZURE_STORAGE_SAS_TOKEN": token}
    store = store_at(monkeypatch, azurite.url, container, environment=environment)
    assert write(store, "fi?le #%20", DATA).verified_by == "stored-md5"
    assert raw.paths() == {"fi?le #%20"}


def test_a_public_container_is_read_without_credentials(azurite, monkeypatch, container, raw):
    raw.write("file", DATA)
    raw.client.set_container_access_policy({}, public_access="container")
    monkeypatch.delenv("AZURE_STORAGE_KEY", raising=False)
    store = store_at(monkeypatch, azurite.url, container, environment={}, anonymous=True)
    (entry,) = store.list()
    assert bytes(store.read(entry, 0, 4).data) == DATA
    assert isinstance(error_of(store, "write"), (CredentialsError, RefusedError))


def test_a_torn_answer_is_no_data(behind, raw):
    store, proxy = behind
    raw.write("file", b"12345678")
    entry = entry_of(store, "file")
    proxy.faults.append(Fault(is_get, truncate, times=9))
    with pytest.raises(StoreError):
        store.read(entry, 0, 8)


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (503, "ServerBusy", UnreachableError),
        (500, "OperationTimedOut", UnreachableError),
        (500, "InternalError", ServerError),
        (403, "AuthorizationPermissionMismatch", RefusedError),
        (403, "AuthorizationFailure", RefusedError),
        (403, "AccountIsDisabled", CredentialsError),
        (401, "NoAuthenticationInformation", CredentialsError),
        (409, "ContainerBeingDeleted", UnreachableError),
        (409, "BlobImmutableDueToPolicy", FileError),
        (412, "LeaseIdMissing", FileError),
        (409, "PathConflict", FileError),
        (400, "NeverHeardOf", RefusedError),
        (507, "", StoreUnavailableError),
    ],
)
def test_answers_of_the_service_have_their_scopes(behind, status, code, expected):
    store, proxy = behind
    body = f"<Error><Code>{code}</Code><Message>Said so.\nRequestId:1</Message></Error>".encode()
    headers = [("Content-Type", "application/xml"), ("x-ms-request-id", "1")]
    headers += [("x-ms-error-code", code)] if code else []
    answer = Answer(status, headers, body if code else b"")
    proxy.faults.append(Fault(lambda request: True, lambda *_: answer, times=99))
    before = proxy.requests
    error = error_of(store, "write")
    assert type(error) is expected
    assert (code or str(status)) in str(error)
    assert proxy.requests - before == 1, "jobtool itself tries again, not the library"


@contextlib.contextmanager
def something_else(status, content_type, body):
    """Run a web server that answers everything alike."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_PUT = do_HEAD = do_DELETE = do_GET  # noqa: N815

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
    ("status", "content_type", "body"),
    [
        (200, "text/html", b"<html>log in here</html>"),
        (200, "application/xml", b"<html>log in here</html>"),
        (404, "text/html", b"<html>nothing here</html>"),
        (302, "text/html", b""),
    ],
)
def test_another_server_is_not_taken_for_azure(
    monkeypatch, container, attempt, status, content_type, body
):
    with something_else(status, content_type, body) as url:
        error = error_of(store_at(monkeypatch, url, container), attempt)
    assert not isinstance(error, NotFoundError)
    assert isinstance(error, (ServerError, StoreUnavailableError, RefusedError))


def test_a_read_tells_the_etag_that_later_reads_ask_for(store, raw):
    raw.write("file", DATA)
    assert store.read(Entry("file", 4, entry_of(store, "file").mtime_ns), 0, 1).etag == (
        entry_of(store, "file").etag
    )


def test_a_version_is_told_where_the_account_keeps_any():
    told = {"Content-Range": "bytes 0-0/4", "ETag": '"0x1"', "Last-Modified": SOMETIME}
    assert found_in_headers(told).version is None
    version = "2026-11-27T04:00:00.1234567Z"
    assert found_in_headers({**told, "x-ms-version-id": version}).version == version


# Archived blobs


def archived_by(azurite, registry, **settings):
    """Return a source with an archived blob, its entry, and raw access."""
    container = azurite.new_container()
    raw = AzureRaw(azurite.client, container)
    raw.write("file", DATA)
    azurite.client.get_blob_client(container, "file").set_standard_blob_tier("Archive")
    store = StoreRegistry({"az": settings}).open(f"az://{container}", "source")
    return store, entry_of(store, "file"), raw


def test_an_archived_blob_is_asked_for_and_read_once_it_is_there(azurite, registry):
    settings = {"rehydrate_tier": "Cool", "rehydrate_check_seconds": 60}
    store, entry, raw = archived_by(azurite, registry, **settings)
    with pytest.raises(NotYetError, match="the tier Cool was asked for") as raised:
        store.read(entry, 0, 4)
    assert raised.value.seconds == 60
    assert raw.properties("file").blob_tier == "Cool"  # Azurite moves it at once
    assert bytes(store.read(entry, 0, 4).data) == DATA


def test_without_the_setting_an_archived_blob_is_an_error_that_names_it(azurite, registry):
    store, entry, raw = archived_by(azurite, registry)
    with pytest.raises(SourceError, match="set rehydrate_tier in joblist"):
        store.read(entry, 0, 4)
    assert raw.properties("file").blob_tier == "Archive"


def test_a_blob_that_is_on_its_way_is_not_asked_for_again(azurite, registry, monkeypatch):
    def on_its_way(request, forward):
        answer = forward(request)
        status = ("x-ms-archive-status", "rehydrate-pending-to-hot")
        return Answer(answer.status, [*answer.headers, status], answer.body)

    first, entry, raw = archived_by(azurite, registry)
    with proxy_before(azurite.url) as proxy:
        proxy.faults.append(Fault(lambda got: got.method == "HEAD", on_its_way, 9))
        settings = {"account_url": f"{proxy.endpoint_url}/{ACCOUNT}", "rehydrate_tier": "Hot"}
        monkeypatch.delenv("AZURE_STORAGE_CONNECTION_STRING", raising=False)
        monkeypatch.setenv("AZURE_STORAGE_KEY", KEY)
        store = StoreRegistry({"az": settings}).open(first.url, "source")
        with pytest.raises(NotYetError):
            store.read(entry, 0, 4)
    assert raw.properties("file").blob_tier == "Archive"
