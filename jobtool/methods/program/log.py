"""The file that keeps a program's output."""

from __future__ import annotations

import contextlib
import os
from collections import deque

from jobtool.redact import redact

#: How much of a program's output is kept: bytes of its beginning, and its last lines.
FIRST_BYTES = 512 * 1024
LAST_LINES = 200

#: A longer line is cut.
_LINE_BYTES = 4096


class ProgramLog:
    """Appends a program's output to a file: its beginning and its last lines. Secrets are redacted.

    A log that can't be written is given up: it must not fail the work. ``path`` is its path. It is
    made when the first line is added. No other user may write to it: the next attempt may read
    there what a killed worker has started.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._left = FIRST_BYTES
        self._skipped = 0
        self._last: deque[bytes] = deque(maxlen=LAST_LINES)
        self._descriptor: int | None = None
        self._is_given_up = False

    def add(self, line: str) -> None:
        """Add a line without its end."""
        data = redact(line).encode(errors="surrogateescape")[:_LINE_BYTES] + b"\n"
        if len(data) <= self._left:
            self._left -= len(data)
            self._write(data)
            return
        self._left = 0
        self._skipped += len(self._last) == LAST_LINES
        self._last.append(data)

    def close(self) -> None:
        """Write the last lines, and close the file."""
        if self._last:
            told = f"[{self._skipped} lines left out]\n" if self._skipped else ""
            self._write(told.encode() + b"".join(self._last))
            self._last.clear()
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            with contextlib.suppress(OSError):
                os.close(descriptor)

    def _write(self, data: bytes) -> None:
        if self._is_given_up:
            return
        try:
            if self._descriptor is None:
                os.makedirs(os.path.dirname(self.path), exist_ok=True)
                flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
                # Another user may have put a link or a named pipe there.
                flags |= os.O_NOFOLLOW | os.O_NONBLOCK
                self._descriptor = os.open(self.path, flags, 0o644)
            os.write(self._descriptor, data)
        except OSError:
            self._is_given_up = True
