"""Files that are sent while their tree is still being listed."""

from __future__ import annotations

import threading

import pytest

from jobtool.errors import FileError, NotYetError, SourceError, UnreachableError
from jobtool.jobs.journal import Journal
from jobtool.jobs.records import Receipt
from jobtool.stop import Stop
from jobtool.stores.memory import Memory, MemoryStore
from jobtool.stores.store import Special, Unlisted
from jobtool.transfer import run as run_module
from jobtool.transfer.copy import Copier
from jobtool.transfer.ledger import Ledger
from jobtool.transfer.partranges import MEBIBYTE
from jobtool.transfer.plan import Plan, Route
from jobtool.transfer.retry import Retry
from jobtool.transfer.run import JobTransfer
from jobtool.transfer.treelisting import TreeListing
from tests.stores.raw import MemoryRaw

SMALL = {f"{number:03d}": f"{number}".encode() for number in range(200)}
TREE = {**SMALL, "large": b"x" * (MEBIBYTE + 1), "zarr.json": b"{}", "000.zgroup/zarr.json": b"{}"}
WAIT_SECONDS = 30


class SlowSource(MemoryStore):
    """Lists its first entries, then waits for ``gate``, or fails there once."""

    first = 150
    error: Exception | None = None
    extra: tuple = ()

    def list(self):
        for count, entry in enumerate(super().list()):
            if count == self.first:
                if self.error is not None:
                    error, self.error = self.error, None
                    raise error
                assert self.gate.wait(WAIT_SECONDS)
            yield entry
        yield from self.extra


class World:
    def __init__(self, folder, tree=TREE):
        self.source = SlowSource(Memory(), "memory://a")
        for path, data in tree.items():
            MemoryRaw(self.source.memory, "").write(path, data, mtime_ns=1)
        self.source.gate = threading.Event()
        self.destination = MemoryStore(Memory(), "memory://b")
        self.journal = Journal(str(folder / "job.jsonl"))
        self.stop = Stop()
        self.listed = []

    @property
    def arrived(self):
        return list(self.destination.memory.files)

    def run(self, on_file=None, on_tick=None):
        plan = Plan()
        route = Route(self.source, self.destination)
        plan.start_route(route)
        plan.is_tree = True
        copier = Copier(threads=2, part_bytes=MEBIBYTE)
        transfer = JobTransfer(
            Ledger(plan, self.journal),
            copier,
            threads=2,
            worker="w",
            stop=self.stop,
            retry=Retry(tries=3, stop=self.stop, sleep=lambda seconds: None),
            on_file=on_file,
            listing=TreeListing(
                plan, route, lambda plan: None, Retry(stop=self.stop, sleep=lambda seconds: None)
            ),
            on_listed=lambda: self.listed.append(list(self.arrived)),
        )
        try:
            transfer.run(on_tick or (lambda progress: None))
        finally:
            copier.close()
            self.journal.close()
        return transfer


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.setattr(run_module, "HEAD_START_SECONDS", 0.0)
    return World(tmp_path)


def test_small_files_go_before_the_rest_is_listed_and_large_ones_and_metadata_after(world):
    def open_the_gate_once_files_have_arrived(progress):
        if len(world.arrived) >= 100:
            world.source.gate.set()

    transfer = world.run(on_tick=open_the_gate_once_files_have_arrived)
    assert transfer.is_complete
    (before,) = world.listed
    assert len(before) >= 100
    assert not {"large", "zarr.json", "000.zgroup/zarr.json"} & set(before)
    assert set(world.arrived) == set(TREE)
    assert world.arrived[-2:] == ["000.zgroup/zarr.json", "zarr.json"]
    receipts = [record for record in world.journal.read() if isinstance(record, Receipt)]
    assert sorted(receipt.src_path for receipt in receipts) == sorted(
        f"memory://a/{path}" for path in TREE
    )


def test_large_files_go_although_small_ones_can_not_be_read_yet_and_metadata_is_asked_for(world):
    cold = {f"{number:03d}" for number in range(10)}
    asked = []

    def read(entry, offset, length):
        asked.append(entry.path)
        if entry.path in cold or entry.path == "zarr.json":
            raise NotYetError("on tape", seconds=60 if entry.path == "003" else 600)
        return SlowSource.read(world.source, entry, offset, length)

    world.source.read = read

    def open_the_gate_once_files_were_asked_for(progress):
        if cold <= set(asked):
            world.source.gate.set()

    transfer = world.run(on_tick=open_the_gate_once_files_were_asked_for)
    assert set(world.arrived) == TREE.keys() - cold - {"zarr.json", "000.zgroup/zarr.json"}
    assert not transfer.is_complete
    assert transfer.failures == []
    assert (transfer.not_yet.files, transfer.not_yet.seconds) == (11, 60)
    assert all(asked.count(path) == 1 for path in cold), "a file was asked for twice"


def test_a_stop_in_the_middle_of_listing_is_not_complete(world):
    """All listed files may have arrived, but not all files are listed."""

    def stop_once_all_that_is_listed_has_arrived(progress):
        if len(world.arrived) >= 149:
            world.stop.set()
            world.source.gate.set()

    transfer = world.run(on_tick=stop_once_all_that_is_listed_has_arrived)
    assert not transfer.is_complete
    assert transfer.failures == []
    assert len(world.arrived) < len(TREE)
    assert world.listed == []


def test_a_listing_that_fails_for_a_moment_goes_on_where_it_was(world):
    world.source.gate.set()
    world.source.error = UnreachableError("503")
    transfer = world.run()
    assert transfer.is_complete
    assert set(world.arrived) == set(TREE)
    receipts = [record for record in world.journal.read() if isinstance(record, Receipt)]
    assert len(receipts) == len(TREE)


def test_a_listing_that_fails_for_good_fails_the_job_and_keeps_the_receipts(world):
    world.source.error = SourceError("no such folder")
    with pytest.raises(SourceError, match="no such folder"):
        world.run()
    receipts = [record for record in world.journal.read() if isinstance(record, Receipt)]
    assert {receipt.dst_path for receipt in receipts} == {
        f"memory://b/{path}" for path in world.arrived
    }


def test_what_cannot_be_listed_is_a_failure_of_its_own(world):
    world.source.gate.set()
    world.source.extra = (
        Unlisted("~private", FileError("can't read ~private")),
        Special("~pipe", "pipe"),
    )
    transfer = world.run()
    assert [failure.path for failure in transfer.failures] == ["memory://a/~private"]
    assert not transfer.is_complete
    assert set(world.arrived) == set(TREE) - {"zarr.json", "000.zgroup/zarr.json"}
