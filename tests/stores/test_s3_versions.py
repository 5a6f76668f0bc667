"""A source object that changes is never mixed with its former self; receipts name versions.

The server is moto. Objects are replaced by others of the same size and time, so that only their
ETags differ.
"""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest

from jobtool.jobs.joblist import JobList
from jobtool.stop import Stop
from jobtool.transfer.partranges import MEBIBYTE
from jobtool.worker.environment import alone
from jobtool.worker.loop import Worker
from jobtool.worker.options import WorkerOptions
from tests.commands import run_ok
from tests.faults.proxy import Fault, proxy_before
from tests.trees import contents, receipts, statuses

KEY = "item000/large.bin"
OLD = bytes(range(256)) * 90_000  # 23 MB: five parts
NEW = bytes(reversed(range(256))) * 90_000
PART_BYTES = 5 * MEBIBYTE


class Source:
    """A bucket of moto's with one object, which can be replaced without a new time."""

    def __init__(self, server, *, is_versioned: bool):
        from moto.core import DEFAULT_ACCOUNT_ID
        from moto.s3.models import s3_backends

        self.client, self.bucket = server.client, server.new_bucket()
        if is_versioned:
            version(server, self.bucket)
        self.client.put_object(Bucket=self.bucket, Key=KEY, Body=OLD)
        self._keys = s3_backends[DEFAULT_ACCOUNT_ID]["aws"].buckets[self.bucket].keys

    def replace(self) -> None:
        before = self._keys[KEY].last_modified
        self.client.put_object(Bucket=self.bucket, Key=KEY, Body=NEW)
        self._keys[KEY].last_modified = before

    @property
    def version(self) -> str | None:
        return self.client.head_object(Bucket=self.bucket, Key=KEY).get("VersionId")


def version(server, bucket: str) -> None:
    server.client.put_bucket_versioning(
        Bucket=bucket, VersioningConfiguration={"Status": "Enabled"}
    )


class Ranges:
    """Counts the ranges of the object that are read, and acts at the third."""

    def __init__(self, act, *, ignores_conditions: bool = False):
        self.conditions: list[str | None] = []
        self._act = act
        self._ignores = ignores_conditions
        self.fault = Fault(lambda got: got.is_get and got.path.endswith(KEY), self.read, 10**9)

    def read(self, request, forward):
        self.conditions.append(request.headers.get("if-match"))
        if len(self.conditions) == 3:
            self._act()
        if self._ignores:
            request.headers.pop("if-match", None)
        return forward(request)


def make_joblist(folder: Path, server, bucket: str, env, monkeypatch) -> Path:
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    paths = ("-i", f"s3://{bucket}", "-o", folder / "list", "-d", folder / "out", "-l", "tree")
    run_ok("generate-joblist", *paths, env=env)
    return folder / "list"


def work(joblist: Path, stop: Stop | None = None) -> int:
    options = WorkerOptions(part_bytes=PART_BYTES, stop=stop or Stop(), sleep=lambda seconds: None)
    return Worker(JobList.open(str(joblist)), alone(os.environ), options).run()


@pytest.mark.parametrize("ignores", [False, True], ids=["compares", "ignores-conditions"])
def test_an_object_that_is_replaced_while_it_is_read_is_read_again_from_its_beginning(
    tmp_path, moto_s3, monkeypatch, ignores
) -> None:
    source = Source(moto_s3, is_versioned=True)
    ranges = Ranges(source.replace, ignores_conditions=ignores)
    with proxy_before(moto_s3.endpoint_url, ranges.fault) as proxy:
        env = moto_s3.environment | {"AWS_ENDPOINT_URL": proxy.endpoint_url}
        joblist = make_joblist(tmp_path, moto_s3, source.bucket, env, monkeypatch)
        assert work(joblist) == 0
    assert contents(tmp_path / "out") == {KEY: NEW}
    (receipt,) = receipts(joblist)
    assert (receipt.source_version, receipt.version) == (source.version, None)
    # The first read of each try takes what is there, the others no other object.
    assert [condition is None for condition in ranges.conditions[:5]] == [
        True,
        False,
        False,
        True,
        False,
    ]


def test_an_object_that_is_replaced_between_two_attempts_is_read_again(
    tmp_path, moto_s3, monkeypatch
) -> None:
    source, stop = Source(moto_s3, is_versioned=False), Stop()
    ranges = Ranges(lambda: stop.set("enough"))
    with proxy_before(moto_s3.endpoint_url, ranges.fault) as proxy:
        env = moto_s3.environment | {"AWS_ENDPOINT_URL": proxy.endpoint_url}
        joblist = make_joblist(tmp_path, moto_s3, source.bucket, env, monkeypatch)
        assert work(joblist, stop) == 3
        assert "large.bin" in (joblist / "journals" / "item000.jsonl").read_text()
        source.replace()
        first_attempt = len(ranges.conditions)
        assert work(joblist) == 0
    assert ranges.conditions[first_attempt] is not None, "it went on with whatever was there"
    assert contents(tmp_path / "out") == {KEY: NEW}
    (receipt,) = receipts(joblist)
    assert (receipt.source_version, receipt.version) == (None, None)


def test_an_unchanged_object_is_not_read_again_after_a_stop(tmp_path, moto_s3, monkeypatch) -> None:
    source, stop = Source(moto_s3, is_versioned=True), Stop()
    ranges = Ranges(lambda: stop.set("enough"))
    with proxy_before(moto_s3.endpoint_url, ranges.fault) as proxy:
        env = moto_s3.environment | {"AWS_ENDPOINT_URL": proxy.endpoint_url}
        joblist = make_joblist(tmp_path, moto_s3, source.bucket, env, monkeypatch)
        assert work(joblist, stop) == 3
        assert work(joblist) == 0
    assert contents(tmp_path / "out") == {KEY: OLD}
    (receipt,) = receipts(joblist)
    assert receipt.source_version == source.version


def test_receipts_name_the_versions_that_were_read_and_written(
    tmp_path, moto_s3, monkeypatch
) -> None:
    source, destination = Source(moto_s3, is_versioned=True), moto_s3.new_bucket()
    small = moto_s3.client.put_object(Bucket=source.bucket, Key="item000/small", Body=b"small")
    version(moto_s3, destination)
    for name, value in moto_s3.environment.items():
        monkeypatch.setenv(name, value)
    joblist = tmp_path / "list"
    paths = ("-i", f"s3://{source.bucket}", "-o", joblist, "-d", f"s3://{destination}")
    run_ok("generate-joblist", *paths, "-l", "tree")
    assert work(joblist) == 0
    assert statuses(joblist) == {"item000": "success"}
    versions = {
        key: moto_s3.client.head_object(Bucket=destination, Key=key)["VersionId"]
        for key in (KEY, "item000/small")
    }
    found = {
        receipt.dst_path.partition(f"{destination}/")[2]: receipt for receipt in receipts(joblist)
    }
    assert found["item000/small"].source_version == small["VersionId"]
    assert found[KEY].source_version == source.version
    assert {key: receipt.version for key, receipt in found.items()} == versions
    run_ok("jobtool", "receipts", joblist, "-o", tmp_path / "all.csv")
    with (tmp_path / "all.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["version"] for row in rows} == set(versions.values())
    assert {row["source_version"] for row in rows} == {source.version, small["VersionId"]}
