"""The log of a job's chunks: what is known of each file that was made of its rows.

It is a file of JSON lines beside the journals. It stays when the job is done, since the manifest is
made from it and a repair compares rows with it. The order of events for a chunk is: its file is
made, its record is written and synced here, the file is sent, its receipt is written to the
journal. So a chunk has arrived if it has a record and a receipt for the same file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from jobtool import typed
from jobtool.errors import JoblistUnavailableError, JobtoolError, reason_of
from jobtool.jobs.linelog import append_lines, whole_lines
from jobtool.names import quote

#: A longer line is skipped: jobtool writes names, numbers, digests, and the types of columns.
MAX_LINE_BYTES = 16 * 1024 * 1024

#: A longer text isn't recorded as the least or greatest value of a chunk.
MAX_EXTREME_CHARACTERS = 1024


class ChunkRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="chunk"):
    """A file was made of the next rows.

    ``number`` counts the job's chunks from 1. ``rows`` is their number, ``digest`` that of the rows
    (``jobtool.export.rowdigest``). ``size`` in bytes and ``mtime_ns`` are those of the staged file.
    ``least`` and ``greatest`` are the extremes of the ordering column, None without one, if it has
    no values, or for a text of more than ``MAX_EXTREME_CHARACTERS``.
    """

    number: int
    name: str
    rows: int
    digest: str
    size: int
    mtime_ns: int
    least: str | int | float | None = None
    greatest: str | int | float | None = None

    def without_long_extremes(self) -> ChunkRecord:
        """Return the record as it may be written."""
        kept = {
            name: extreme
            for name in ("least", "greatest")
            if not isinstance(extreme := getattr(self, name), str)
            or len(extreme) <= MAX_EXTREME_CHARACTERS
        }
        return msgspec.structs.replace(self, **{"least": None, "greatest": None, **kept})


class EndRecord(msgspec.Struct, frozen=True, kw_only=True, tag="end"):
    """The query has ended after so many chunks and rows. ``schema`` describes the columns."""

    chunks: int
    rows: int
    schema: tuple[tuple[str, str], ...]


class RestartRecord(msgspec.Struct, frozen=True, kw_only=True, tag="restart"):
    """Chunks that were recorded before don't count any more: the rows have changed."""


class StaleRecord(msgspec.Struct, frozen=True, kw_only=True, tag="stale"):
    """Files of these names have receipts, and are about to be removed: no chunk is known of them.

    What is recorded of other chunks still counts.
    """

    names: tuple[str, ...]


class ClearedRecord(msgspec.Struct, frozen=True, kw_only=True, tag="cleared"):
    """The files of chunks that don't count any more are gone from the destination."""


Line = ChunkRecord | EndRecord | RestartRecord | StaleRecord | ClearedRecord


class ChunkLog:
    """The chunks of one job. One thread uses it at a time.

    ``chunks`` has those that count, by number; of two records of a chunk the last counts. ``end``
    is None as long as not all chunks are known. ``stale`` names the files that may still be at the
    destination although they don't count. ``require_held`` is called before every write.
    """

    def __init__(self, path: str, require_held: Callable[[], None] | None = None) -> None:
        self.path = path
        self.chunks: dict[int, ChunkRecord] = {}
        self.end: EndRecord | None = None
        self.stale: set[str] = set()
        self._require_held = require_held
        self._encoder = msgspec.json.Encoder()
        for line in self._read():
            self._take(line)

    def append(self, line: Line) -> None:
        """Add a line, durably. Raises ``JoblistUnavailableError``, ``ClaimLostError``."""
        if self._require_held is not None:
            self._require_held()
        if isinstance(line, ChunkRecord):
            line = line.without_long_extremes()
        data = self._encoder.encode(line) + b"\n"
        try:
            append_lines(self.path, data)
        except OSError as error:
            raise JoblistUnavailableError(
                f"can't write {quote(self.path)}: {reason_of(error)}"
            ) from None
        self._take(line)

    def _take(self, line: Line) -> None:
        if isinstance(line, ChunkRecord):
            self.chunks[line.number] = line
            self.end = None
        elif isinstance(line, EndRecord):
            self.end = line
            # The files of others were removed before: they had no receipt.
            self.chunks = {
                number: chunk for number, chunk in self.chunks.items() if number <= line.chunks
            }
        elif isinstance(line, RestartRecord):
            self.stale |= {chunk.name for chunk in self.chunks.values()}
            self.chunks, self.end = {}, None
        elif isinstance(line, StaleRecord):
            self.stale |= set(line.names)
        else:
            self.stale = set()

    def _read(self) -> Iterator[Line]:
        decoder = typed.decoder_of(Line)
        try:
            for text in whole_lines(self.path, most_bytes=MAX_LINE_BYTES):
                try:
                    yield decoder.decode(text)
                except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                    continue
        except OSError as error:
            raise JobtoolError(
                f"{quote(self.path)} can't be read as a log of chunks: {reason_of(error)}"
            ) from None
