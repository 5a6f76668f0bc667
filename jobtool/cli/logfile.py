"""A worker's log in a file of its own, which is rotated: a run of weeks fills no disk by it.

Nothing fails the work. A line that can't be written, such as on a full disk, is counted, and the
log says how many are missing once lines can be written again.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

from jobtool.cli.console import FAILED, INFO
from jobtool.errors import UsageError, reason_of
from jobtool.events import Event
from jobtool.level import Level
from jobtool.names import quote
from jobtool.redact import redact

DEFAULT_MAX_BYTES = 100 * 1024 * 1024
DEFAULT_KEEP = 5

#: After how long a rotation is tried again that has failed.
_AGAIN_SECONDS = 60.0


def log_path(pattern: str, *, host: str, pid: int, rank: int, size: int) -> str:
    """Return the path of a worker's log: ``%h`` is its host, ``%p`` its process, ``%r`` its rank.

    Several ranks need a file each: without ``%p`` and ``%r`` the rank is put before the name's
    ending. ``%%`` is a percent sign. Raises ``UsageError`` for other letters.
    """
    values = {"h": host, "p": str(pid), "r": str(rank), "%": "%"}
    pieces, used, rest = [], set[str](), pattern
    while rest:
        plain, sign, rest = rest.partition("%")
        pieces.append(plain)
        if not sign:
            break
        letter, rest = rest[:1], rest[1:]
        if letter not in values:
            raise UsageError(
                f"--log-file: expected %h, %p, %r or %% in {quote(pattern)}; found %{letter}"
            )
        used.add(letter)
        pieces.append(values[letter])
    path = "".join(pieces)
    if size > 1 and not used & {"p", "r"}:
        base, ending = os.path.splitext(path)
        path = f"{base}.{rank}{ending}"
    return os.path.abspath(os.path.expanduser(path))


class LogFile:
    """Writes events and notes as lines with their time in UTC. Any thread may call it.

    The file has at most ``max_bytes``, then it becomes ``NAME.1``, what was ``NAME.1`` becomes
    ``NAME.2``, and so on; ``keep`` old ones are kept. ``place`` is added to each line of JSON.
    Raises ``UsageError`` if the file can't be written, or another worker writes it.
    """

    def __init__(
        self,
        path: str,
        *,
        as_json: bool = False,
        verbosity: int = 1,
        max_bytes: int = DEFAULT_MAX_BYTES,
        keep: int = DEFAULT_KEEP,
        place: Mapping[str, str | int] | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.path = path
        self._as_json = as_json
        self._level = max(verbosity, Level.NORMAL)
        self._max_bytes = max_bytes
        self._keep = keep
        self._place = place or {}
        self._now = now
        self._lock = threading.Lock()
        self._lost = 0
        self._why_lost = ""
        self._is_torn = False
        self._rotate_from = 0.0
        try:
            self._descriptor = self._opened(path)
        except BlockingIOError:
            raise UsageError(
                f"--log-file {quote(path)}: expected a file of this worker's own; found that "
                "another one writes it. Name one for each, as in worker-%h-%p.log."
            ) from None
        except OSError as error:
            raise UsageError(f"--log-file: can't write {quote(path)}: {reason_of(error)}") from None

    def emit(self, event: Event) -> None:
        """Write an event, if the verbosity asks for it."""
        is_repeated = event.kind == "progress" and self._level == Level.NORMAL
        if event.level > self._level or (is_repeated and not self._as_json):
            return  # run-progress says more in fewer lines
        if self._as_json:
            self._write_json({**event.json(), **self._place})
        else:
            self._write_text(f"{event.mark()} {event.text()}")

    def note(self, text: str, symbol: str = INFO) -> None:
        """Write a sentence for people."""
        if self._as_json:
            self._write_json({"event": "note", "text": text, **self._place})
        else:
            self._write_text(f"{symbol} {text}")

    def error(self, text: str) -> None:
        """Write the error that ends the command."""
        if self._as_json:
            self._write_json({"event": "failed", "text": text, **self._place})
        else:
            self._write_text(f"{FAILED} {text}")

    def close(self) -> None:
        """Close the file."""
        with self._lock, contextlib.suppress(OSError):
            os.close(self._descriptor)
            self._descriptor = -1

    def _stamp(self) -> str:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._now()))

    def _write_json(self, values: dict[str, Any]) -> None:
        self._write([json.dumps({"time": self._stamp(), **values}, default=str)])

    def _write_text(self, text: str) -> None:
        stamp = self._stamp()
        self._write([f"{stamp} {line}" for line in text.split("\n")])

    def _write(self, lines: list[str]) -> None:
        data = "".join(f"{redact(line)}\n" for line in lines)
        with self._lock:
            if self._descriptor < 0:
                return
            if self._lost:
                data = self._missing() + data
            if self._is_torn:
                data = "\n" + data
            encoded = data.encode("utf-8", "backslashreplace")
            try:
                self._make_room(len(encoded))
                self._put(encoded)
            except OSError as error:
                self._lost += len(lines)
                self._why_lost = reason_of(error)

    def _missing(self) -> str:
        text = f"{self._lost} line(s) are missing: {self._why_lost}"
        if self._as_json:
            values = {"time": self._stamp(), "event": "note", "text": text, **self._place}
            return json.dumps(values) + "\n"
        return f"{self._stamp()} ❗ {text}\n"

    def _put(self, data: bytes) -> None:
        """Write whole lines; raise ``OSError``. What was written of them stays, as a line."""
        written = os.write(self._descriptor, data)
        self._is_torn = written < len(data)
        if self._is_torn:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._lost = 0

    def _make_room(self, size: int) -> None:
        """Rotate the files if these bytes don't fit. If that fails, the file grows."""
        found = os.fstat(self._descriptor).st_size
        if not found or found + size <= self._max_bytes or self._now() < self._rotate_from:
            return
        try:
            self._rotate()
        except OSError:
            self._rotate_from = self._now() + _AGAIN_SECONDS

    def _rotate(self) -> None:
        # Opened before any is renamed: where that fails, again and again, no old one is pushed out.
        fresh = f"{self.path}.new"
        descriptor = self._opened(fresh)
        try:
            names = [self.path, *(f"{self.path}.{number}" for number in range(1, self._keep + 1))]
            for before, after in reversed([*pairwise(names)]):
                with contextlib.suppress(FileNotFoundError):
                    os.rename(before, after)
            os.rename(fresh, self.path)
        except OSError:
            os.close(descriptor)
            with contextlib.suppress(OSError):
                os.unlink(fresh)
            raise
        os.close(self._descriptor)
        self._descriptor = descriptor

    def _opened(self, path: str) -> int:
        """Open a file to append to it, and lock it where that is possible. Raises ``OSError``."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY
        descriptor = os.open(path, flags, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise
        except OSError:
            pass  # a filesystem without locks
        return descriptor
