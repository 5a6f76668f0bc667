"""Files that an earlier attempt has listed and that are gone from the source."""

from __future__ import annotations

import os
import zlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobtool.errors import NotFoundError
from jobtool.jobs.journal import Journal
from jobtool.jobs.records import IntentRecord, ListingRecord, Receipt, quoted, unquoted
from jobtool.stores.memory import Memory, MemoryStore
from jobtool.stores.store import Entry
from jobtool.transfer.ledger import Ledger
from jobtool.transfer.ledger.gone import Gone
from jobtool.transfer.ledger.listings import listing_records
from jobtool.transfer.plan import Failure, Plan, Route
from jobtool.transfer.retry import Retry
from tests.stores.raw import MemoryRaw
from tests.transfer.states import proven_of


def receipt_of(path, size=1, hashsum_dst="0" * 32):
    return Receipt(
        src_path=f"memory://a/{path}",
        dst_path=f"memory://b/{path}",
        size=size,
        mtime_ns=1,
        hashsum_src="0" * 32,
        hashsum_dst=hashsum_dst,
        verified_by="read-back",
        verified_at="2026-01-01T00:00:00Z",
        worker="w",
        attempt=1,
    )


def plan_of(paths, destination=None, *, is_tree=True):
    source = MemoryStore(Memory(), "memory://a")
    for path in paths:
        MemoryRaw(source.memory, "").write(path, b"1", mtime_ns=1)
    plan = Plan()
    plan.start_route(Route(source, destination or MemoryStore(Memory(), "memory://b")))
    plan.is_tree = is_tree
    for entry in source.list():
        plan.add(entry)
    return plan


def folded(plan, records, journal=None):
    ledger = Ledger(plan, journal or Journal(os.devnull))
    gone = Gone(ledger)
    ledger.fold(records, gone.note)
    return ledger, gone


def taken_up(plan, records, *, accept_gone=False):
    ledger, gone = folded(plan, records)
    gone.settle(accept_gone=accept_gone)
    ledger.compare(Retry.never())
    return ledger


def names(plan):
    return [failure.path for failure in plan.failures]


def fail(plan, path, destination=None):
    failure = Failure(
        path=f"memory://a/{path}",
        error=NotFoundError("nothing there"),
        destination=f"memory://b/{destination or path}",
    )
    plan.failures.append(failure)


def test_a_file_that_was_listed_and_is_gone_is_a_failure_that_names_it():
    before = plan_of(["a", "b", "c"])
    records = list(listing_records(before, range(3)))
    plan = plan_of(["a", "c"])
    taken_up(plan, records)
    assert names(plan) == ["memory://a/b"]
    assert "memory://a/b was there at an earlier attempt" in str(plan.failures[0].error)
    assert "--if-gone ignore" in str(plan.failures[0].error)


def test_what_is_gone_is_left_out_if_told():
    records = list(listing_records(plan_of(["a", "b"]), range(2)))
    plan = plan_of(["a"])
    taken_up(plan, records, accept_gone=True)
    assert names(plan) == []
    assert len(plan) == 1


@pytest.mark.parametrize("kind", ["intent", "broken receipt"])
def test_every_record_that_names_a_file_counts_as_listed(kind):
    record = receipt_of("b", hashsum_dst="1" * 32)
    if kind == "intent":
        record = IntentRecord(src_path="memory://a/b", dst_path="memory://b/b", at_ns=1)
    plan = plan_of(["a"])
    taken_up(plan, [record])
    assert names(plan) == ["memory://a/b"]


def test_what_is_proven_and_gone_is_done_as_long_as_the_destination_holds_it():
    destination = MemoryStore(Memory(), "memory://b")
    MemoryRaw(destination.memory, "").write("b", b"1")
    plan = plan_of(["a"], destination)
    records = [*listing_records(plan_of(["a", "b"]), range(2)), receipt_of("b")]
    state = taken_up(plan, records)
    assert names(plan) == []
    assert [plan.item(number).entry.path for number in range(2)] == ["a", "b"]
    assert proven_of(state) == [0, 1]
    destination.delete("b")
    plan = plan_of(["a"], destination)
    assert proven_of(taken_up(plan, records)) == [0, 0]  # the worker finds no source, and says so


@pytest.mark.parametrize("accept_gone", [False, True])
def test_a_named_file_that_is_proven_and_gone_is_no_failure(accept_gone):
    destination = MemoryStore(Memory(), "memory://b")
    MemoryRaw(destination.memory, "").write("b", b"1")
    plan = plan_of(["a"], destination, is_tree=False)
    fail(plan, "b")
    fail(plan, "c")
    state = taken_up(plan, [receipt_of("b")], accept_gone=accept_gone)
    assert names(plan) == ["memory://a/c"]
    assert proven_of(state) == [0, 1]


