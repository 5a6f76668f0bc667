"""The queue of a file's parts: its thread takes from the front, another consumer from the back."""

from __future__ import annotations

import contextlib
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from jobtool.errors import StoppedError
from jobtool.jobs.records import UploadRecord
from jobtool.stop import Stop
from jobtool.stores.memory import Memory, MemoryStore
from jobtool.stores.store import Entry, Part
from jobtool.transfer.partqueue import PartQueue, PartQueues
from jobtool.transfer.partranges import ranges
from jobtool.transfer.plan import Item, Route
from tests.stores.plain import PlainStore

WAIT_SECONDS = 30
ITEM = Item(
    Route(MemoryStore(Memory(), "memory://a"), MemoryStore(Memory(), "memory://b")),
    Entry("large", 100, 1),
    "large",
)
UPLOAD = UploadRecord(
    src_path=ITEM.source_url,
    dst_path=ITEM.destination_url,
    size=100,
    mtime_ns=1,
    part_size=1,
    token="t",
)


def queue_of(count, *, is_in_order, stop=None):
    queue = PartQueue(ITEM, {}, is_in_order=is_in_order, stop=stop or Stop())
    queue.upload = UPLOAD
    queue.add(ranges(count, 1))
    return queue


def part(number):
    return Part(number=number, offset=number - 1, size=1, md5="0" * 32)


#: Another consumer's action: take some parts, or put the nth batch back with every mth part sent.
steps = st.lists(
    st.one_of(
        st.tuples(st.just("pop"), st.just(0), st.just(0)),
        st.tuples(st.just("share"), st.integers(1, 7), st.just(0)),
        st.tuples(st.just("back"), st.integers(0, 9), st.integers(1, 3)),
    ),
    max_size=60,
)


@given(count=st.integers(1, 40), steps=steps, is_in_order=st.booleans())
def test_each_part_is_seen_once_by_its_own_thread(count, steps, is_in_order):
    queue, out, seen = queue_of(count, is_in_order=is_in_order), [], []

    def put_back(index, every):
        batch = out.pop(index)
        queue.put_back(batch, [part(one.number) for one in batch if one.number % every == 0])

    for what, argument, every in steps:
        if what == "pop" and len(queue):
            seen.append(queue.pop_first().number)
        elif what == "share":
            batch = queue.pop_last(argument)
            assert (
                [one.number for one in batch]
                == [*range(batch[0].number, batch[0].number + len(batch))]
                if batch
                else len(queue) == 0
            )
            if batch:
                out.append(batch)
        elif what == "back" and out:
            put_back(argument % len(out), every)
    while out:
        put_back(0, 2)
    while (one := queue.pop_first()) is not None:
        seen.append(one.number)
    assert sorted(seen) == [*range(1, count + 1)]
    if is_in_order:
        assert seen == sorted(seen)


def test_whoever_has_nothing_else_to_do_waits_for_what_is_out_and_wants_it_back():
    queue = queue_of(3, is_in_order=True)
    late, early = queue.pop_last(1), queue.pop_last(1)
    assert queue.pop_first().number == 1
    assert not queue.is_wanted(early)
    found = []
    thread = threading.Thread(target=lambda: found.append(queue.pop_first()))
    thread.start()
    while not queue.is_wanted(early):
        pass
    assert not queue.is_wanted(late), "that one's turn is later"
    queue.put_back(early, [part(2)])
    thread.join(WAIT_SECONDS)
    assert [one.number for one in found] == [2]
    assert not queue.is_wanted(late), "there is something to do again"
    assert queue.sent_by_others == {2}
    assert queue.held[2] == part(2)


def test_a_stop_ends_the_waiting():
    stop = Stop()
    queue = queue_of(1, is_in_order=True, stop=stop)
    queue.pop_last(1)
    stop.set()
    with pytest.raises(StoppedError):
        queue.pop_first()
    queue.settle()


def test_a_queue_that_nobody_serves_any_more_keeps_no_thread():
    queues, stop = PartQueues(), Stop()
    queue = queue_of(2, is_in_order=False, stop=stop)
    with queues.opened(queue):
        assert queues.open_queues() == [queue]
        queue.pop_last(2)
        queues.close()
        with pytest.raises(StoppedError):
            queue.pop_first()
    assert queues.open_queues() == []


def test_a_queue_that_is_opened_after_all_were_closed_keeps_no_thread_either():
    queues = PartQueues()
    queues.close()
    queue = queue_of(2, is_in_order=False)
    with queues.opened(queue):
        queue.pop_last(2)
        with pytest.raises(StoppedError):
            queue.pop_first()


class Dear(MemoryStore):
    capabilities = replace(MemoryStore.capabilities, cheap_reads=False)


@pytest.mark.parametrize(
    ("source", "destination", "is_shared"),
    [
        (ITEM.route.source, ITEM.route.destination, True),
        (Dear(Memory(), "memory://a"), ITEM.route.destination, False),
        (ITEM.route.source, PlainStore(ITEM.route.destination), False),
    ],
    ids=["cheap to read", "expensive to read", "takes no parts"],
)
def test_others_get_only_parts_that_both_may_read_and_one_may_send(source, destination, is_shared):
    item = replace(ITEM, route=Route(source, destination))
    queue, queues = PartQueue(item, {}, is_in_order=False, stop=Stop()), PartQueues()
    assert not queues.are_expected
    with queues.expected(item):
        assert queues.are_expected == is_shared
        with queues.opened(queue):
            assert queues.open_queues() == [queue][: int(is_shared)]
    assert not queues.are_expected
    assert queues.open_queues() == []


def test_a_try_that_fails_waits_until_nobody_else_writes_to_its_file():
    queues = PartQueues()
    queue = queue_of(2, is_in_order=False)
    is_over = threading.Event()

    def fail():
        with contextlib.suppress(ZeroDivisionError), queues.opened(queue):
            batches.append(queue.pop_last(1))
            raise ZeroDivisionError
        is_over.set()

    batches = []
    thread = threading.Thread(target=fail)
    thread.start()
    while not (batches and queue.is_wanted(batches[0])):
        pass
    assert not is_over.is_set()
    assert queue.pop_last(1) == [], "nothing more is given away"
    queue.put_back(batches[0], [])
    assert is_over.wait(WAIT_SECONDS)
    thread.join(WAIT_SECONDS)


def test_before_the_upload_is_begun_nobody_else_can_have_a_part():
    queue = PartQueue(ITEM, {}, is_in_order=False, stop=Stop())
    queue.add(ranges(3, 1))
    assert queue.pop_last(3) == []
    queue.upload = UPLOAD
    assert len(queue.pop_last(3)) == 3
