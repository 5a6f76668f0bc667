"""From Google to Google: the service copies, and no byte passes through the worker.

fake-gcs-server copies in one request, whatever its conditions say, and has an MD5 of composed
objects. What Google does instead is imitated by a proxy, from Google's documentation.
"""

from __future__ import annotations

import itertools
import json
import time

import pytest
from msgspec.structs import replace

from jobtool.errors import (
    NotFoundError,
    RefusedError,
    ServerError,
    SourceChangedError,
    StoppedError,
)
from jobtool.md5 import md5_of
from jobtool.stores.gcs.metadata import base64_of
from jobtool.stores.original import NotCopiedError
from jobtool.stores.registry import StoreRegistry
from jobtool.stores.store import entry_of
from jobtool.testing.store_suite.common import pieces_of, write, write_in_parts
from jobtool.testing.store_suite.inside import go_on
from tests import commands
from tests.faults.proxy import Answer, Fault, proxy_before
from tests.stores.raw import GcsRaw
from tests.trees import events, receipts

DATA = b"data"
NAMES = ("with space", "100%", "%2F", "#hash", "ü", "a+b=c", "deep/er/file", 'quote"')
COMPOSED = "plate/composed"
MTIME = "2023-11-14T22:13:20.123456000Z"


def is_rewrite(request):
    return "/rewriteTo/" in request.path


def is_about_objects(request):
    return (request.method == "GET" and "/o/" in request.path) or is_rewrite(request)


def json_answer(status, **document):
    return Answer(status, [("Content-Type", "application/json")], json.dumps(document).encode())


def failed(status, reason):
    error = {"message": "not yours", "errors": [{"reason": reason}]}
    return lambda *_: json_answer(status, error=error)


def without_md5s(request, forward):
    """Answer as Google does about composed objects, and their copies."""
    answer = forward(request)
    if request.path.endswith("composed"):
        found = json.loads(answer.body)
        found.pop("md5Hash", None)
        found.get("resource", {}).pop("md5Hash", None)
        return Answer(answer.status, answer.headers, json.dumps(found).encode())
    return answer


class Watched:
    """A bucket behind a proxy, with the requests to rewrite and those that carry bytes of files."""

    def __init__(self, gcs, front):
        self.front = front
        self.bucket = gcs.new_bucket()
        self.raw = GcsRaw(gcs.client, self.bucket)
        self.env = {"STORAGE_EMULATOR_HOST": front.endpoint_url}
        self.rewrites = []
        self.carried = []
        front.faults.append(Fault(self._note, None))

    def _note(self, request):
        if is_rewrite(request):
            self.rewrites.append(request)
        elif request.path.startswith(("/upload/", f"/{self.bucket}/")):
            self.carried.append(request.path)

    def befall(self, befalls, happen, times=1):
        self.front.faults.append(Fault(befalls, happen, times=times))

    def store(self, url=None, **options):
        table = {"endpoint_url": url or self.front.endpoint_url, "anonymous": True}
        registry = StoreRegistry({"gs": table}, **options)
        return registry.open(f"gs://{self.bucket}", "destination", owner="us")

    def generate(self, joblist, settings=""):
        places = ("-i", f"gs://{self.bucket}/in", "-d", f"gs://{self.bucket}/out", "-o", joblist)
        commands.run_ok("generate-joblist", *places, "-l", "tree", "-v", "0", env=self.env)
        with (joblist / "joblist.toml").open("a") as file:
            file.write(settings)
        (self.job,) = joblist.glob("*.txt")
        return joblist

    def work(self, joblist):
        commands.run_ok("transfer-worker", "-i", joblist, "-v", "0", env=self.env)
        return {each.dst_path.partition("/out/")[2]: each for each in receipts(joblist)}

    def contents(self, prefix):
        paths = [path for path in self.raw.paths() if path.startswith(prefix)]
        return {path.removeprefix(prefix): self.raw.read(path) for path in paths}


@pytest.fixture
def watched(gcs):
    with proxy_before(gcs.url) as front:
        yield Watched(gcs, front)


@pytest.fixture
def store(watched):
    return watched.store()


def original_of(store, path="from"):
    return store.original(store, entry_of(store, path), 1)


def keeping(original):
    """Return an original whose copy may replace nothing."""
    return replace(original, attributes=replace(original.attributes, may_replace=False))