def test_a_file_that_goes_to_two_places_and_is_gone_has_arrived_only_where_it_is_proven():
    destination = MemoryStore(Memory(), "memory://b")
    MemoryRaw(destination.memory, "").write("b", b"1")
    plan = plan_of(["a"], destination, is_tree=False)
    fail(plan, "b")
    fail(plan, "b", "elsewhere/b")
    taken_up(plan, [receipt_of("b")])
    assert [failure.destination for failure in plan.failures] == ["memory://b/elsewhere/b"]


@pytest.mark.parametrize("place", ["b", "c"])
def test_a_named_file_that_is_proven_and_gone_belongs_to_the_stores_that_it_went_between(place):
    plan = plan_of([], is_tree=False)
    (route,) = plan.routes
    plan.start_route(Route(route.source, MemoryStore(Memory(), "memory://c")))
    url = f"memory://{place}/gone"
    plan.failures.append(
        Failure(path="memory://a/gone", error=NotFoundError("nothing there"), destination=url)
    )
    _, gone = folded(plan, [msgspec.structs.replace(receipt_of("gone"), dst_path=url)])
    gone.settle(accept_gone=False)
    assert plan.failures == []
    assert (plan.item(0).source_url, plan.item(0).destination_url) == ("memory://a/gone", url)


def test_records_of_another_source_or_destination_say_nothing():
    before = plan_of(["a", "b"])
    (record,) = listing_records(before, range(2))
    other = ListingRecord(src_path="memory://x", dst_path="memory://b", names=record.names)
    intent = IntentRecord(src_path="memory://x/b", dst_path="memory://b/b", at_ns=1)
    plan = plan_of(["a"])
    taken_up(plan, [other, intent])
    assert names(plan) == []


def test_records_of_a_file_that_went_under_another_name_say_nothing_of_a_tree():
    record = receipt_of("b")
    other = IntentRecord(src_path=record.src_path, dst_path="memory://b/elsewhere/b", at_ns=1)
    plan = plan_of(["a"])
    taken_up(plan, [other])
    assert names(plan) == []


def test_each_name_is_recorded_once_also_of_files_that_are_new_since(tmp_path):
    recorded = list(listing_records(plan_of(["b"]), [0]))
    plan = plan_of(["a", "b", "c"])
    journal = Journal(str(tmp_path / "job.jsonl"))
    ledger, _ = folded(plan, [*recorded, receipt_of("c")], journal)
    ledger.checkpoint()
    plan.add(Entry("d", 1, 1))
    ledger.grow()
    ledger.checkpoint()
    ledger.checkpoint()
    found = [zlib.decompress(record.names) for record in journal.read()]
    assert found == [b"a", b"d"]


def test_below_what_cannot_be_listed_nothing_counts_as_gone():
    records = list(listing_records(plan_of(["a", "d/b"]), range(2)))
    plan = plan_of(["a"])
    plan.fail("memory://a/d", NotFoundError("can't be listed"))
    taken_up(plan, records)
    assert names(plan) == ["memory://a/d"]


@given(st.sets(st.binary(min_size=1, max_size=300), max_size=60), st.randoms())
def test_a_listing_is_recorded_as_it_is_in_lines_of_bounded_length(found, random):
    good = sorted(name for name in found if not set(name) & set(b"\0/") and name.strip(b"."))
    paths = [os.fsdecode(name) for name in good]
    plan = plan_of(paths)
    done = bytearray(random.randrange(2) for _ in paths)
    numbers = [number for number, flag in enumerate(done) if not flag]
    records = [unquoted(quoted(record)) for record in listing_records(plan, numbers)]
    empty = plan_of([])
    taken_up(empty, records)
    kept = [
        empty.routes[0].source.url_of(path)
        for path, flag in zip(paths, done, strict=True)
        if not flag
    ]
    assert sorted(names(empty)) == sorted(kept)


def test_a_long_listing_is_recorded_in_several_lines():
    plan = plan_of([f"{number:0200d}" for number in range(1000)])
    records = list(listing_records(plan, range(1000)))
    assert len(records) > 1
    assert all(len(record.names) < 128 * 1024 for record in records)


def test_a_forged_listing_is_passed_over():
    forged = ListingRecord(src_path="memory://a", dst_path="memory://b", names=b"no zlib")
    plan = plan_of(["a"])
    taken_up(plan, [forged])
    assert names(plan) == []
