"""Documented errors of S3, once or always, at each kind of request: scope and end state.

The server is real, and so are both clients; the proxy answers in its place. The expected results
are in ``s3_answers``, not taken from jobtool's table.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import botocore.retries.standard
import obstore.store
import pytest

from jobtool.errors import JobtoolError, Scope
from jobtool.md5 import md5_of
from jobtool.stores.registry import StoreRegistry
from jobtool.stores.s3.codes import CODES
from jobtool.stores.s3.store import S3Store
from jobtool.stores.store import Attributes, Entry, Part, Upload, entry_of, kind_of
from tests.faults.proxy import Answer, Fault, Forward, Proxy, Request, proxy_before
from tests.faults.s3_answers import (
    ANSWERS,
    BARE,
    BY_STATUS,
    ONE_OF_EACH,
    UNKNOWN,
    Meaning,
    Said,
)
from tests.servers.s3 import S3Server

ELSEWHERE = "eu-elsewhere-1"
FOR_EVER = 10**9
TRIES = 4
DATA = b"data"

OUTCOMES = {
    Meaning.CREDENTIALS: (Scope.STORE, False),
    Meaning.EXPIRED: (Scope.STORE, False),
    Meaning.STORE: (Scope.STORE, False),
    Meaning.REGION: (Scope.STORE, False),
    Meaning.BUSY: (Scope.STORE, True),
    Meaning.UNCERTAIN: (Scope.UNCERTAIN, False),
    Meaning.FAILS: (Scope.UNCERTAIN, True),
    Meaning.PASSES: (Scope.FILE, True),
    Meaning.FILE: (Scope.FILE, False),
    Meaning.ABSENT: (Scope.FILE, False),
}


@dataclass
class World:
    """A store behind the proxy, and the same bucket as the server has it on disk."""

    store: S3Store
    direct: S3Store
    proxy: Proxy
    folder: Path
    names: Iterator[int] = field(default_factory=itertools.count)

    def new_name(self) -> str:
        return f"file {next(self.names)}"

    def on_disk(self, name: str) -> bytes | None:
        path = self.folder / name
        return path.read_bytes() if path.exists() else None

    def upload(self, name: str, data: bytes = DATA) -> tuple[Upload, Part]:
        """An upload with its one part, made without the proxy."""
        upload = self.direct.begin(name, attributes_of(data))
        return upload, self.direct.put_part(upload, 1, 0, data, md5_of(data))


def attributes_of(data: bytes, *, may_replace: bool = True) -> Attributes:
    return Attributes(mtime_ns=10**18, md5=md5_of(data), may_replace=may_replace)


@pytest.fixture(scope="module")
def world(rclone_s3: S3Server) -> Iterator[World]:
    bucket = rclone_s3.new_bucket()
    assert rclone_s3.folder is not None
    plain = obstore.store.S3Store

    def without_waiting(*arguments: Any, **settings: Any) -> Any:
        soon = timedelta(milliseconds=1)
        backoff = {"init_backoff": soon, "max_backoff": 2 * soon, "base": 2}
        settings["retry_config"] |= {"backoff": backoff}
        return plain(*arguments, **settings)

    with (
        pytest.MonkeyPatch.context() as patch,
        proxy_before(rclone_s3.endpoint_url) as proxy,
    ):
        patch.setattr(botocore.retries.standard.ExponentialBackoff, "delay_amount", lambda *_: 0)
        patch.setattr(obstore.store, "S3Store", without_waiting)
        for name, value in rclone_s3.environment.items():
            patch.setenv(name, value)
        direct = StoreRegistry().open(f"s3://{bucket}", "destination")
        patch.setenv("AWS_ENDPOINT_URL", proxy.endpoint_url)
        store = StoreRegistry().open(f"s3://{bucket}", "destination")
        for each in (direct, store):
            assert isinstance(each, S3Store)
            kind_of(each, "")  # gets credentials while they are in the environment
        yield World(store, direct, proxy, rclone_s3.folder / bucket)


class Kind:
    """One kind of request: how to cause it, and how to see that it had its effect."""

    #: What an answer "there is nothing" must mean here: a scope and whether it may pass, or None
    #: if it counts as success.
    absent: tuple[Scope, bool] | None = (Scope.FILE, False)
    has_body = True
    status: int | None = None  # of every answer, whatever its code

    def __init__(self, world: World) -> None:
        self.world = world
        self.store = world.store

    def befalls(self, request: Request) -> bool:
        raise NotImplementedError

    def prepare(self) -> None:
        """Make ready for another answer."""

    def act(self) -> object:
        raise NotImplementedError

    def is_done(self, result: object) -> bool:
        """Whether the request has had its effect."""
        raise NotImplementedError

    def is_undone(self) -> bool:
        """Whether nothing has changed."""
        return True


class ListObjects(Kind):
    absent = (Scope.STORE, False)  # a bucket that isn't there

    def __init__(self, world: World) -> None:
        super().__init__(world)
        world.direct.write("listed/there", [DATA], attributes_of(DATA))

    def befalls(self, request: Request) -> bool:
        return request.method == "GET" and "list-type" in request.query

    def act(self) -> object:
        return [entry.path for entry in self.store.list()]

    def is_done(self, result: object) -> bool:
        return isinstance(result, list) and "listed/there" in result


class Head(Kind):
    has_body = False

    def __init__(self, world: World) -> None:
        super().__init__(world)
        world.direct.write("there", [DATA], attributes_of(DATA))

    def befalls(self, request: Request) -> bool:
        return request.method == "HEAD" and request.path.count("/") > 1

    def act(self) -> object:
        return entry_of(self.store, "there")

    def is_done(self, result: object) -> bool:
        return isinstance(result, Entry) and result.size == len(DATA)


class GetByObstore(Kind):
    length = len(DATA)

    def __init__(self, world: World) -> None:
        super().__init__(world)
        world.direct.write("there", [DATA], attributes_of(DATA))
        entry = entry_of(world.direct, "there")
        self.entry = Entry(entry.path, entry.size, entry.mtime_ns)  # read without a condition

    def befalls(self, request: Request) -> bool:
        return request.is_get

    def act(self) -> object:
        return bytes(self.store.read(self.entry, 0, self.length).data)

    def is_done(self, result: object) -> bool:
        return result == DATA[: self.length]


class GetByBoto3(GetByObstore):
    length = 2  # a range, which obstore doesn't request from servers that ignore ranges

    def prepare(self) -> None:
        self.store._access.is_lax_about_ranges = True


class PutByObstore(Kind):
    absent = (Scope.UNCERTAIN, False)
    end = ""

    def befalls(self, request: Request) -> bool:
        return request.is_put

    def prepare(self) -> None:
        self.name = self.world.new_name() + self.end
        self.data = self.name.encode()
        self.world.direct.write(self.name, [b"old"], attributes_of(b"old"))

    def act(self) -> object:
        return self.store.write(self.name, [self.data], attributes_of(self.data)).md5

    def is_done(self, result: object) -> bool:
        return result == md5_of(self.data) and self.world.on_disk(self.name) == self.data

    def is_undone(self) -> bool:
        return self.world.on_disk(self.name) == b"old"


class PutByBoto3(PutByObstore):
    end = "\x01"  # no key for obstore


class Create(Kind):
    absent = (Scope.UNCERTAIN, False)

    def befalls(self, request: Request) -> bool:
        return request.method == "POST" and "uploads" in request.query

    def act(self) -> object:
        upload = self.store.begin("begun", attributes_of(DATA))
        self.world.direct.abort(upload)  # which shows nothing, but leaves nothing
        return upload.token

    def is_done(self, result: object) -> bool:
        return bool(result)


class SendPart(Kind):
    absent = (Scope.FILE, True)  # the upload is gone: with another all goes well

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.upload, _ = world.upload("parts")

    def befalls(self, request: Request) -> bool:
        return request.is_part

    def act(self) -> object:
        return self.store.put_part(self.upload, 1, 0, DATA, md5_of(DATA))

    def is_done(self, result: object) -> bool:
        return isinstance(result, Part) and result.etag == md5_of(DATA)


class Complete(Kind):
    absent = (Scope.FILE, True)

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.upload: Upload | None = None

    def befalls(self, request: Request) -> bool:
        return request.is_complete

    def prepare(self) -> None:
        if self.upload is None:
            self.name = self.world.new_name()
            self.upload, self.part = self.world.upload(self.name, self.name.encode())

    def act(self) -> object:
        assert self.upload is not None
        data = self.name.encode()
        proof = self.store.complete(self.upload, [self.part], attributes_of(data))
        self.upload = None
        return proof.md5

    def is_done(self, result: object) -> bool:
        data = self.name.encode()
        return result == md5_of(data) and self.world.on_disk(self.name) == data

    def is_undone(self) -> bool:
        return self.world.on_disk(self.name) is None


class CompleteThatSays200(Complete):
    """S3 may begin its answer before it knows how it ends."""

    status = 200


class Abort(Kind):
    absent = None

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.upload: Upload | None = None

    def befalls(self, request: Request) -> bool:
        return request.method == "DELETE" and "uploadId" in request.query

    def prepare(self) -> None:
        if self.upload is None:
            self.upload, self.part = self.world.upload("aborted")

    def _is_held(self) -> bool:
        assert self.upload is not None
        try:
            return bool(self.world.direct.held_parts(self.upload, [self.part]))
        except JobtoolError:
            return False

    def act(self) -> object:
        assert self.upload is not None
        self.store.abort(self.upload)
        return self._is_held()

    def is_done(self, result: object) -> bool:
        self.upload = None
        return result is False


class ListParts(Kind):
    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.upload, self.part = world.upload("held")

    def befalls(self, request: Request) -> bool:
        return request.method == "GET" and "uploadId" in request.query

    def act(self) -> object:
        return list(self.store.held_parts(self.upload, [self.part]))

    def is_done(self, result: object) -> bool:
        return result == [self.part]


class ListUploads(Kind):
    absent = None  # what rclone's server says if there is none

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.upload, _ = world.upload("left over")

    def befalls(self, request: Request) -> bool:
        return request.method == "GET" and "uploads" in request.query

    def act(self) -> object:
        return [upload.token for upload in self.store.leftovers("left over", 0)]

    def is_done(self, result: object) -> bool:
        return result == [self.upload.token]


class Delete(Kind):
    absent = None

    def befalls(self, request: Request) -> bool:
        return request.method == "DELETE" and "uploadId" not in request.query

    def prepare(self) -> None:
        self.name = self.world.new_name()
        self.world.direct.write(self.name, [DATA], attributes_of(DATA))

    def act(self) -> object:
        self.store.delete(self.name)
        return self.world.on_disk(self.name)

    def is_done(self, result: object) -> bool:
        return result is None

    def is_undone(self) -> bool:
        return self.world.on_disk(self.name) == DATA


KINDS = [
    *(ListObjects, Head, GetByObstore, GetByBoto3, PutByObstore, PutByBoto3),
    *(Create, SendPart, Complete, CompleteThatSays200, Abort, ListParts, ListUploads, Delete),
]


def answering(said: Said, status: int | None) -> Callable[[Request, Forward], Answer]:
    """What the proxy does instead of sending a request on."""

    def happen(request: Request, forward: Forward) -> Answer:
        region = f"<Region>{ELSEWHERE}</Region>" if said.meaning is Meaning.REGION else ""
        body = (
            f"<Error><Code>{said.code}</Code><Message>So it is.</Message>{region}</Error>"
            if said.code
            else ""
        )
        headers = [("Content-Type", "application/xml")]
        if said.meaning is Meaning.REGION:
            headers.append(("x-amz-bucket-region", ELSEWHERE))
        return Answer(status or said.status, headers, body.encode())

    return happen


def is_head_of_bucket(request: Request) -> bool:
    return request.method == "HEAD" and request.path.strip("/").count("/") == 0


def meaning_at(kind: Kind, said: Said) -> tuple[Scope, bool] | None:
    """The expected result of an answer to a kind of request; None is success."""
    meaning = said.meaning if kind.has_body else BY_STATUS[said.status]
    return kind.absent if meaning is Meaning.ABSENT else OUTCOMES[meaning]


def tried(kind: Kind, tries: int) -> object:
    """Do it, with retries like a transfer; return the error or the result."""
    for left in reversed(range(tries)):
        try:
            return kind.act()
        except JobtoolError as error:
            if not error.retryable or not left:
                return error
    raise AssertionError


def judged(kind: Kind, said: Said) -> str | None:
    """Return what is wrong with the results of an answer that is given once, or always."""
    fault = Fault(kind.befalls, answering(said, kind.status))
    problem = what_comes_of(kind, said, fault)
    if problem is not None:
        return f"once: {problem}"
    if kind.world.proxy.requests == 1:
        return None  # nothing was asked again, so it makes no difference
    fault.times = FOR_EVER
    problem = what_comes_of(kind, said, fault)
    return problem and f"for ever: {problem}"


def what_comes_of(kind: Kind, said: Said, fault: Fault) -> str | None:
    is_once = fault.times == 1
    kind.prepare()
    proxy = kind.world.proxy
    proxy.faults[:] = [fault]
    if said.meaning is Meaning.REGION:
        proxy.faults.append(Fault(is_head_of_bucket, fault.happen, FOR_EVER))
    proxy.requests = fault.hits = 0
    result = tried(kind, TRIES if is_once else 1)
    proxy.faults.clear()
    expected = meaning_at(kind, said)
    if not fault.hits:
        return "it never happened"
    if not isinstance(result, JobtoolError):
        if expected is None:
            return None
        if not kind.is_done(result):
            return f"false success: {result!r}"
        # Clients may have repeated it, or sent it to the region in the answer.
        is_clients = said.status >= 500 or kind.status or said.meaning is Meaning.REGION
        may_pass = expected[1] or said.meaning is Meaning.EXPIRED or is_clients
        return None if is_once and may_pass else "done, and shouldn't be"
    found = (result.scope, result.retryable)
    if not kind.is_undone():
        return f"{found}, and something has changed"
    if found != expected:
        return f"{found} instead of {expected}: {result}"
    if is_once and result.retryable:
        return f"it didn't pass: {result}"
    return what_is_wrong_with(str(result), said)


def what_is_wrong_with(message: str, said: Said) -> str | None:
    told = (ELSEWHERE, "[s3] region") if said.meaning is Meaning.REGION else ()
    if "Quota" in said.code:
        told = ("quota",)
    elif said.status == 507:
        told = ("full",)
    lacking = [word for word in told if word not in message]
    return f"{lacking} not in: {message}" if lacking else None


#: The kinds that get each documented code: one by each client that reads the answer, and one where
#: the status says nothing. The others get one code of each meaning and status, and all of them in
#: `make test-wide`.
WITH_EACH_CODE = (GetByObstore, PutByBoto3, CompleteThatSays200)


def assert_answers_have_their_meaning(world: World, kind: type[Kind], codes: list[Said]) -> None:
    subject = kind(world)
    answers = codes if subject.status else [*codes, *BARE, *UNKNOWN]
    if not subject.has_body:
        answers = BARE
    wrong = {str(said): judged(subject, said) for said in answers}
    problems = [f"{said}: {problem}" for said, problem in wrong.items() if problem]
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_each_answer_has_its_scope_and_its_end_state(world: World, kind: type[Kind]) -> None:
    codes = ANSWERS if kind in WITH_EACH_CODE else ONE_OF_EACH
    assert_answers_have_their_meaning(world, kind, codes)


@pytest.mark.wide
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_each_code_has_its_scope_and_its_end_state(world: World, kind: type[Kind]) -> None:
    assert_answers_have_their_meaning(world, kind, ANSWERS)


def test_every_code_of_the_products_table_is_among_the_answers() -> None:
    assert set(CODES) - {said.code for said in ANSWERS} == set()
