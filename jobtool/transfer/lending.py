"""Lending: a job's holder gives blocks of its work to workers that have nothing else to do."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence

from msgspec.structs import replace

from jobtool.jobs.blocks import Block, BlockFile, Blocks
from jobtool.jobs.records import Record, UploadRecord
from jobtool.stop import Stop

#: No block is larger, so that little is done again when its worker dies, and all end together.
BLOCK_BYTES = 256 * 1024 * 1024
BLOCK_FILES = 4096

#: How many blocks may be out for each helper: the one it works on, and the next.
_BLOCKS_PER_HELPER = 2

_POLL_SECONDS = 0.2


class Lending:
    """What one attempt at a job has lent. Threads may call it.

    ``threads`` is how many pieces of work a helper does at the same time. ``on_return`` is told who
    has done a block, once it is over and somebody has.
    """

    def __init__(
        self,
        blocks: Blocks,
        *,
        attempt: int,
        if_exists: str,
        verify: str,
        preserve: str,
        threads: int,
        on_return: Callable[[str], None],
    ) -> None:
        self._blocks = blocks
        self._threads = threads
        self._block = Block(attempt=attempt, if_exists=if_exists, verify=verify, preserve=preserve)
        self._on_return = on_return
        self._lock = threading.RLock()
        self._out: set[int] = set()
        self._lenders = 0  # threads with a file whose parts they may lend

    @property
    def has_helpers(self) -> bool:
        """Whether anybody offers help, by a look that may be a moment old."""
        with self._lock:
            return self._blocks.helpers > 0

    def portion(self, left: int) -> int:
        """Return how many of ``left`` equal pieces of work to lend now, 0 for none."""
        with self._lock:
            helpers = self._blocks.helpers
            if not helpers or self._count_out() >= _BLOCKS_PER_HELPER * helpers:
                return 0
            return portion_of(left, helpers=helpers, threads=self._threads)

    def lend_files(self, files: Sequence[BlockFile]) -> int:
        """Lend whole files; return the block's number."""
        return self._publish(replace(self._block, files=tuple(files)))

    def lend_parts(self, upload: UploadRecord, first: int, last: int) -> int:
        """Lend the parts ``first`` to ``last`` of an upload; return the block's number."""
        return self._publish(replace(self._block, upload=upload, first_part=first, last_part=last))

    def _count_out(self) -> int:
        return sum(not self._blocks.is_done(number) for number in self._out)

    def is_back(self, number: int, *, take_back: bool = True) -> bool:
        """Tell whether a block is over: done or, with ``take_back``, if nobody works on it."""
        with self._lock:
            is_done = self._blocks.is_done(number)
            if not is_done and not (take_back and self._blocks.take_back(number)):
                return False
            self._out.discard(number)
            worker = self._blocks.worker_of(number)
        if worker:
            self._on_return(worker)
        return True

    def wait_for(self, number: int, stop: Stop) -> bool:
        """Return when a block is over; False if asked to stop before."""
        while not self.is_back(number):
            if stop.wait(_POLL_SECONDS):
                return False
        return True

    def records(self, number: int) -> Iterator[Record]:
        """Yield what was recorded of a block."""
        return self._blocks.records(number)

    @contextlib.contextmanager
    def may_lend(self) -> Iterator[None]:
        """For the length of the block there may be parts to lend: helpers aren't sent away."""
        with self._lock:
            self._lenders += 1
        try:
            yield
        finally:
            with self._lock:
                self._lenders -= 1

    def forget(self, number: int) -> None:
        """Remove a block that is over and whose records this job's own journal has."""
        with self._lock:
            self._blocks.forget(number)

    def answer(self, *, may_lend: bool) -> None:
        """Tell helpers whether to stay, or that nothing is out and nothing will be lent."""
        with self._lock:
            if not self.has_helpers:
                return
            if may_lend or self._lenders or self._out:
                self._blocks.ask_to_stay()
            else:
                self._blocks.close()

    def _publish(self, block: Block) -> int:
        with self._lock:
            number = self._blocks.publish(block)
            self._out.add(number)
            return number


def portion_of(left: int, *, helpers: int, threads: int) -> int:
    """Return how many of ``left`` equal pieces of work make a block: a pure decision.

    A share of what is left, so that blocks become smaller towards the end and all workers finish at
    about the same time; but enough for all ``threads`` of a helper. All are lent, down to the last:
    what no helper has begun once the holder is idle is taken back.
    """
    return max(left // (_BLOCKS_PER_HELPER * (helpers + 1)), min(left, threads))


def settle(blocks: Blocks, stop: Stop) -> None:
    """Wait until nobody works any more on what an earlier attempt has lent; take back the rest."""
    left = blocks.open_numbers()
    while left and not stop.is_set():
        left = [
            number for number in left if not (blocks.is_done(number) or blocks.take_back(number))
        ]
        if left:
            stop.wait(_POLL_SECONDS)
    if blocks.exist:
        blocks.reopen()
