"""Files that an earlier attempt has listed and that are gone from the source."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobtool.errors import NotFoundError
from jobtool.jobs.records import IntentRecord, ListingRecord, Receipt, quoted, unquoted
from jobtool.stores.memory import Memory, MemoryStore
from jobtool.transfer.earlier import Earlier, listing_records
from jobtool.transfer.existing import Existing
from jobtool.transfer.plan import Lane, Plan
from jobtool.transfer.resume import Resumption, fold
from tests.stores.raw import MemoryRaw


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
    plan.start_lane(Lane(source, destination or MemoryStore(Memory(), "memory://b")))
    plan.is_tree = is_tree
    for entry in source.list():
        plan.add(entry)
    return plan


def taken_up(plan, records, *, accept_gone=False):
    state, earlier = Resumption.fresh(len(plan)), Earlier(plan)
    fold(state, plan, records, earlier.note)
    earlier.settle(state, accept_gone=accept_gone)
    state.confirm(plan, Existing(plan))
    return state


def names(plan):
    return [failure.path for failure in plan.failures]


def test_a_file_that_was_listed_and_is_gone_is_a_failure_that_names_it():
    before = plan_of(["a", "b", "c"])
    records = list(listing_records(before, bytearray(3)))
    plan = plan_of(["a", "c"])
    taken_up(plan, records)
    assert names(plan) == ["memory://a/b"]
    assert "gone" in str(plan.failures[0].error)
    assert "--if-gone ignore" in str(plan.failures[0].error)


def test_what_is_gone_is_left_out_if_told():
    records = list(listing_records(plan_of(["a", "b"]), bytearray(2)))
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
    records = [*listing_records(plan_of(["a", "b"]), bytearray(2)), receipt_of("b")]
    state = taken_up(plan, records)
    assert names(plan) == []
    assert [plan.item(number).entry.path for number in range(2)] == ["a", "b"]
    assert list(state.done) == [0, 1]
    destination.delete("b")
    plan = plan_of(["a"], destination)
    assert list(taken_up(plan, records).done) == [0, 0]  # the worker finds no source, and says so


def test_a_named_file_that_is_proven_and_gone_is_no_failure():
    destination = MemoryStore(Memory(), "memory://b")
    MemoryRaw(destination.memory, "").write("b", b"1")
    plan = plan_of(["a"], destination, is_tree=False)
    for path in ("memory://a/b", "memory://a/c"):
        plan.fail(path, NotFoundError("nothing there"))
    state = taken_up(plan, [receipt_of("b")])
    assert names(plan) == ["memory://a/c"]
    assert list(state.done) == [0, 1]


def test_records_of_another_source_or_destination_say_nothing():
    before = plan_of(["a", "b"])
    (record,) = listing_records(before, bytearray(2))
    other = ListingRecord(src_path="memory://x", dst_path="memory://b", names=record.names)
    intent = IntentRecord(src_path="memory://x/b", dst_path="memory://b/b", at_ns=1)
    plan = plan_of(["a"])
    taken_up(plan, [other, intent])
    assert names(plan) == []


def test_below_what_cannot_be_listed_nothing_counts_as_gone():
    records = list(listing_records(plan_of(["a", "d/b"]), bytearray(2)))
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
    records = [unquoted(quoted(record)) for record in listing_records(plan, done)]
    empty = plan_of([])
    taken_up(empty, records)
    kept = [
        empty.lanes[0].source.url_of(path)
        for path, flag in zip(paths, done, strict=True)
        if not flag
    ]
    assert sorted(names(empty)) == sorted(kept)


def test_a_long_listing_is_recorded_in_several_lines():
    plan = plan_of([f"{number:0200d}" for number in range(1000)])
    records = list(listing_records(plan, bytearray(1000)))
    assert len(records) > 1
    assert all(len(record.names) < 128 * 1024 for record in records)


def test_a_forged_listing_is_passed_over():
    forged = ListingRecord(src_path="memory://a", dst_path="memory://b", names=b"no zlib")
    plan = plan_of(["a"])
    taken_up(plan, [forged])
    assert names(plan) == []