def test_a_tree_is_copied_whatever_its_names(watched, store, tmp_path):
    files = {f"plate/{name}": DATA * n for n, name in enumerate(NAMES)}  # one is empty
    for path, data in files.items():
        blob = watched.raw.blob(f"in/{path}")
        blob.metadata, blob.cache_control = {"mtime": MTIME, "mine": "kept"}, "no-store"
        blob.upload_from_string(data, content_type="text/special")
    files[COMPOSED] = b"".join(pieces := pieces_of(100, 7))
    write_in_parts(store, f"in/{COMPOSED}", pieces)
    watched.carried.clear()
    watched.befall(is_about_objects, without_md5s, times=10**6)
    joblist = watched.generate(tmp_path / "jobs", '\n[gs]\nstorage_class = "NEARLINE"\n')
    found = watched.work(joblist)
    assert watched.carried == []
    assert len(watched.rewrites) == len(files)
    assert all(b'"storageClass": "NEARLINE"' in each.body for each in watched.rewrites)
    assert {path: each.hashsum_dst for path, each in found.items()} == {
        path: md5_of(data) for path, data in files.items()
    }
    assert {each.method for each in found.values()} == {"server-side"}
    assert found.pop(COMPOSED).verified_by == "stored-crc32c"
    assert {each.verified_by for each in found.values()} == {"stored-md5"}
    assert watched.contents("out/") == files
    (line,) = events(watched.job, "method")
    assert f" name=server-side files={len(files)} seconds=" in line
    assert "reason=" not in line
    copy = watched.raw.bucket.get_blob("out/plate/ü")
    assert copy.metadata == {"mtime": MTIME, "mine": "kept"}
    assert (copy.cache_control, copy.content_type) == ("no-store", "text/special")
    copy = watched.raw.bucket.get_blob(f"out/{COMPOSED}")
    assert copy.metadata == {"mtime": MTIME, "md5chksum": base64_of(md5_of(files[COMPOSED]))}
    commands.run_ok("jobtool", "verify", joblist, env=watched.env)


def test_what_the_service_refuses_is_streamed(watched, tmp_path):
    for number in range(3):
        watched.raw.write(f"in/plate/{number}", DATA)
    watched.befall(is_rewrite, failed(403, "forbidden"), times=10**6)
    found = watched.work(watched.generate(tmp_path / "jobs"))
    assert {(each.method, each.verified_by) for each in found.values()} == {
        ("stream", "stored-md5")
    }
    assert watched.contents("out/") == {f"plate/{number}": DATA for number in range(3)}
    (line,) = events(watched.job, "method")
    assert " name=server-side files=0 " in line
    assert "forbidden" in line


def test_a_refusal_is_told(watched, store):
    write(store, "from", DATA)
    original = original_of(store)
    watched.befall(is_rewrite, failed(403, "forbidden"))
    with pytest.raises(RefusedError, match="not yours"):
        store.copy_inside(store, original, "to", go_on)


def test_a_source_that_changes_is_not_copied(watched, store):
    """Google refuses by the condition. Without the condition the MD5 shows it."""
    write(store, "from", DATA)
    original = original_of(store)
    write(store, "from", b"other")
    assert store.copy_inside(store, original, "to", go_on) is None
    (request,) = watched.rewrites
    assert request.query["ifSourceGenerationMatch"] == [original.etag]
    watched.befall(is_rewrite, failed(412, "conditionNotMet"))
    with pytest.raises(SourceChangedError, match="from"):
        store.copy_inside(store, original, "to", go_on)


def test_what_must_not_be_replaced_is_kept(watched, store):
    write(store, "from", DATA)
    original = keeping(original_of(store))
    assert store.copy_inside(store, original, "to", go_on).verified_by == "stored-md5"
    assert watched.rewrites[0].query["ifGenerationMatch"] == ["0"]
    watched.befall(is_rewrite, failed(412, "conditionNotMet"), times=2)
    # An earlier try has copied it.
    assert store.copy_inside(store, original, "to", go_on).verified_by == "stored-md5"
    write(store, "to", b"theirs")
    with pytest.raises(NotCopiedError, match="must not be replaced"):
        store.copy_inside(store, original, "to", go_on)
    assert watched.raw.read("to") == b"theirs"


