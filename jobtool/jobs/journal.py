"""The journal: the records of a job under way, one line of JSON each.

Records are appended and flushed in batches. A kill costs the last batch, whose files are sent
again. When the job is done, the receipts in the journal become a table.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator

import msgspec

from jobtool import typed
from jobtool.errors import JobFileError, JoblistUnavailableError, JobtoolError, reason_of
from jobtool.failpoints import reach
from jobtool.jobs.atomic_write import replace_file, sync_folder
from jobtool.jobs.records import Record, quoted, unquoted
from jobtool.jobs.safe_read import open_without_waiting
from jobtool.names import quote

JOURNAL_SUFFIX = ".jsonl"

#: A longer line of a journal is skipped: jobtool writes two paths and some numbers.
MAX_LINE_BYTES = 256 * 1024


class Journal:
    """The records of a job under way. Threads may append and flush.

    ``require_held`` is called before every write; an exception from it prevents the write.
    """

    def __init__(self, path: str, require_held: Callable[[], None] | None = None) -> None:
        self.path = path
        self._require_held = require_held
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._pending: list[bytes] = []
        self._is_unsafe = False  # the files that the records prove could not be made durable
        self._descriptor: int | None = None
        self._encoder = msgspec.json.Encoder()

    @property
    def exists(self) -> bool:
        """Whether the journal exists on disk."""
        return os.path.exists(self.path)

    def append(self, record: Record) -> None:
        """Add a record; it is durable after the next ``flush``."""
        reach("before a record", self, record)
        line = self._encoder.encode(quoted(record))
        with self._lock:
            self._pending.append(line)
        reach("after a record", self, record)

    def flush(self, before: Callable[[], None] | None = None) -> None:
        """Write and sync the records that were appended since the last flush.

        If there are any, ``before`` is called first: it makes durable what the records prove. If
        that or writing fails, the records are kept for the next flush. After ``before`` has failed,
        nothing is written until it succeeds: a receipt must not outlive its file. Raises
        ``JoblistUnavailableError``, and what ``before`` and ``require_held`` raise.
        """
        with self._writing:
            if before is None and self._is_unsafe:
                return
            with self._lock:
                pending, self._pending = self._pending, []
            if not pending:
                return
            reach("before the journal is flushed")
            try:
                if before is not None:
                    self._is_unsafe = True
                    before()
                    self._is_unsafe = False
                if self._require_held is not None:
                    self._require_held()
                self._write(b"\n".join(pending) + b"\n")
            except BaseException:
                with self._lock:
                    self._pending = pending + self._pending  # for the next flush
                raise
            reach("after the journal is flushed")

    def _write(self, data: bytes) -> None:
        try:
            if self._descriptor is None:
                self._descriptor = self._open()
            while data:
                data = data[os.write(self._descriptor, data) :]
            os.fsync(self._descriptor)
        except OSError as error:
            self._close_descriptor()  # opening the journal again ends a torn line
            raise JoblistUnavailableError(
                f"can't write {quote(self.path)}: {reason_of(error)}"
            ) from None

    def close(self) -> None:
        """Flush and close. Records of what could not be made durable aren't written."""
        try:
            self.flush()
        finally:
            self._close_descriptor()

    def discard(self) -> None:
        """Close without a flush: another worker may hold the job now."""
        with self._lock:
            self._pending = []
        self._close_descriptor()

    def _close_descriptor(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            with contextlib.suppress(OSError):  # what was written is synced already
                os.close(descriptor)

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW  # a journal is never a link
        try:
            descriptor = os.open(self.path, flags, 0o666)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(self.path), exist_ok=True)
            descriptor = os.open(self.path, flags, 0o666)
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            os.write(descriptor, b"\n")  # ends the torn line of a killed worker
        sync_folder(os.path.dirname(self.path))
        return descriptor

    def read(self) -> Iterator[Record]:
        """Yield the records on disk, oldest first. Torn, invalid and too long lines are skipped.

        Yields none if the journal is missing. Raises ``JobtoolError`` if it can't be read.
        """
        decoder = typed.decoder_of(Record)
        try:
            with open(self.path, "rb", opener=open_without_waiting) as file:
                is_whole = True  # whether the next piece begins a line
                while line := file.readline(MAX_LINE_BYTES):
                    was_whole, is_whole = is_whole, line.endswith(b"\n")
                    if not was_whole or len(line) == MAX_LINE_BYTES:
                        continue
                    try:
                        yield unquoted(decoder.decode(line))
                    except (msgspec.DecodeError, UnicodeDecodeError, JobFileError, RecursionError):
                        continue
        except FileNotFoundError:
            return
        except OSError as error:
            raise JobtoolError(
                f"{quote(self.path)} can't be read as a journal: {reason_of(error)}"
            ) from None

    def replace(self, records: Iterable[Record]) -> None:
        """Replace all records, atomically and durably.

        ``records`` may be read from the journal itself. Raises ``JoblistUnavailableError``, and
        what ``require_held`` raises.
        """
        self.close()
        lines = [self._encoder.encode(quoted(record)) + b"\n" for record in records]
        try:
            os.makedirs(os.path.dirname(self.path), exist_ok=True)
            replace_file(self.path, b"".join(lines), before=self._require_held)
        except OSError as error:
            raise JoblistUnavailableError(
                f"can't write {quote(self.path)}: {reason_of(error)}"
            ) from None

    def remove(self) -> None:
        """Remove the journal. Its receipts must be in the table.

        Raises ``JoblistUnavailableError``.
        """
        reach("before the journal is removed")
        self.close()
        try:
            os.unlink(self.path)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise JoblistUnavailableError(
                f"can't remove {quote(self.path)}: {reason_of(error)}"
            ) from None
        reach("after the journal is removed")


def read_journals(folder: str) -> Iterator[Record]:
    """Yield the records of all journals in a folder, by name; none if the folder is missing."""
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return
    for name in names:
        if name.endswith(JOURNAL_SUFFIX):
            yield from Journal(os.path.join(folder, name)).read()
