"""Sending parts by threads, within the worker's bound on memory."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from functools import partial

from jobtool.md5 import md5_of
from jobtool.stop import Stop
from jobtool.stores.optional import Multipart, supports
from jobtool.stores.store import Part
from jobtool.transfer.capacity import Capacity
from jobtool.transfer.digests import Paced, require_going, require_held
from jobtool.transfer.ledger.uploadlog import UploadLog
from jobtool.transfer.partranges import ranges
from jobtool.transfer.plan import Item

#: How many parts of a file are read before a thread is free to send them. Other consumers can't
#: take these: with many, they would be idle at the end.
READ_AHEAD_PARTS = 1


#: Prepares a part that was read. Returns the function that sends it, None if it needn't be sent.
Prepare = Callable[[], Callable[[], Part] | None]


class PartsUnderWay:
    """The parts that are being sent, or wait for a thread to send them."""

    def __init__(self, capacity: Capacity) -> None:
        self._capacity = capacity
        self._lengths: dict[Future[Part], int] = {}
        self._read: tuple[int, Prepare] | None = None

    def add(self, length: int, prepare: Prepare) -> None:
        """Read a part of ``length`` bytes by ``prepare``, and send it by the function returned.

        Waits for memory first.
        """
        self._capacity.budget.acquire(length)
        self._submit(length, prepare)

    def add_read(self, length: int, read: Callable[[], Prepare]) -> None:
        """Read a part of ``length`` bytes by ``read``, then prepare and send the one before it.

        So a part can be hashed while the next one is read. Waits for memory first, but not while a
        part that was read holds some.
        """
        budget = self._capacity.budget
        if not budget.acquire_now(length):
            self.settle()
            budget.acquire(length)
        try:
            prepare = read()
            self.settle()
        except BaseException:
            budget.release(length)
            raise
        self._read = length, prepare

    def settle(self) -> None:
        """Prepare and send the part that ``add_read`` has read last."""
        if self._read is not None:
            (length, prepare), self._read = self._read, None
            self._submit(length, prepare)

    def _submit(self, length: int, prepare: Prepare) -> None:
        is_sent = False
        try:
            send = prepare()
            if send is not None:
                future = self._capacity.senders.submit(self._send, send, length)
                self._lengths[future] = length
                is_sent = True
        finally:
            if not is_sent:
                self._capacity.budget.release(length)

    def _send(self, send: Callable[[], Part], length: int) -> Part:
        try:
            return send()
        finally:
            self._capacity.budget.release(length)

    def collect(self, most: int = 0) -> Iterator[Part]:
        """Yield the parts that have arrived, until no more than ``most`` are under way.

        Raises the error of a part that failed.
        """
        while True:
            for future in [future for future in self._lengths if future.done()]:
                del self._lengths[future]
                yield future.result()
            if len(self._lengths) <= most:
                return
            wait(self._lengths, return_when=FIRST_COMPLETED)

    def abandon(self) -> None:
        """Cancel the parts that wait, and wait for those that are being sent."""
        if self._read is not None:
            self._capacity.budget.release(self._read[0])
            self._read = None
        for future, length in self._lengths.items():
            if future.cancel():
                self._capacity.budget.release(length)
        wait(self._lengths)


def send_parts(
    item: Item,
    log: UploadLog,
    numbers: Container[int],
    capacity: Capacity,
    *,
    stop: Stop,
    on_bytes: Callable[[int], None],
) -> None:
    """Send some parts of the upload that ``log`` names. Another worker completes the upload.

    Raises the errors of stores, and ``StoppedError`` between two parts.
    """
    under_way = log.under_way
    assert under_way is not None, "a worker that shares parts has begun their upload"
    upload = under_way.at(item.destination_path)
    destination = item.route.destination
    assert supports(destination, Multipart), "parts are shared only where there are any"

    paced = Paced(capacity.throttle, item, stop)

    def send(number: int, offset: int, data: bytes | memoryview) -> Part:
        paced.request()
        require_held(stop, item)
        part = destination.put_part(upload, number, offset, data, md5_of(data))
        log.sent(part)
        on_bytes(part.size)
        return part

    def prepare(number: int, offset: int, length: int) -> Callable[[], Part]:
        data = paced.read(item.entry, offset, length).data
        return partial(send, number, offset, data)

    sending = PartsUnderWay(capacity)
    try:
        for number, offset, length in ranges(item.entry.size, under_way.record.part_size):
            if number not in numbers:
                continue
            require_going(stop, item)
            sending.add(length, partial(prepare, number, offset, length))
            for _ in sending.collect(capacity.threads + READ_AHEAD_PARTS):
                pass
        for _ in sending.collect():
            pass
    finally:
        sending.abandon()
