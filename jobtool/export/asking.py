"""A question to a database that can be interrupted while the database works."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING

from jobtool.errors import StoppedError
from jobtool.liveness import QUERY_THREAD
from jobtool.queries.source import QuerySource, RowStream
from jobtool.stop import Stop

if TYPE_CHECKING:
    import pyarrow as pa

_LOOK_SECONDS = 0.1

#: For how long a database may take to cancel a query before the wait for it is given up.
_CANCEL_SECONDS = 5

_ROWS = 65_536


def ask(source: QuerySource, query: str, stop: Stop | None = None) -> pa.Table:
    """Return the whole result of a query that returns a few rows after a long time.

    Raises what ``source`` does, ``StoppedError`` if a stop is requested, and ``KeyboardInterrupt``.
    The query is then cancelled, and ``source`` is closed if the database hasn't begun to answer.
    Drivers wait in C, where Python handles no signal: so another thread waits.
    """
    asking = _Asking(source, query)
    asking.start()
    try:
        while (result := asking.result(_LOOK_SECONDS)) is None:
            if stop is not None and stop.is_set():
                raise StoppedError("stopped while the database works. Nothing was made.")
    except BaseException:
        asking.cancel()
        raise
    if isinstance(result, BaseException):
        raise result
    return result


class _Asking(threading.Thread):
    def __init__(self, source: QuerySource, query: str) -> None:
        super().__init__(name=QUERY_THREAD, daemon=True)
        self._source = source
        self._query = query
        self._stream: RowStream | None = None
        self._results: queue.SimpleQueue[pa.Table | BaseException] = queue.SimpleQueue()

    def run(self) -> None:
        try:
            self._results.put(self._read())
        except BaseException as error:  # the caller raises it
            self._results.put(error)

    def result(self, seconds: float) -> pa.Table | BaseException | None:
        try:
            return self._results.get(timeout=seconds)
        except queue.Empty:
            return None

    def cancel(self) -> None:
        stream = self._stream
        if stream is not None:
            stream.cancel()
        else:
            self._source.close()
        self.join(_CANCEL_SECONDS)

    def _read(self) -> pa.Table:
        import pyarrow as pa

        self._stream = stream = self._source.stream(self._query, rows=_ROWS)
        try:
            return pa.Table.from_batches(stream, schema=stream.schema)
        finally:
            stream.close()
