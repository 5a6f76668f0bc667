"""Limits on bytes and requests: with a clock of the tests, and with threads."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobtool.errors import ClaimLostError, StoppedError, StoreError
from jobtool.md5 import md5_of
from jobtool.stop import Stop
from jobtool.stores.memory import Memory, MemoryStore
from jobtool.stores.store import Capabilities, Entry, entry_of
from jobtool.testing.faulty_store import FaultyStore
from jobtool.transfer.concurrency import Concurrency
from jobtool.transfer.copy import Copier
from jobtool.transfer.digests import Paced
from jobtool.transfer.partranges import MEBIBYTE
from jobtool.transfer.plan import Item, Route
from jobtool.transfer.throttle import (
    BURST_SECONDS,
    LEAST_PIECE_BYTES,
    PIECE_SECONDS,
    Bucket,
    Throttle,
)
from tests.stores.raw import MemoryRaw
from tests.transfer.test_copy import LARGE, MTIME_NS, PATH, copy

MEGABYTE = 1_000_000


class Clock:
    """A clock that advances when somebody waits, and calls ``on_wait`` then."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.on_wait = lambda: None

    def __call__(self) -> float:
        return self.now

    def pause(self, condition: threading.Condition, seconds: float) -> None:
        self.now += max(seconds, 1e-6)
        condition.release()
        self.on_wait()
        condition.acquire()


def going() -> None:
    pass


def bucket_of(clock: Clock, rate: float | None, least_burst: int = 1) -> Bucket:
    made = Bucket(least_burst, clock, clock.pause)
    made.set_rate(rate)
    return made


def throttle_of(clock: Clock, **shares: Any) -> Throttle:
    made = Throttle(clock, clock.pause)
    made.set_shares(shares.get("bytes_per_second"), shares.get("requests_per_second"))
    return made


@given(
    rate=st.integers(10, 10**9),
    least_burst=st.integers(1, 10**6),
    steps=st.lists(st.tuples(st.integers(1, 10**7), st.floats(0, 5)), min_size=1, max_size=20),
)
def test_never_more_than_rate_times_time_and_one_burst(rate, least_burst, steps):
    clock = Clock()
    bucket = bucket_of(clock, float(rate), least_burst)
    burst = max(rate * BURST_SECONDS, least_burst)
    taken, given = 0, [(clock.now, 0)]

    for most, pause_seconds in steps:
        size = min(most, rate * 3)  # not too long a wait
        bucket.take(size, 0, going)
        taken += size
        given.append((clock.now, taken))
        clock.now += pause_seconds
    for index, (begin, before) in enumerate(given):
        for end, after in given[index:]:
            # What was given at `begin` itself was allowed until then.
            assert after - before <= rate * (end - begin) * 1.000001 + burst + 1e-3
    start = given[0][0]
    assert all(after <= rate * (end - start) * 1.000001 + 1e-3 for end, after in given[:2])


@given(rate=st.integers(100_000, 10**9), seconds=st.floats(10, 30))
def test_ten_seconds_hold_within_five_percent(rate, seconds):
    clock = Clock()
    bucket = bucket_of(clock, float(rate), LEAST_PIECE_BYTES)
    begin, taken = clock.now, 0
    piece = max(int(rate * PIECE_SECONDS), LEAST_PIECE_BYTES)
    while clock.now - begin < seconds:
        bucket.take(piece, 0, going)
        taken += piece
    assert taken / (clock.now - begin) == pytest.approx(rate, rel=0.05)


def test_a_rate_changes_while_a_thread_waits():
    clock = Clock()
    bucket = bucket_of(clock, 1000.0)
    clock.on_wait = lambda: bucket.set_rate(1e6 if clock.now > 1001 else 1000.0)
    bucket.take(MEGABYTE, 0, going)
    assert 1001.9 < clock.now < 1002.2
    clock.on_wait = lambda: bucket.set_rate(None)
    bucket.take(10**12, 0, going)
    bucket.set_rate(float("inf"))
    bucket.take(10**12, 0, going)
    assert clock.now < 1002.4


def test_with_a_rate_of_nothing_callers_wait():
    clock = Clock()
    bucket = bucket_of(clock, 0.0)
    clock.on_wait = lambda: clock.now < 1010 or bucket.set_rate(100.0)
    bucket.take(10, 0, going)
    assert 1010 < clock.now < 1010.3


def test_what_is_owed_is_waited_for_by_the_next():
    clock = Clock()
    bucket = bucket_of(clock, 10.0)
    bucket.owe(50)
    assert clock.now == 1000
    bucket.take(1, 0, going)
    assert clock.now == pytest.approx(1005.1, abs=0.2)


@pytest.mark.parametrize("wanted", [StoppedError, ClaimLostError])
def test_a_stop_or_a_lost_claim_ends_a_wait(wanted):
    clock, stop = Clock(), Stop()
    throttle = throttle_of(clock, bytes_per_second=1000.0)
    source = MemoryStore(Memory(), "memory://a")
    item = Item(
        route=Route(source=source, destination=source),
        entry=Entry(PATH, 10**6, MTIME_NS),
        destination_path=PATH,
    )
    end = stop.set if wanted is StoppedError else lambda: stop.lose("it was lost")
    clock.on_wait = lambda: clock.now < 1003 or end()
    with pytest.raises(wanted):
        Paced(throttle, item, stop).read(item.entry, 0, 10**6)
    assert clock.now < 1003.2


