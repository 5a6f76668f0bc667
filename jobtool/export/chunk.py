"""A chunk under way: a file is written, or rows are compared with those of an earlier one."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import msgspec

from jobtool.errors import JobtoolError, StoreUnavailableError, reason_of
from jobtool.export.chunklog import ChunkRecord
from jobtool.export.formats.format import ChunkWriter
from jobtool.export.rowdigest import RowDigest
from jobtool.export.statistics import Extremes
from jobtool.names import quote

if TYPE_CHECKING:
    import pyarrow as pa


class RowsChangedError(JobtoolError):
    """A query gave other rows than before, or the same in another order."""


class ChunkPlan(msgspec.Struct, frozen=True, kw_only=True):
    """How the rows of a job are cut into chunks.

    A chunk has ``rows`` rows or, if that is None, is closed after the block with which its file has
    reached ``size_bytes``. ``fetch_rows`` rows are asked for at a time. ``name`` returns the name
    of a chunk by its number, from 1. With ``has_file_without_rows`` a result without rows gives one
    file. ``extremes_of`` is the column whose extremes are recorded.
    """

    rows: int | None
    size_bytes: int | None
    fetch_rows: int
    name: Callable[[int], str]
    has_file_without_rows: bool
    extremes_of: str | None = None


class Chunk:
    """A chunk under way: its rows are written, or compared with those of one that has arrived."""

    def __init__(
        self,
        number: int,
        name: str,
        path: str,
        schema: pa.Schema,
        plan: ChunkPlan,
        writer: ChunkWriter | None,
        known: ChunkRecord | None,
    ) -> None:
        self._number = number
        self._name = name
        self._path = path
        self._plan = plan
        self._writer = writer
        self._known = known
        self._rows = 0
        self._digest = RowDigest(schema)
        self._extremes = Extremes(plan.extremes_of) if plan.extremes_of else None

    @property
    def is_full(self) -> bool:
        """Whether no more rows belong to it."""
        if self._known is not None:
            return self._rows >= self._known.rows
        if self._plan.rows is not None:
            return self._rows >= self._plan.rows
        assert self._plan.size_bytes is not None
        with of_staging(self._path):
            return os.path.getsize(self._path) >= self._plan.size_bytes

    def add(self, block: pa.RecordBatch) -> None:
        """Add rows."""
        self._rows += block.num_rows
        self._digest.update(block)
        if self._writer is not None:
            if self._extremes is not None:
                self._extremes.update(block)
            with of_staging(self._path):
                self._writer.write(block)

    def finish(self) -> ChunkRecord:
        """Close the file, and return its record."""
        digest = self._digest.hexdigest()
        if self._known is not None:
            if (self._rows, digest) != (self._known.rows, self._known.digest):
                raise RowsChangedError(
                    f"{quote(self._name)} has arrived before, and the query gives other rows for "
                    "it now, or the same in another order"
                )
            return self._known
        assert self._writer is not None
        with of_staging(self._path):
            self._writer.close()
            found = os.stat(self._path)
        extremes = self._extremes
        return ChunkRecord(
            number=self._number,
            name=self._name,
            rows=self._rows,
            digest=digest,
            size=found.st_size,
            mtime_ns=found.st_mtime_ns,
            least=extremes.minimum if extremes else None,
            greatest=extremes.maximum if extremes else None,
        )

    def abort(self) -> None:
        """Remove an unfinished file."""
        if self._writer is not None:
            with contextlib.suppress(Exception):
                self._writer.abort()


@contextlib.contextmanager
def of_staging(path: str) -> Iterator[None]:
    """Translate the errors of the staging folder: a full disk isn't a fault of the job."""
    try:
        yield
    except OSError as error:
        raise StoreUnavailableError(
            f"can't write {quote(path)}: {reason_of(error)}. Chunks are staged in "
            f"{quote(os.path.dirname(path))}: free space there, or export with another --staging."
        ) from None