def rewriting(tokens):
    """Return a fault: one answer for each token that says how far the copy is."""

    def happen(request, forward):
        token = next(tokens)
        return json_answer(200, done=False, rewriteToken=token, totalBytesRewritten=str(len(token)))

    return happen


def test_a_long_copy_takes_several_requests(watched, store):
    write(store, "from", DATA)
    original = original_of(store)
    watched.befall(is_rewrite, rewriting(iter(("a", "b/="))), times=2)
    asked = []
    proof = store.copy_inside(store, original, "to", lambda: asked.append(1))
    assert proof.verified_by == "stored-md5"
    tokens = [each.query.get("rewriteToken") for each in watched.rewrites]
    assert tokens == [None, ["a"], ["b/="]]
    assert len({each.body for each in watched.rewrites}) == 1
    assert len(asked) == 2


def test_a_long_copy_ends_if_it_is_stopped_or_stands_still(watched, store):
    write(store, "from", DATA)
    original = original_of(store)
    watched.befall(is_rewrite, rewriting(itertools.repeat("a")), times=3)

    def stop():
        raise StoppedError("asked to stop")

    with pytest.raises(StoppedError):
        store.copy_inside(store, original, "to", stop)
    with pytest.raises(ServerError, match="stays at 1 bytes"):
        store.copy_inside(store, original, "to", go_on)
    assert watched.raw.paths() == {"from"}


def test_a_worker_that_is_stopped_leaves_a_long_copy_to_the_next(watched, tmp_path):
    watched.raw.write("in/plate/large", DATA)
    goes_on = rewriting(map(str, itertools.count()))

    def happen(request, forward):
        time.sleep(0.05)
        return goes_on(request, forward)

    watched.befall(is_rewrite, happen, times=10**6)
    joblist = watched.generate(tmp_path / "jobs")
    worker = commands.start("transfer-worker", "-i", joblist, "-v", "0", env=watched.env)
    commands.wait_for(lambda: len(watched.rewrites) > 2)
    worker.terminate()
    assert commands.finish(worker).exit_code == 3
    assert watched.contents("out/") == {}
    watched.front.faults.pop()
    watched.rewrites.clear()
    found = watched.work(joblist)
    assert found["plate/large"].method == "server-side"
    assert [each.query.get("rewriteToken") for each in watched.rewrites] == [None]


@pytest.mark.parametrize(
    "document", [{}, {"done": True}, {"done": False}, {"done": True, "resource": {}}]
)
def test_an_answer_without_an_object_is_none_of_the_service(watched, store, document):
    write(store, "from", DATA)
    original = original_of(store)
    watched.befall(is_rewrite, lambda *_: json_answer(200, **document))
    with pytest.raises(ServerError, match="isn't one of Google"):
        store.copy_inside(store, original, "to", go_on)


@pytest.mark.parametrize(
    "changed",
    [
        {"md5Hash": base64_of(md5_of(b"other"))},
        {"md5Hash": None, "crc32c": "AAAAAA=="},
        {"md5Hash": None, "crc32c": None},
        {"size": "5"},
    ],
)
def test_other_digests_of_the_copy_are_no_proof(watched, store, changed):
    write(store, "from", DATA)
    original = original_of(store)

    def happen(request, forward):
        found = json.loads(forward(request).body)
        found["resource"].update(changed)
        return json_answer(200, **found)

    watched.befall(is_rewrite, happen)
    assert store.copy_inside(store, original, "to", go_on) is None


def test_what_is_never_copied_by_the_service(watched, store, gcs):
    assert "read back" in watched.store(read_back=True).why_not_inside(store)
    assert "another endpoint" in watched.store(gcs.url).why_not_inside(store)
    watched.raw.write("composed", DATA)  # as by another program, which writes no md5chksum
    entry = entry_of(store, "composed")
    watched.befall(is_about_objects, without_md5s)
    with pytest.raises(NotCopiedError, match="no MD5"):
        store.original(store, entry, 1)
    upload = store.begin("to", keeping(original_of(store, "composed")).attributes)
    with pytest.raises(NotCopiedError, match="no parts"):
        store.copy_part_inside(store, original_of(store, "composed"), upload, 1, 0, 4)


def test_a_source_that_is_gone_is_told(watched, store):
    write(store, "from", DATA)
    original = original_of(store)
    store.delete("from")
    with pytest.raises(NotFoundError, match="/from;"):
        store.copy_inside(store, original, "to", go_on)
