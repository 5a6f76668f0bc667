"""Which notices were sent: files in the joblist, by which many workers tell each thing once.

A notice is sent **at least once** by each channel. A worker first takes the notice by creating a
file, which only one can, then sends it, then writes into the file that it was sent. A worker that
is killed in between leaves the file as it is. Another one takes such a notice over once the first
is known to be dead, or after ``STALE_SECONDS``. So a notice comes twice only if a worker is killed
after the other side has accepted it and before that is written down.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator

import msgspec

from jobtool import typed
from jobtool.jobs.atomic_write import create_file, replace_file
from jobtool.jobs.process import is_process
from jobtool.jobs.safe_read import UnfitFileError, read_bounded

FOLDER = "notices"  # in the folder of claims

#: After how long a notice that nobody has finished sending is taken over. Sending takes less.
STALE_SECONDS = 900.0

#: How often a notice is taken in all: by those who take over, and again after failures.
MOST_TAKEN = 20

_MOST_BYTES = 16_384


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """What a file says: ``state`` is ``sending``, ``sent`` or ``failed``, ``reason`` why it failed.

    ``host`` and ``pid`` are those of the process that took the notice.
    """

    state: str
    host: str = ""
    pid: int = 0
    title: str = ""
    reason: str = ""


class Taken:
    """A notice that this process has taken for one channel, until it says how that ended."""

    def __init__(self, path: str, mark: Mark) -> None:
        self._path = path
        self._mark = mark

    def end(self, *, reason: str | None) -> None:
        """Write down that it was sent; or why it wasn't. Raises nothing."""
        state = "sent" if reason is None else "failed"
        mark = msgspec.structs.replace(self._mark, state=state, reason=reason or "")
        with contextlib.suppress(OSError):
            replace_file(self._path, msgspec.json.encode(mark))


class Markers:
    """The notices of a joblist. ``now`` is in seconds since 1970."""

    def __init__(
        self,
        claims_path: str,
        *,
        host: str,
        pid: int,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._folder = os.path.join(claims_path, FOLDER)
        self._host = host
        self._pid = pid
        self._now = now

    def ages(self, prefix: str) -> dict[str, float]:
        """Return the keys that begin with ``prefix``, with how long ago each was first taken."""
        found: dict[str, float] = {}
        try:
            with os.scandir(self._folder) as entries:
                for entry in entries:
                    key, at, _ = entry.name.partition("@")
                    if at and key.startswith(prefix):
                        with contextlib.suppress(FileNotFoundError):
                            age = self._now() - entry.stat(follow_symlinks=False).st_mtime
                            found[key] = max(age, found.get(key, age))
        except OSError:
            return {}
        return found

    def note(self, key: str) -> None:
        """Remember an occasion of which nobody is told. Raises nothing."""
        mark = Mark(state="sent", host=self._host, pid=self._pid)
        with contextlib.suppress(OSError):
            os.makedirs(self._folder, exist_ok=True)
            create_file(self._path(key, "nobody", 1), msgspec.json.encode(mark))

    def count(self, prefix: str) -> int:
        """Return how many keys begin with ``prefix``."""
        return len(self.ages(prefix))

    @contextlib.contextmanager
    def alone(self, what: str) -> Iterator[bool]:
        """Yield whether no other process is in such a block, so that one of many looks.

        That of a process that has died counts no more, at the latest after ``STALE_SECONDS``.
        Raises ``OSError``.
        """
        path = os.path.join(self._folder, f"{what}.look")
        data = msgspec.json.encode(Mark(state="sending", host=self._host, pid=self._pid))
        os.makedirs(self._folder, exist_ok=True)
        is_alone = create_file(path, data)
        if not is_alone:
            with contextlib.suppress(OSError, UnfitFileError, msgspec.DecodeError):
                age = self._now() - os.stat(path).st_mtime
                mark = typed.decode(read_bounded(path, _MOST_BYTES), Mark)
                if self._is_dead(mark, age):
                    os.unlink(path)  # two may do so at once: then both look, which is harmless
                    is_alone = create_file(path, data)
        try:
            yield is_alone
        finally:
            if is_alone:
                with contextlib.suppress(OSError):
                    os.unlink(path)

    def is_open(self, key: str, channel: str, *, again: bool) -> bool:
        """Return True if ``take`` would take the notice now, or fail, as far as one look shows."""
        try:
            return self._next(key, channel, again=again) is not None
        except OSError:
            return True

    def take(self, key: str, channel: str, *, title: str, again: bool = False) -> Taken | None:
        """Take a notice; None if it was sent, or another process sends it.

        One that failed is taken only with ``again``. Raises ``OSError`` if the joblist can't be
        written.
        """
        number = self._next(key, channel, again=again)
        if number is None:
            return None
        mark = Mark(state="sending", host=self._host, pid=self._pid, title=title)
        path = self._path(key, channel, number)
        os.makedirs(self._folder, exist_ok=True)
        return Taken(path, mark) if create_file(path, msgspec.json.encode(mark)) else None

    def _next(self, key: str, channel: str, *, again: bool) -> int | None:
        for number in range(1, MOST_TAKEN + 1):
            path = self._path(key, channel, number)
            try:
                age = self._now() - os.stat(path).st_mtime
                mark = typed.decode(read_bounded(path, _MOST_BYTES), Mark)
            except FileNotFoundError:
                return number
            except UnfitFileError:
                return None
            except msgspec.DecodeError:  # somebody has edited it
                mark = Mark(state="sending")
            is_over = mark.state == "sent" or (mark.state == "failed" and not again)
            if is_over or (mark.state == "sending" and not self._is_dead(mark, age)):
                return None
        return None

    def _is_dead(self, mark: Mark, age: float) -> bool:
        if mark.host == self._host and mark.pid > 0 and not is_process(mark.pid):
            return True
        return age > STALE_SECONDS

    def _path(self, key: str, channel: str, number: int) -> str:
        return os.path.join(self._folder, f"{key}@{channel}.{number}")
