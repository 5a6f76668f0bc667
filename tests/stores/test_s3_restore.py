"""Archived objects: a restore is asked for once, and their job waits without being in error.

The server is moto, whose objects in GLACIER can't be read before they are restored.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from jobtool.errors import NotYetError, RefusedError, SourceError, UsageError
from jobtool.jobs.joblist import JobList
from jobtool.stores.registry import StoreRegistry
from jobtool.stores.s3.config import read_s3_table
from jobtool.stores.store import entry_of
from jobtool.transfer.partranges import MEBIBYTE
from jobtool.worker.environment import alone
from jobtool.worker.events import JobHandedBack, WorkerFinished
from jobtool.worker.loop import Worker
from jobtool.worker.options import WorkerOptions
from tests.commands import run, run_ok
from tests.faults.proxy import Answer, Fault, proxy_before
from tests.trees import contents, events, statuses

XML = [("Content-Type", "application/xml")]
ARCHIVED = b"<Error><Code>InvalidObjectState</Code><Message>in an archive</Message></Error>"
DENIED = b"<Error><Code>AccessDenied</Code><Message>not yours</Message></Error>"
ALREADY = b"<Error><Code>RestoreAlreadyInProgress</Code><Message>wait</Message></Error>"

OBJECTS = {
    "item000/0.bin": b"zero",
    "item000/.zattrs": b"{}",
    "item000/large.bin": bytes(range(256)) * 25_000,  # 6.4 MB, in parts
    "item000/deep/1.bin": b"one",
    "item000/ready.bin": b"not archived",
    "item001/0.bin": b"another job",
}
COLD = [key for key in OBJECTS if key.startswith("item000/") and key != "item000/ready.bin"]


@pytest.fixture
def archive(moto_s3):
    """A bucket with archived objects, and a function that ends their restores."""
    from moto.core import DEFAULT_ACCOUNT_ID
    from moto.moto_api import state_manager
    from moto.s3.models import s3_backends

    bucket = moto_s3.new_bucket()
    for key, data in OBJECTS.items():
        kind = "GLACIER" if key in COLD else "STANDARD"
        moto_s3.client.put_object(Bucket=bucket, Key=key, Body=data, StorageClass=kind)
    keys = s3_backends[DEFAULT_ACCOUNT_ID]["aws"].buckets[bucket].keys

    def set_status(status: str) -> None:
        for key in COLD:
            keys[key].status = status

    state_manager.set_transition("s3::keyrestore", {"progression": "manual", "times": 10**9})
    set_status("IN_PROGRESS")
    yield bucket, lambda: set_status("RESTORED")
    state_manager.unset_transition("s3::keyrestore")


class Asked:
    """Records the restores that are asked for, and lets them pass."""

    def __init__(self):
        self.requests = []
        self.fault = Fault(lambda request: "restore" in request.query, self.record, 10**9)

    def record(self, request, forward):
        self.requests.append((request.path.split("/", 2)[2], request.body.decode()))
        return forward(request)


class Clock:
    def __init__(self):
        self.now = datetime(2026, 11, 27, 4, tzinfo=UTC)

    def __call__(self):
        return self.now


def work(joblist: Path, clock: Clock) -> tuple[int, list]:
    """Run a worker by a clock. Return its exit code and its events."""
    told: list = []
    options = WorkerOptions(part_bytes=5 * MEBIBYTE, now=clock)
    code = Worker(JobList.open(str(joblist)), alone(os.environ), options, told.append).run()
    return code, told


def test_a_job_waits_for_its_objects_and_the_others_go_on(
    tmp_path, moto_s3, archive, monkeypatch
) -> None:
    bucket, end_restores = archive
    asked, clock, joblist = Asked(), Clock(), tmp_path / "list"
    with proxy_before(moto_s3.endpoint_url, asked.fault) as proxy:
        env = moto_s3.environment | {"AWS_ENDPOINT_URL": proxy.endpoint_url}
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        paths = ("-i", f"s3://{bucket}", "-o", joblist, "-d", tmp_path / "out", "-l", "tree")
        table = ("s3.source.restore_days=3", "s3.source.restore_tier=Bulk")
        settings = [word for each in table for word in ("--set", each)]
        run_ok("generate-joblist", *paths, *settings, env=env)

        code, told = work(joblist, clock)
        assert code == 5
        assert statuses(joblist) == {"item000": "todo", "item001": "success"}
        # All objects at the first attempt, metadata too.
        assert sorted(key for key, _ in asked.requests) == sorted(COLD)
        assert all("<Days>3</Days>" in body for _, body in asked.requests)
        assert all("<Tier>Bulk</Tier>" in body for _, body in asked.requests)
        arrived = contents(tmp_path / "out")
        assert sorted(arrived) == ["item000/ready.bin", "item001/0.bin"]
        (back,) = [event for event in told if isinstance(event, JobHandedBack)]
        assert (back.waiting_files, back.not_before) == (4, "2026-11-27T04:30:00Z")
        assert "it is archived (GLACIER), and a restore was asked for (and 3 more" in back.text()
        assert isinstance(told[-1], WorkerFinished)
        assert "from 2026-11-27T04:30:00Z on: transfer-worker" in told[-1].text()
        jobfile = joblist / "item000.txt"
        job, _ = JobList.open(str(joblist)).load("item000")
        assert (job.attempts, job.failures, job.hand_backs) == (1, 0, 0)

        clock.now += timedelta(minutes=29)
        assert work(joblist, clock)[0] == 5
        assert len(events(jobfile, "claimed")) == 1, "it was taken up before its time"

        clock.now += timedelta(minutes=1)
        assert work(joblist, clock)[0] == 5
        assert len(events(jobfile, "claimed")) == 2
        assert len(asked.requests) == len(COLD), "an object was asked for twice"
        summary = run_ok("summarise-jobs", "-i", joblist)
        assert "wait for 4 file(s) that can't be read yet: 1, as item000: " in summary.stdout

        end_restores()
        clock.now += timedelta(minutes=30)
        code, told = work(joblist, clock)
    assert code == 0
    assert statuses(joblist) == {"item000": "success", "item001": "success"}
    assert contents(tmp_path / "out") == OBJECTS
    assert len(asked.requests) == len(COLD)


def test_without_the_setting_the_error_names_it(tmp_path, moto_s3, archive) -> None:
    bucket, _ = archive
    paths = ("-i", f"s3://{bucket}", "-o", tmp_path / "list", "-d", tmp_path / "out", "-l", "tree")
    run_ok("generate-joblist", *paths, env=moto_s3.environment)
    done = run("transfer-worker", "-i", tmp_path / "list", env=moto_s3.environment)
    assert done.exit_code == 1
    assert "set [s3] restore_days in joblist.toml" in done.stdout + done.stderr
    assert statuses(tmp_path / "list") == {"item000": "error", "item001": "success"}


def read_behind(server, monkeypatch, bucket, key, *faults, **table):
    """Read an object through a proxy with faults."""
    with proxy_before(server.endpoint_url, *faults) as proxy:
        for name, value in (server.environment | {"AWS_ENDPOINT_URL": proxy.endpoint_url}).items():
            monkeypatch.setenv(name, value)
        store = StoreRegistry({"s3": table}).open(f"s3://{bucket}", "source")
        return store.read(entry_of(store, key), 0, 1)


def answering(status: int, body: bytes) -> Fault:
    return Fault(lambda got: "restore" in got.query, lambda *_: Answer(status, XML, body), 9)


def test_an_object_that_another_worker_has_just_asked_for_waits(
    moto_s3, archive, monkeypatch
) -> None:
    with pytest.raises(NotYetError, match="a restore was asked for") as raised:
        read_behind(
            moto_s3,
            monkeypatch,
            archive[0],
            COLD[0],
            answering(409, ALREADY),
            restore_days=1,
            restore_check_seconds=60,
        )
    assert raised.value.seconds == 60


def test_a_refusal_names_the_permission(moto_s3, archive, monkeypatch) -> None:
    denied = answering(403, DENIED)
    with pytest.raises(RefusedError, match="s3:RestoreObject"):
        read_behind(moto_s3, monkeypatch, archive[0], COLD[0], denied, restore_days=1)


def test_an_archive_tier_of_intelligent_tiering_takes_no_days(
    moto_s3, archive, monkeypatch
) -> None:
    bodies = []

    def head(request, forward):
        answer = forward(request)
        tier = [
            ("x-amz-storage-class", "INTELLIGENT_TIERING"),
            ("x-amz-archive-status", "DEEP_ARCHIVE_ACCESS"),
        ]
        return Answer(answer.status, [*answer.headers, *tier], answer.body)

    def accept(request, forward):
        bodies.append(request.body)
        return Answer(202, [], b"")

    faults = [
        Fault(lambda got: got.is_get, lambda *_: Answer(403, XML, ARCHIVED), 9),
        Fault(lambda got: got.method == "HEAD", head, 9),
        Fault(lambda got: "restore" in got.query, accept, 9),
    ]
    with pytest.raises(NotYetError, match="DEEP_ARCHIVE_ACCESS"):
        read_behind(moto_s3, monkeypatch, archive[0], "item001/0.bin", *faults, restore_days=1)
    assert len(bodies) == 1
    assert b"Days" not in bodies[0]


def test_only_sources_are_restored() -> None:
    table = {"restore_days": 3, "restore_tier": "Bulk"}
    assert read_s3_table(table, "source").restore_days == 3
    assert read_s3_table(table, "destination").restore_days is None


def test_a_tier_without_days_is_refused() -> None:
    with pytest.raises(UsageError, match="restore_tier needs restore_days"):
        read_s3_table({"restore_tier": "Bulk"}, "source")


def test_a_destination_that_is_archived_is_an_error(moto_s3, archive, monkeypatch) -> None:
    for name, value in moto_s3.environment.items():
        monkeypatch.setenv(name, value)
    store = StoreRegistry({"s3": {"restore_days": 3}}).open(f"s3://{archive[0]}", "destination")
    with pytest.raises(SourceError, match="it is archived"):
        store.digest(COLD[0])
