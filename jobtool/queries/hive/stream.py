"""A query that runs at the server: waiting for it, its rows, its end."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

from jobtool.errors import JobtoolError, QueryInterruptedError, QueryRefusedError
from jobtool.queries.hive import errors
from jobtool.queries.hive.columns import batch_of, schema_of
from jobtool.queries.hive.session import Session

if TYPE_CHECKING:
    import pyarrow as pa

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.01, 1.0

#: How long a thread that waits for a cancelled query may get no answer.
_ANSWER_SECONDS = 5.0

_NO_ROWS = "expected a query that returns rows, such as SELECT …"


class HiveStream:
    """A running query. It begins at once and computes while nobody waits.

    ``schema`` and iterating wait until the server has the first rows, however long that takes, by
    asking again and again; they raise what iterating raises, and ``QueryRefusedError``: Spark
    checks a query only while it runs.
    """

    def __init__(
        self, session: Session, query: str, *, rows: int, timestamp_unit: str, by_hive: bool
    ) -> None:
        self._session = session
        self._rows = rows
        self._timestamp_unit = timestamp_unit
        self._hive_query = query if by_hive else None
        self._cancelled = threading.Event()
        self._answered = threading.Event()
        self._answered.set()
        self._closed = False
        answer = session.call_in_session("ExecuteStatement", statement=query, runAsync=True)
        self._handle = answer.operationHandle

    @cached_property
    def schema(self) -> pa.Schema:
        """The columns."""
        if not self.wait():
            raise QueryRefusedError(_NO_ROWS)
        return self._columns()

    def planned_schema(self) -> pa.Schema:
        """Return the columns before the first row is there. Spark can't tell them so early."""
        if not self._handle.hasResultSet:
            raise QueryRefusedError(_NO_ROWS)
        return self._columns()

    def _columns(self) -> pa.Schema:
        metadata = self._call("GetResultSetMetadata").schema
        return schema_of(metadata, timestamp_unit=self._timestamp_unit, hive_query=self._hive_query)

    def wait(self) -> bool:
        """Wait until the query has its first rows, or is done. Return whether it returns rows."""
        from impala.hiveserver2 import TOperationState

        pause = _FIRST_PAUSE_SECONDS
        while True:
            answer = self._status()
            if answer.operationState == TOperationState.FINISHED_STATE:
                return bool(
                    self._handle.hasResultSet
                    if getattr(answer, "hasResultSet", None) is None
                    else answer.hasResultSet
                )
            self._cancelled.wait(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE_SECONDS)

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows."""
        from impala.hiveserver2 import TFetchOrientation

        schema = self.schema
        pause = _FIRST_PAUSE_SECONDS
        while True:
            answer = self._call(
                "FetchResults", orientation=TFetchOrientation.FETCH_NEXT, maxRows=self._rows
            )
            batch = batch_of(answer.results, schema)
            if batch.num_rows:
                pause = _FIRST_PAUSE_SECONDS
                yield batch
            elif answer.hasMoreRows:  # Impala, if none came within its time limit for a fetch
                self._cancelled.wait(pause)
                pause = min(pause * 1.5, _LONGEST_PAUSE_SECONDS)
            else:
                break
        self._status()  # a query that was cancelled may have just ended

    def cancel(self) -> None:
        """Stop the query. A thread that waits for it gets ``QueryInterruptedError``."""
        self._cancelled.set()
        if self._closed:
            return
        done = self._session.cancel(self._handle)
        if not self._answered.wait(_ANSWER_SECONDS if done else 0):
            self._session.shut_down()

    def close(self) -> None:
        """End the query at the server."""
        if not self._closed and self._session.is_open:
            with contextlib.suppress(Exception):
                self._session.call("CloseOperation", operationHandle=self._handle)
        self._closed = True

    def _status(self) -> Any:
        """Return the query's state, if it is finished or still executes."""
        from impala.hiveserver2 import TOperationState

        answer = self._call("GetOperationStatus")
        state = answer.operationState
        going = (
            TOperationState.INITIALIZED_STATE,
            TOperationState.PENDING_STATE,
            TOperationState.RUNNING_STATE,
            TOperationState.FINISHED_STATE,
        )
        if state in going:
            return answer
        if state == TOperationState.ERROR_STATE:
            raise self._told(errors.of_query(answer.errorMessage, answer.sqlState))
        raise self._told(QueryInterruptedError("the query was cancelled, by the server or a user"))

    def _call(self, operation: str, **fields: Any) -> Any:
        self._answered.clear()
        try:
            self._check()
            answer = self._session.call(operation, operationHandle=self._handle, **fields)
        except JobtoolError as error:
            raise self._told(error) from None
        finally:
            self._answered.set()
        self._check()
        return answer

    def _check(self) -> None:
        if self._cancelled.is_set():
            raise QueryInterruptedError("the query was cancelled")

    def _told(self, error: JobtoolError) -> JobtoolError:
        """Return an error, or that of a query which was cancelled here."""
        cancelled = self._cancelled.is_set()
        return QueryInterruptedError("the query was cancelled") if cancelled else error
