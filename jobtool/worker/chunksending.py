"""Sending the chunks of a job while they are made."""

from __future__ import annotations

import contextlib
from array import array
from collections.abc import Callable, Iterable, Iterator

from msgspec.structs import replace

from jobtool.errors import StoppedError
from jobtool.export.chunklog import ChunkLog, ChunkRecord, EndRecord
from jobtool.export.making import Activity, ChunkMaker
from jobtool.export.staging import Staging
from jobtool.failpoints import reach
from jobtool.jobs.records import Receipt, Record
from jobtool.stop import ASKED, Stop
from jobtool.stores.store import Entry
from jobtool.transfer.ledger import Ledger
from jobtool.transfer.phases import Phase
from jobtool.transfer.progress import Progress
from jobtool.transfer.retry import Retry, Successes
from jobtool.transfer.run import JobTransfer

_LOOK_SECONDS = 0.1

#: What is shown while the query has not given all rows, and isn't kept waiting by transfers.
_PHASES = {
    Activity.QUERYING: Phase.QUERYING,
    Activity.COMPARING: Phase.COMPARING_ROWS,
    Activity.MAKING: Phase.EXPORTING,
}


class ChunkSending:
    """Sends what ``maker`` makes: files of ``staging``, which join the ledger's plan.

    The plan has the chunks that have arrived before. ``records`` are those of the job. ``own``
    records each chunk that has come. ``tell`` is passed the number of rows that have passed, and
    that of all rows or None, several times a second. ``end`` is None until the query has ended.
    """

    def __init__(
        self,
        maker: ChunkMaker,
        ledger: Ledger,
        log: ChunkLog,
        staging: Staging,
        *,
        records: Iterable[Record],
        retry: Retry,
        stop: Stop,
        own: Successes,
        tell: Callable[[int, int | None], None],
    ) -> None:
        self.end: EndRecord | None = None
        self._maker = maker
        self._ledger = ledger
        self._plan = ledger.plan
        self._log = log
        self._staging = staging
        self._retry = retry
        self._stop = stop
        self._own = own
        self._tell = tell
        self._on_tick: Callable[[], None] = lambda: None
        self._arrived = {chunk.path for chunk in self._entries()}
        self._records: dict[str, list[Record]] = {}  # receipts are about earlier files
        for record in records:
            path = getattr(record, "dst_path", None)
            if path is not None and not isinstance(record, Receipt):
                self._records.setdefault(path, []).append(record)

    def run(self, transfer: JobTransfer, on_tick: Callable[[Progress], None]) -> None:
        """Have all chunks made and sent. Raises what making and sending raise."""

        def tick(progress: Progress) -> None:
            activity = self._maker.activity if self.end is None else None
            phase = None if activity is None else _PHASES[activity]
            self._tell(self._maker.rows, None if self.end is None else self.end.rows)
            on_tick(progress if phase is None else replace(progress, phase=phase))

        self._on_tick = lambda: tick(transfer.progress)
        self._maker.start()
        try:
            transfer.run_batches(self._batches(), tick)
        finally:
            self._maker.end()

    def _entries(self) -> Iterator[Entry]:
        return (self._plan.item(number).entry for number in range(len(self._plan)))

    def _batches(self) -> Iterator[array[int]]:
        """Yield the numbers of new chunks; remove each file once it has arrived."""
        while self.end is None:
            if self._stop.is_set():
                raise StoppedError(self._stop.reason or ASKED)
            made = self._maker.next(_LOOK_SECONDS)
            self._on_tick()
            numbers: array[int] = array("Q")
            while isinstance(made, ChunkRecord):
                self._own.note()
                if made.name not in self._arrived:
                    numbers.append(self._add(made))
                made = self._next_ready()
            if isinstance(made, EndRecord):
                self.end = made
            if not numbers:
                continue
            self._ledger.look(numbers, self._retry)
            yield numbers
            for number in numbers:
                self._staging.remove(self._plan.item(number).entry.path)
                self._maker.free()

    def _next_ready(self) -> ChunkRecord | EndRecord | None:
        with contextlib.suppress(Exception):  # ``next`` raises it again after these chunks
            return self._maker.next(0)
        return None

    def _add(self, made: ChunkRecord) -> int:
        """Add a chunk to the plan. Its record is on disk before anything of it is sent."""
        entry = self._staging.stage(made.name)
        self._log.append(replace(made, size=entry.size, mtime_ns=entry.mtime_ns))
        reach("after a chunk's record")
        number = len(self._plan)
        self._plan.add(entry, made.name)
        self._ledger.grow()
        self._ledger.fold(self._records.get(self._plan.item(number).destination_url, ()))
        return number
