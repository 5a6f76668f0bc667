"""Making the chunks of a job: the rows of its query become files in the staging folder.

The rows are compared with those of chunks that have arrived before, while they pass: such a chunk
isn't made again. So a query that is run again must give the same rows in the same order. If it
doesn't, ``RowsChangedError`` ends the making, and nothing of the two states is mixed.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from typing import TYPE_CHECKING

from jobtool.errors import ExhaustedError, StoppedError
from jobtool.export.blocks import blocks
from jobtool.export.chunk import Chunk, ChunkPlan, RowsChangedError, of_staging
from jobtool.export.chunklog import ChunkRecord, EndRecord
from jobtool.export.formats.format import Format
from jobtool.liveness import QUERY_THREAD
from jobtool.names import quote
from jobtool.queries.source import QuerySource, RowStream
from jobtool.stop import ASKED, Stop

if TYPE_CHECKING:
    import pyarrow as pa

#: The rows of a block, which is written at once.
BLOCK_ROWS = 16_384

#: For how long a database may take to stop a query.
CANCEL_SECONDS = 10.0

_CANCEL_AGAIN_SECONDS = 0.5
_LOOK_SECONDS = 0.1


class Activity(Enum):
    """What a maker of chunks does: it waits for the first row, or rows pass."""

    QUERYING = "querying"
    COMPARING = "comparing"
    MAKING = "making"


class ChunkMaker:
    """Makes chunks in a thread of its own, for one that sends them.

    ``arrived`` has the chunks that needn't be made if their rows are the same. At most ``room``
    files wait in ``folder``: ``free`` makes room for one more. ``require_held`` is called before
    each is made. ``rows`` is the number of rows that
    have passed, ``chunks`` that of the chunks.
    """

    def __init__(
        self,
        open_source: Callable[[], QuerySource],
        query: Callable[[QuerySource], str],
        plan: ChunkPlan,
        chunk_format: Format,
        *,
        folder: str,
        arrived: Mapping[int, ChunkRecord],
        room: int,
        stop: Stop,
        require_held: Callable[[], None],
    ) -> None:
        self.rows = self.chunks = 0
        self.snapshot: str | None = None
        self._open_source = open_source
        self._query = query
        self._plan = plan
        self._format = chunk_format
        self._folder = folder
        self._arrived = arrived
        self._stop = Stop(parent=stop)
        self._require_held = require_held
        self._changed = threading.Condition()
        self._room = room
        self._made: deque[ChunkRecord | EndRecord] = deque()
        self._error: BaseException | None = None
        self._is_over = False
        self._source: QuerySource | None = None
        self._stream: RowStream | None = None
        self._thread = threading.Thread(target=self._work, name=QUERY_THREAD, daemon=True)

    @property
    def activity(self) -> Activity | None:
        """What is done for the next chunk; None while files wait for their transfer, and after."""
        with self._changed:
            if self._is_over or not self._room:
                return None
        if not self.rows:
            return Activity.QUERYING
        is_known = self.chunks + 1 in self._arrived
        return Activity.COMPARING if is_known else Activity.MAKING

    def start(self) -> None:
        """Begin to run the query."""
        self._thread.start()

    def next(self, seconds: float) -> ChunkRecord | EndRecord | None:
        """Return the next chunk, or the end; None if there is none yet after a while.

        A chunk that has arrived before is returned as its record in ``arrived``. Raises what has
        ended the making, after all chunks before it were returned.
        """
        with self._changed:
            if not self._made and not self._is_over:
                self._changed.wait(seconds)
            if self._made:
                return self._made.popleft()
            if self._is_over:
                raise self._error or StoppedError(self._stop.reason or ASKED)
            return None

    def free(self) -> None:
        """Make room for another file, since one was removed."""
        with self._changed:
            self._room += 1
            self._changed.notify_all()

    def end(self) -> None:
        """End the query and the thread. Raises nothing.

        A database that doesn't stop the query within ``CANCEL_SECONDS`` is left alone. The thread
        ends with the query or the process, and makes no more files.
        """
        self._stop.set("no more rows are wanted")
        end = time.monotonic() + CANCEL_SECONDS
        while self._thread.is_alive() and time.monotonic() < end:
            stream, source = self._stream, self._source
            if stream is not None:
                stream.cancel()
            elif source is not None:
                source.close()
            self._thread.join(_CANCEL_AGAIN_SECONDS)  # one that came too early has no effect

    # The thread.

    def _work(self) -> None:
        try:
            self._make()
        except MemoryError:
            self._error = ExhaustedError("memory ran out while rows were read")
        except BaseException as error:  # raised again by ``next``
            self._error = error
        finally:
            with self._changed:
                self._is_over = True
                self._changed.notify_all()

    def _make(self) -> None:
        source = self._source = self._open_source()
        try:
            self._require_going()
            self.snapshot = source.snapshot()
            stream = self._stream = source.stream(self._query(source), rows=self._plan.fetch_rows)
            try:
                self._require_going()
                self._make_of(stream)
            finally:
                stream.close()
        finally:
            source.close()

    def _make_of(self, stream: RowStream) -> None:
        self._format.check(stream.schema)
        chunk: Chunk | None = None
        try:
            for piece in self._pieces(stream):
                if chunk is None:
                    chunk = self._begin(stream.schema)
                chunk.add(piece)
                self.rows += piece.num_rows
                if chunk.is_full:
                    self._finish(chunk)
                    chunk = None
            if chunk is None and not self.chunks and self._plan.has_file_without_rows:
                chunk = self._begin(stream.schema)
            if chunk is not None:
                self._finish(chunk)
                chunk = None
        finally:
            if chunk is not None:
                chunk.abort()
        if any(number > self.chunks for number in self._arrived):
            raise RowsChangedError(
                f"the query gave {self.rows} rows; {len(self._arrived)} chunks with more rows have "
                "arrived before"
            )
        self._hand_on(
            EndRecord(
                chunks=self.chunks,
                rows=self.rows,
                schema=tuple((field.name, str(field.type)) for field in stream.schema),
            )
        )

    def _pieces(self, stream: RowStream) -> Iterator[pa.RecordBatch]:
        """Yield the rows in blocks, cut where a chunk ends."""
        left = self._rows_of_next()
        for block in blocks(stream, BLOCK_ROWS):
            start = 0
            while start < block.num_rows:
                self._require_going()
                count = min(block.num_rows - start, left)
                yield block.slice(start, count)
                start += count
                left -= count
                if not left:
                    left = self._rows_of_next()

    def _rows_of_next(self) -> int:
        """Return the rows of the next chunk; a large number if its size in bytes decides."""
        known = self._arrived.get(self.chunks + 1)
        return (known.rows if known else self._plan.rows) or 2**62

    def _require_going(self) -> None:
        if self._stop.is_set():
            raise StoppedError(self._stop.reason or ASKED)

    def _begin(self, schema: pa.Schema) -> Chunk:
        self._require_going()
        number = self.chunks + 1
        known = self._arrived.get(number)
        name, writer = self._plan.name(number), None
        if known is not None and known.name != name:
            raise RowsChangedError(
                f"{quote(known.name)} has arrived before, and would be {quote(name)} now: the "
                "joblist or the job was changed"
            )
        path = os.path.join(self._folder, name)
        if known is None:
            self._wait_for_room()
            self._require_held()
            with of_staging(path):
                writer = self._format.open(path, schema)
        return Chunk(number, name, path, schema, self._plan, writer, known)

    def _finish(self, chunk: Chunk) -> None:
        record = chunk.finish()
        self.chunks += 1
        self._hand_on(record)

    def _hand_on(self, made: ChunkRecord | EndRecord) -> None:
        with self._changed:
            self._made.append(made)
            self._changed.notify_all()

    def _wait_for_room(self) -> None:
        with self._changed:
            while not self._room:
                self._require_going()
                self._changed.wait(_LOOK_SECONDS)
            self._room -= 1
