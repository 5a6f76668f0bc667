"""The state file: which chunks are finished, of which version of which source.

It is JSON and replaced as a whole. A lock beside it, ``PATH.lock``, keeps other runs out.
"""

from __future__ import annotations

import time
from typing import Annotated

import msgspec
from filelock import FileLock, Timeout

from jobtool import typed
from jobtool.chunks.errors import StateFileError
from jobtool.chunks.records import Key, offsets_of
from jobtool.errors import JobFileError, reason_of
from jobtool.jobs.atomic_write import replace_file
from jobtool.jobs.safe_read import UnfitFileError, read_bounded
from jobtool.names import quote, unquote

KIND = "jobtool chunks"
VERSION = 1

_MAX_BYTES = 1 << 30
_PAUSE_SECONDS = 1.0
#: Writing takes at most about this part of the time.
_SHARE = 0.1


class FileRecord(msgspec.Struct, kw_only=True):
    """A file as the state file has it, with its names quoted.

    ``chunks`` are the numbers of finished chunks, as ranges, each with its first number and the one
    after its last. ``source`` is the identity of the version that they are of.
    """

    src: str
    dst: str
    length: Annotated[int, msgspec.Meta(ge=0)]
    source: str
    finished: bool = False
    chunks: list[tuple[int, int]] = []


class State(msgspec.Struct, kw_only=True):
    """All that the state file holds."""

    kind: str = KIND
    version: int = VERSION
    name: str
    chunksize: Annotated[int, msgspec.Meta(gt=0)]
    merges: bool
    files: list[FileRecord] = []

    def by_key(self) -> dict[Key, FileRecord]:
        """Return the records by (src, dst). Raises ``JobFileError`` and ``ValueError``."""
        for record in self.files:
            most = len(offsets_of(record.length, self.chunksize))
            if any(not 0 <= first < end <= most for first, end in record.chunks):
                raise ValueError(f"chunks beyond the {most} of {record.src}")
        return {(unquote(record.src), unquote(record.dst)): record for record in self.files}


class _Head(msgspec.Struct):
    kind: str = ""
    version: int = 0


class StateFile:
    """A state file, locked from ``open`` to ``close``.

    Raises ``StateFileError`` wherever it can't be read, written or locked.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._lock = FileLock(path + ".lock", timeout=0, thread_local=False, fallback_to_soft=False)
        self._due = 0.0

    def open(self) -> State | None:
        """Lock the file and return its state; None if there is none yet."""
        try:
            self._lock.acquire()
        except Timeout:
            raise StateFileError(
                f"state file {quote(self.path)}: another run uses it. Wait until that has ended, "
                "or give this transfer a state file of its own."
            ) from None
        except (OSError, NotImplementedError) as error:  # a filesystem without flock
            raise self._error(f"can't be locked: {reason_of(error)}") from None
        try:
            self._due = time.monotonic() + _PAUSE_SECONDS
            return self._read()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Release the lock. Its file stays: two runs could lock two files otherwise."""
        self._lock.release()

    def _read(self) -> State | None:
        try:
            data = read_bounded(self.path, _MAX_BYTES)
        except FileNotFoundError:
            return None
        except (OSError, UnfitFileError) as error:
            raise self._error(f"can't be read: {reason_of(error)}") from None
        try:
            head = typed.decode(data, _Head)
            if head.kind != KIND:
                raise self._error(f"expected the state of a TransferClient; found {head.kind!r}")
            if head.version != VERSION:
                raise self._error(
                    f"expected version {VERSION}; found version {head.version}, which this "
                    "jobtool can't read. Use the version of jobtool that wrote it."
                )
            state = typed.decode(data, State)
            state.by_key()
        except (ValueError, RecursionError, JobFileError) as error:
            raise self._error(f"expected the state of a TransferClient; found {error}") from None
        return state

    def _error(self, what: str) -> StateFileError:
        return StateFileError(
            f"state file {quote(self.path)}: {what}. To start anew, name another file or remove it."
        )

    def is_due(self) -> bool:
        """Return True if it is time to write again: once a second, less often if that is slow."""
        return time.monotonic() >= self._due

    def write(self, state: State) -> None:
        """Replace the file, durably."""
        begun = time.monotonic()
        try:
            replace_file(self.path, msgspec.json.encode(state))
        except OSError as error:
            raise StateFileError(
                f"state file {quote(self.path)}: can't be written: {reason_of(error)}"
            ) from None
        now = time.monotonic()
        self._due = now + max(_PAUSE_SECONDS, (now - begun) / _SHARE)
