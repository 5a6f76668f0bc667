"""The ledger: what it counts, what it absorbs from helpers, what it writes to disk."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from jobtool.jobs.journal import Journal
from jobtool.jobs.records import IntentRecord, ListingRecord, PartRecord, Receipt, UploadRecord
from jobtool.stores.memory import Memory, MemoryStore
from jobtool.stores.store import Attributes, Entry, Part, Upload
from jobtool.transfer.decision import Action, Held, decide
from jobtool.transfer.ledger import Ledger
from jobtool.transfer.ledger.destination import MISSING, UNKNOWN
from jobtool.transfer.ledger.listings import paths_in
from jobtool.transfer.plan import Plan, Route
from jobtool.transfer.retry import Retry
from tests.stores.raw import MemoryRaw

PATHS = ("a", "b", "c")


def plan_of(paths=PATHS, destination=None):
    plan = Plan()
    plan.is_tree = True
    store = destination or MemoryStore(Memory(), "memory://b")
    plan.start_route(Route(MemoryStore(Memory(), "memory://a"), store))
    for size, path in enumerate(paths, start=1):
        plan.add(Entry(path, size, 1))
    return plan


def receipt(path, size):
    return Receipt(
        src_path=f"memory://a/{path}",
        dst_path=f"memory://b/{path}",
        size=size,
        mtime_ns=1,
        hashsum_src="",
        hashsum_dst="",
        verified_by="read-back",
        verified_at="2026-11-20T14:31:00Z",
        worker="w",
        attempt=1,
    )


def upload(path, size, token="t"):
    return UploadRecord(
        src_path=f"memory://a/{path}",
        dst_path=f"memory://b/{path}",
        size=size,
        mtime_ns=1,
        part_size=1,
        token=token,
    )


def part(number, token="t"):
    return PartRecord(token=token, number=number, offset=number - 1, size=1, md5="0" * 32)


receipts = st.lists(st.builds(receipt, st.sampled_from(PATHS), st.integers(1, 3)))


@given(receipts, receipts, st.dictionaries(st.sampled_from(PATHS), st.integers(0, 3)))
def test_what_is_counted_is_what_is_proven(tmp_path_factory, recorded, absorbed, there):
    destination = MemoryStore(Memory(), "memory://b")
    for path, size in there.items():
        MemoryRaw(destination.memory, "").write(path, b"x" * size)
    plan = plan_of(destination=destination)
    ledger = Ledger(plan, Journal(str(tmp_path_factory.mktemp("journal") / "job.jsonl")))
    ledger.fold(recorded)
    ledger.compare(Retry.never())
    ledger.absorb(absorbed)
    proven = [number for number in range(len(plan)) if ledger.is_proven(number)]
    assert ledger.files_proven == len(proven)
    assert ledger.bytes_proven == sum(map(plan.size_of, proven))
    assert [*ledger.undone()] == [number for number in range(len(plan)) if number not in proven]
    for number in range(len(plan)):
        is_over = number in proven
        assert (decide(ledger.known(number), "verify") is Action.SKIP) == is_over


def test_what_others_have_recorded_is_taken_over_and_on_disk_at_once(tmp_path):
    journal = Journal(str(tmp_path / "job.jsonl"))
    ledger = Ledger(plan_of(), journal)
    records = [receipt("a", 1), upload("c", 3), part(2)]
    ledger.absorb(iter(records))
    assert [*journal.read()] == records
    assert ledger.is_proven(0)
    assert ledger.upload_of(2).parts == {2: part(2)}
    ledger.absorb([part(1)])  # of an upload that is known already
    assert [*ledger.upload_of(2).parts] == [2, 1]
    assert ledger.parts_bytes == 2
    assert [*journal.read()] == [*records, part(1)]


def test_a_file_that_has_failed_is_not_undone_but_its_name_is_kept(tmp_path):
    journal = Journal(str(tmp_path / "job.jsonl"))
    ledger = Ledger(plan_of(), journal)
    ledger.fail(1)
    ledger.prove(0, receipt("a", 1))
    assert [*ledger.undone()] == [2]
    assert [*ledger.undone([1, 2])] == [2]
    ledger.checkpoint()
    found = [*journal.read()]
    assert [type(record) for record in found] == [Receipt, ListingRecord]


def test_nothing_is_on_disk_before_the_destination_was_synced(tmp_path):
    journal = Journal(str(tmp_path / "job.jsonl"))
    seen = []

    class Destination(MemoryStore):
        def sync(self):
            seen.append([*journal.read()])

    ledger = Ledger(plan_of(destination=Destination(Memory(), "memory://b")), journal)
    ledger.prove(0, receipt("a", 1))
    ledger.flush()
    assert seen == [[]]
    assert [*journal.read()] == [receipt("a", 1)]


def test_what_another_has_found_out_of_the_destination_counts(tmp_path):
    ledger = Ledger(plan_of(), Journal(str(tmp_path / "job.jsonl")), attempt=2)
    ledger.note_destination([MISSING, UNKNOWN, 3], [False, False, True])
    known = [ledger.known(number) for number in range(3)]
    assert [one.held for one in known] == [Held.NOTHING, Held.UNKNOWN, Held.SAME_SIZE]
    assert [one.is_ours for one in known] == [False, False, True]
    assert all(one.is_taken_up for one in known)
    first = Ledger(plan_of(), Journal(str(tmp_path / "other.jsonl")))
    assert not any(first.known(number).is_taken_up for number in range(3))


def test_a_file_that_is_another_now_has_no_upload_that_can_be_gone_on_with(tmp_path):
    ledger = Ledger(plan_of(), Journal(str(tmp_path / "job.jsonl")))
    ledger.fold([upload("c", 3), part(1)])
    assert ledger.known(2).has_upload
    dropped = ledger.change(2, Entry("c", 5, 2))
    assert dropped.record == upload("c", 3)
    assert not ledger.known(2).has_upload
    assert ledger.plan.size_of(2) == 5


def test_parts_of_a_file_are_noted_as_their_records(tmp_path):
    journal = Journal(str(tmp_path / "job.jsonl"))
    ledger = Ledger(plan_of(), journal)
    assert not ledger.has_begun_uploads
    item = ledger.plan.item(2)
    log = ledger.log_of(2, item)
    assert log.beginning() is None
    (intent,) = journal.read()  # on disk before the upload is begun
    assert (intent.src_path, intent.dst_path) == ("memory://a/c", "memory://b/c")
    assert ledger.intended_ns(2) == intent.at_ns
    assert log.beginning() == intent.at_ns, "the answer of the earlier try was lost"
    assert ledger.intended_ns(2) == intent.at_ns
    log.begun(Upload(path="c", token="t", attributes=Attributes(mtime_ns=1)), 1)
    assert ledger.has_begun_uploads
    assert ledger.intended_ns(2) is None
    assert [*journal.read()][2:] == [upload("c", 3)], "on disk at once"
    log.sent(Part(number=2, offset=1, size=1, md5="0" * 32))
    ledger.flush()
    assert [*journal.read()][-1] == part(2)
    assert log.under_way.at("c").token == "t"
    log.dropped()
    assert ledger.upload_of(2) is None


@pytest.mark.parametrize("later", [upload("a", 1), receipt("a", 1)], ids=["upload", "receipt"])
def test_what_follows_an_intent_says_what_became_of_it(tmp_path, later):
    ledger = Ledger(plan_of(), Journal(str(tmp_path / "job.jsonl")))
    given = IntentRecord(
        src_path="memory://a/a", dst_path="memory://b/a", at_ns=7, has_file=False, method="cp"
    )
    ledger.fold([given])
    assert ledger.intended_ns(0) == 7
    assert ledger.methods.given_to(0) == "cp"
    ledger.fold([later])
    assert ledger.intended_ns(0) is None
    assert ledger.methods.given_to(0) is None
    assert ledger.methods.was_given(0), "what is there may be the method's"


def test_a_file_that_was_tried_may_be_there_without_a_receipt(tmp_path):
    ledger = Ledger(plan_of(), Journal(str(tmp_path / "job.jsonl")))
    ledger.note_tried([1])
    assert [ledger.known(number).is_tried for number in range(3)] == [False, True, False]


def test_a_file_that_a_comparison_has_refuted_differs_whatever_its_size(tmp_path):
    ledger = Ledger(plan_of(), Journal(str(tmp_path / "job.jsonl")))
    ledger.note_destination([1, 2, 3], [False] * 3)
    ledger.methods.claim(0)
    assert ledger.known(0).is_claimed
    ledger.methods.leave(0)
    known = [ledger.known(number) for number in range(3)]
    assert [one.is_claimed for one in known] == [False] * 3
    assert [one.held for one in known] == [Held.OTHER_SIZE, Held.SAME_SIZE, Held.SAME_SIZE]


def test_a_proven_file_whose_source_is_gone_is_ours_and_is_not_named_again(tmp_path):
    journal = Journal(str(tmp_path / "job.jsonl"))
    ledger = Ledger(plan_of(), journal)
    ledger.add_proven(receipt("gone", 4), "gone", "gone")
    assert [ledger.known(number).is_ours for number in range(4)] == [False, False, False, True]
    assert (ledger.files_proven, ledger.bytes_proven) == (1, 4)
    ledger.compare(Retry.never())  # the destination has lost it
    assert (ledger.files_proven, ledger.bytes_proven) == (0, 0)
    ledger.checkpoint()
    (listing,) = journal.read()
    assert [*paths_in(listing, ledger.plan)] == ["a", "b", "c"]


@pytest.mark.parametrize("is_last", [True, False])
@pytest.mark.parametrize("attempts", [(1, 2), (2, 1)])
def test_only_receipts_of_the_last_attempt_at_a_file_count(attempts, is_last):
    """The destination holds what they are about, even if the source is as before it."""
    ledger = Ledger(plan_of(), Journal("/dev/null"))
    proving = replace(receipt("b", 2), attempt=attempts[0])
    other = replace(receipt("b", 2), attempt=attempts[1], mtime_ns=7)
    ledger.fold([other, proving] if is_last else [proving, other])
    assert ledger.is_proven(1) is (attempts == (2, 1))
    assert ledger.files_proven == (attempts == (2, 1))


def test_any_proven_file_will_do_to_show_that_one_has_arrived(tmp_path):
    ledger = Ledger(plan_of(), Journal(str(tmp_path / "job.jsonl")))
    assert ledger.any_proven is None
    ledger.prove(1, receipt("b", 2))
    assert ledger.any_proven == ledger.plan.item(1)
    ledger.prove(0, receipt("a", 1))
    assert ledger.any_proven == ledger.plan.item(0)


def test_an_intent_that_says_whose_a_file_is_has_no_upload_looked_for(tmp_path):
    ledger = Ledger(plan_of(), Journal(str(tmp_path / "journal.jsonl")))
    for number, has_file in enumerate([True, False]):
        path = PATHS[number]
        record = IntentRecord(
            src_path=f"memory://a/{path}", dst_path=f"memory://b/{path}", at_ns=7, has_file=has_file
        )
        ledger.fold([record])
    assert [ledger.intended_ns(number) for number in range(3)] == [None, 7, None]
    assert [ledger.known(number).is_ours for number in range(3)] == [True, False, False]
