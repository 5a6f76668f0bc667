"""The sizes of a holder's batches, and its signals to waiting helpers."""

from __future__ import annotations

from collections import deque
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobtool.jobs.claim import Claims
from jobtool.jobs.claimpolicy import ClaimPolicy
from jobtool.jobs.journal import Journal
from jobtool.jobs.records import PartRecord, Receipt
from jobtool.sharing.batches import Batches
from jobtool.sharing.holder import WorkSharing
from jobtool.sharing.portions import portion_of
from jobtool.stop import Stop
from jobtool.stores.memory import Memory, MemoryStore
from jobtool.stores.store import Attributes, Entry, Upload
from jobtool.transfer.filequeue import FileQueue
from jobtool.transfer.ledger import Ledger
from jobtool.transfer.partqueue import PartQueue, PartQueues, last_in_a_row
from jobtool.transfer.partranges import PartRange, ranges
from jobtool.transfer.plan import Plan, Route
from jobtool.transfer.policies import Policies

COUNTS = st.integers(1, 1000)


@given(left=st.integers(0, 10**6), helpers=COUNTS, threads=COUNTS)
def test_a_batch_is_a_share_or_what_keeps_a_helpers_threads_busy(left, helpers, threads):
    portion = portion_of(left, helpers=helpers, threads=threads)
    assert min(left, threads) <= portion <= left
    # Larger only while each worker, including the holder, could have two batches of the size.
    assert portion == min(left, threads) or 2 * (helpers + 1) * portion <= left


@given(left=COUNTS, helpers=COUNTS, threads=COUNTS)
def test_batches_never_grow_and_come_to_an_end(left, helpers, threads):
    portions = []
    while left:
        portions.append(portion_of(left, helpers=helpers, threads=threads))
        left -= portions[-1]
    assert portions == sorted(portions, reverse=True)


@pytest.fixture
def both(folder):
    """The sharing of a holder, and the batches as a helper sees them, listed anew at each look."""
    claims = Claims(str(folder), ClaimPolicy(kind="lock"))
    path = str(folder / "job.blocks")
    mine, theirs = (Batches(path, claims, monotonic=count(step=10).__next__) for _ in range(2))
    plan = Plan()
    plan.start_route(
        Route(MemoryStore(Memory(), "memory://a"), MemoryStore(Memory(), "memory://b"))
    )
    plan.add(Entry("large", 1, 1))
    ledger = Ledger(plan, Journal(str(folder / "job.jsonl")))
    sharing = WorkSharing(mine, ledger, policies=Policies(), threads=1, on_return=print)
    return sharing, theirs, plan.item(0)


def test_while_there_may_be_something_to_share_helpers_are_asked_to_stay(both):
    sharing, helper, item = both
    files, parts = FileQueue([]), PartQueues()
    with parts.expected(item):
        sharing.consume(files, parts, may_take=True)
        assert helper.is_closed, "nobody has asked, so that there is no folder"
        helper.offer("one")
        assert not helper.is_asked_to_stay
        assert not helper.is_closed
        sharing.consume(
            files, parts, may_take=True
        )  # the file is hashed, say, and no part can be sent yet
        assert helper.is_asked_to_stay
        assert not helper.is_closed
    sharing.consume(files, parts, may_take=True)
    assert helper.is_closed


@given(numbers=st.sets(st.integers(1, 60)), held=st.sets(st.integers(1, 60)), most=COUNTS)
def test_parts_of_a_batch_follow_each_other_and_none_was_sent_before(numbers, held, most):
    before = [PartRange(number, 10 * number, 10) for number in sorted(numbers)]
    todo = deque(before)
    parts = last_in_a_row(todo, most, dict.fromkeys(held))
    batch = [number for number, _, _ in parts]
    assert batch == [*range(batch[0], batch[-1] + 1)] if batch else numbers <= held
    assert not held & {*batch}
    assert len(batch) <= most
    assert sorted([*todo, *parts]) == before
    assert [*todo] == sorted(todo)
    if batch:  # what comes after is held
        assert {number for number in numbers if number > batch[-1]} <= held


