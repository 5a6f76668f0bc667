"""Sources that can't be listed as a whole: whatever fails, and wherever, nothing is deleted."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import replace as changed
from pathlib import Path

import pytest

import jobtool
from jobtool.api import update
from tests.commands import Done, run, run_without_superpowers
from tests.faults.preloaded import faults_library, preloaded
from tests.faults.proxy import (
    Answer,
    Fault,
    Forward,
    Proxy,
    Request,
    internal_error,
    proxy_before,
    reset,
    truncate,
)
from tests.mirror.worlds import FILES_OF, World, reasons
from tests.servers.s3 import S3Server

DELETE = ("--delete-extra", "--yes", "--max-delete", "1000")


@pytest.mark.parametrize("folder_mode", ["a/deep", "b", "."])
def test_an_unreadable_folder(local: World, folder_mode: str) -> None:
    """Not even what is gone elsewhere goes."""
    local.path("a/1").unlink()
    path = local.path(folder_mode)
    mode = stat.S_IMODE(path.stat().st_mode)
    os.chmod(path, 0)
    try:
        done = run_without_superpowers(
            "generate-joblist", local.source, "-o", local.joblist, *DELETE
        )
    finally:
        os.chmod(path, mode)
    assert done.exit_code, done
    assert local.arrived() == FILES_OF
    assert local.prune().updated.deleted == 1


@pytest.mark.parametrize(
    ("call", "where", "skip"),
    [
        ("readdir", "/data/a", 3),
        ("open", "/data/a/deep", 0),
        ("open", "/data/b", 0),
        ("stat", "/data/a/3", 0),
    ],
)
def test_a_listing_that_fails_midway(local: World, call: str, where: str, skip: int) -> None:
    """A disk or a file server fails after some names."""
    local.path("a/1").unlink()
    env = preloaded(faults_library(), call=call, where=where, code="EIO", skip=skip)
    done = deleting(local, env)
    assert done.exit_code, done
    assert local.arrived() == FILES_OF
    assert deleting(local).exit_code == 0
    assert set(FILES_OF) - set(local.arrived()) == {"a/1"}


def deleting(world: World, env: dict[str, str] | None = None) -> Done:
    return run("generate-joblist", world.source, "-o", world.joblist, *DELETE, env=env)


# From a bucket.


@pytest.fixture
def proxy(moto_s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    for name, value in moto_s3.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(update, "_PATIENCE_SECONDS", 0.1)
    with proxy_before(moto_s3.endpoint_url) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint_url)
        yield proxy


class Bucket:
    """A joblist of a bucket with two pages of names, whose copies are in a folder."""

    def __init__(self, server: S3Server, folder: Path) -> None:
        self.client, self.name = server.client, server.new_bucket()
        self.world = World(folder)
        self.names = [f"a/{number:03}" for number in range(130)]
        for name in (*self.names, "b/1", "b/2"):
            self.client.put_object(Bucket=self.name, Key=f"x/{name}", Body=name.encode())
        source = f"s3://{self.name}/x"
        jobtool.generate_joblist(
            source, self.world.joblist, destination=self.world.destination, layout="tree"
        )
        self.world.transfer()
        for name in ("a/001", "a/120"):
            self.client.delete_object(Bucket=self.name, Key=f"x/{name}")

    def whole(self) -> bool:
        return len(self.world.arrived()) == len(self.names) + 2


@pytest.fixture
def bucket(moto_s3: S3Server, proxy: Proxy, folder: Path) -> Bucket:
    return Bucket(moto_s3, folder)


def lists_a(request: Request) -> bool:
    """A page of the listing of the job a, not of the look for jobs."""
    is_listing = "list-type" in request.query and "delimiter" not in request.query
    return is_listing and request.query.get("prefix") == ["x/a/"] and is_long(request)


def is_long(request: Request) -> bool:
    return request.query.get("max-keys", ["1000"]) != ["1"]


def second_page(request: Request) -> bool:
    return lists_a(request) and "continuation-token" in request.query


def denied(request: Request, forward: Forward) -> Answer:
    return Answer(403, [], b"<Error><Code>AccessDenied</Code></Error>")


def _without(pattern: bytes):
    def happen(request: Request, forward: Forward) -> Answer:
        answer = forward(request)
        body = re.sub(rb"<Contents>.*?</Contents>", b"", answer.body, flags=re.DOTALL)
        if pattern:
            body = re.sub(pattern, b"", answer.body, flags=re.DOTALL)
        kept = [pair for pair in answer.headers if pair[0].lower() != "content-length"]
        return changed(answer, headers=kept, body=body)

    return happen


FAULTS = [
    *((lists_a, happen) for happen in (denied, reset)),
    *((second_page, happen) for happen in (denied, reset, truncate, internal_error)),
    (lists_a, _without(b"")),  # wrongly empty
]


def test_a_listing_of_a_bucket_that_fails(bucket: Bucket, proxy: Proxy) -> None:
    """Nothing is deleted, whatever the fault: each finds the joblist as it was."""
    for befalls, happen in FAULTS:
        fault = Fault(befalls, happen, times=10**6)
        proxy.faults[:] = [fault]
        is_empty = (befalls, happen) == FAULTS[-1]
        try:
            found = bucket.world.prune(max_delete=1000)
        except jobtool.InfrastructureError:
            assert not is_empty
        else:
            assert found.updated.deleted == 0, happen
            assert is_empty or found.exit_code == 1, happen
        assert fault.hits, happen
        assert bucket.whole(), happen
    proxy.faults.clear()
    assert bucket.world.prune().updated.deleted == 2
    assert not bucket.whole()


def test_a_listing_that_lacks_files(bucket: Bucket, proxy: Proxy) -> None:
    """Each file is asked for once more, by itself."""
    one = rb"<Contents>(?:(?!</Contents>).)*?<Key>x/a/0[1-4]\d</Key>.*?</Contents>"
    fault = Fault(lists_a, _without(one), times=10**6)
    proxy.faults.append(fault)
    found = bucket.world.prune(max_delete=1000)
    assert fault.hits
    assert found.updated.deleted == 2
    assert len(found.stays) == 40
    assert "expected nothing at" in reasons(found)
    assert len(bucket.world.arrived()) == len(bucket.names) + 2 - 2