def remote(data: bytes) -> tuple[FaultyStore, list[int]]:
    """A store whose reads aren't cheap, and the lengths that are read."""
    memory = Memory()
    MemoryRaw(memory, "").write(PATH, data, mtime_ns=MTIME_NS)
    store = FaultyStore(Remote(memory, "memory://a"))
    return store, store.inner.lengths


class Remote(MemoryStore):
    """A store in memory that behaves as one at the other end of a network."""

    capabilities = Capabilities()

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.lengths = []

    def read(self, entry, offset, length):
        self.lengths.append(length)
        return super().read(entry, offset, length)


def test_a_part_is_read_in_even_pieces_and_a_whole_file_at_once():
    data = bytes(range(256)) * 40_000
    store, lengths = remote(data)
    entry = entry_of(store, PATH)
    clock = Clock()
    throttle = throttle_of(clock, bytes_per_second=1e6)
    content = throttle.read(store, entry, 256, 2_000_000, going)
    assert content.data == data[256:2_000_256]
    assert set(lengths) == {250_000}
    assert clock.now == pytest.approx(1002, abs=0.01)
    lengths.clear()
    assert throttle.read(store, entry, 0, len(data), going).data == data
    assert lengths == [len(data)]
    assert clock.now == pytest.approx(1002 + 10.24, abs=0.01)
    lengths.clear()
    store.inner.capabilities = Capabilities(reads_ranges=False)
    throttle.read(store, entry, 0, 2_000_000, going)
    assert lengths == [2_000_000]


class ReadsEachPartAfterTheLast(MemoryStore):
    """Fails unless each part has arrived when the next one is read."""

    arrived = 0

    def read(self, entry, offset, length):
        if length > 1:  # else only the attributes are wanted
            end = time.monotonic() + 10
            while self.arrived < offset and time.monotonic() < end:
                time.sleep(0.001)
            if self.arrived < offset:
                raise StoreError(f"{self.arrived} bytes have arrived of {offset}")
        return super().read(entry, offset, length)


def test_with_a_limit_a_part_is_sent_before_the_next_is_read():
    memory = Memory()
    MemoryRaw(memory, "").write(PATH, LARGE, mtime_ns=MTIME_NS)
    source = ReadsEachPartAfterTheLast(memory, "memory://a")
    destination = MemoryStore(Memory(), "memory://b")
    throttle = Throttle()
    throttle.set_shares(1e12, None)
    copier = Copier(threads=2, part_bytes=5 * MEBIBYTE, throttle=throttle)

    def note(size):
        source.arrived += size

    try:
        done = copy(copier, source, destination, on_bytes=note)
    finally:
        copier.close()
    assert done.md5 == md5_of(LARGE)


def test_requests_are_limited_to_stores_that_take_some():
    store, _ = remote(b"abc")
    clock = Clock()
    throttle = throttle_of(clock, requests_per_second=10.0)
    for _ in range(20):
        throttle.read(store, entry_of(store, PATH), 0, 3, going)
    throttle.owe_request(store)
    throttle.request(store, going)
    assert clock.now == pytest.approx(1002.2, abs=0.01)
    throttle.request(MemoryStore(Memory(), "memory://folder"), going)
    assert clock.now == pytest.approx(1002.2, abs=0.01)


def test_without_limits_nothing_is_on_and_use_is_noted():
    clock = Clock()
    throttle = throttle_of(clock)
    assert not throttle.is_on
    assert throttle.share_bytes_per_second() is None
    throttle.set_shares(0.0, None)
    assert throttle.is_on
    assert throttle.is_in_use  # by the question above
    assert not throttle.is_in_use
    assert not throttle.wanted.is_set()
    clock.on_wait = lambda: throttle.set_shares(1e9, None)
    throttle.read(remote(b"abc")[0], Entry(PATH, 3, MTIME_NS), 0, 3, going)
    assert throttle.wanted.is_set()  # while it had no share
    assert throttle.is_in_use
    assert throttle.share_bytes_per_second() == 1e9


def test_the_earlier_turn_is_served_first_by_threads():
    bucket = Bucket(1)
    bucket.set_rate(0.0)
    order: list[int] = []
    lock = threading.Lock()

    def take(turn: int) -> None:
        bucket.take(1, turn, going)
        with lock:
            order.append(turn)

    threads = [threading.Thread(target=take, args=(turn,)) for turn in (3, 1, 2, 0)]
    for thread in threads:
        thread.start()
    while len(bucket._waiting) < len(threads):
        time.sleep(0.001)
    bucket.set_rate(20.0)
    for thread in threads:
        thread.join()
    assert order == [0, 1, 2, 3]


def test_waiting_for_a_limit_adds_no_threads():
    now = 0.0
    waits = [True, False]
    concurrency = Concurrency(
        16, has_waited=lambda: waits.pop(0), cpu_seconds=lambda: 0.0, monotonic=lambda: now
    )
    assert concurrency.begin() == 2
    now = 1.0
    assert concurrency.adapted() == 2
    now = 2.0
    assert concurrency.adapted() == 4