class Holder:
    """A holder with files or parts to share, and a helper that looks at the same folder."""

    def __init__(self, folder, sizes):
        claims = Claims(str(folder), ClaimPolicy(kind="lock"))
        path = str(folder / "job.blocks")
        mine, self.helper = (
            Batches(path, claims, monotonic=count(step=10).__next__) for _ in range(2)
        )
        self.plan = Plan()
        source, destination = (
            MemoryStore(Memory(), "memory://a"),
            MemoryStore(Memory(), "memory://b"),
        )
        self.plan.start_route(Route(source, destination))
        for number, size in enumerate(sizes):
            self.plan.add(Entry(f"{number:03d}", size, 1))
        self.journal = Journal(str(folder / "job.jsonl"))
        self.ledger = Ledger(self.plan, self.journal)
        self.helpers = []
        self.sharing = WorkSharing(
            mine, self.ledger, policies=Policies(), threads=2, on_return=self.helpers.append
        )
        self.helper.offer("one")

    def acquire(self):
        return self.helper.acquire(lambda batch: True, lambda: None)


def receipt_of(file):
    return Receipt(
        src_path=file.src_path,
        dst_path=file.dst_path,
        size=file.size,
        mtime_ns=file.mtime_ns,
        hashsum_src="",
        hashsum_dst="",
        verified_by="read-back",
        verified_at="2026-11-20T14:31:00Z",
        worker="helper",
        attempt=1,
    )


def test_of_a_batch_whose_helper_died_counts_what_it_has_recorded(folder):
    holder = Holder(folder, [1] * 200)
    files, parts = FileQueue(range(200)), PartQueues()
    holder.sharing.consume(files, parts, may_take=True)
    assert holder.sharing.has_files
    shared = set(range(200)) - {*files.some_last(200)}
    taken = holder.acquire()
    done = taken.batch.files[:3]
    for file in done:
        taken.journal.append(receipt_of(file))
    taken.journal.close()
    assert len([*holder.sharing.returned(reclaim=True)]) == 1, "another that nobody has begun"
    assert [*holder.sharing.returned(reclaim=True)] == [], "its helper lives"
    taken.claim.release()  # as the kernel does for a process that dies
    (batch,) = holder.sharing.returned(reclaim=True)
    assert {*batch.numbers} <= shared
    assert [*batch.records()] == [receipt_of(file) for file in done]
    holder.ledger.absorb(batch.records())
    batch.forget()
    assert holder.ledger.files_proven == 3
    assert len([*holder.ledger.undone(batch.numbers)]) == len(batch.numbers) - 3
    assert not holder.sharing.has_files
    assert holder.helpers == [], "nobody has said that it was done"
    assert holder.acquire() is None


def test_parts_that_a_helper_has_sent_are_in_the_ledger_before_they_come_back(folder):
    holder = Holder(folder, [40])
    item = holder.plan.item(0)
    log = holder.ledger.log_of(0, item)
    log.begun(Upload(path=item.destination_path, token="t", attributes=Attributes(mtime_ns=1)), 1)
    queues = PartQueues()
    queue = PartQueue(item, {}, is_in_order=False, stop=Stop())
    queue.add(ranges(40, 1))
    queue.upload = log.under_way.record
    with queues.opened(queue):
        holder.sharing.consume(FileQueue([]), queues, may_take=True)
        taken = holder.acquire()
        numbers = range(taken.batch.first_part, taken.batch.last_part + 1)
        assert numbers[-1] == 40, "from the end of the file"
        assert taken.batch.upload == log.under_way.record
        records = [
            PartRecord(token="t", number=number, offset=number - 1, size=1, md5="0" * 32)
            for number in numbers
        ]
        for record in [*records, PartRecord(token="other", number=1, offset=0, size=1, md5="")]:
            taken.journal.append(record)
        taken.journal.close()
        holder.helper.finish(taken, "node:1")
        taken.claim.release()
        # The batches after it are done with nothing sent.
        while (other := holder.acquire()) is not None:
            holder.helper.finish(other, "node:1")
            other.claim.release()
        holder.helper.withdraw("one")
        holder.sharing.consume(FileQueue([]), queues, may_take=True)
        assert queue.sent_by_others == {*numbers}
        assert {*holder.ledger.upload_of(0).parts} == {*numbers}
        on_disk = [one for one in holder.journal.read() if isinstance(one, PartRecord)]
        assert on_disk == records, "of no other upload"
        seen = []
        while (one := queue.pop_first()) is not None:
            seen.append(one.number)
        assert sorted(seen) == [*range(1, 41)]
    assert {*holder.helpers} == {"node:1"}
