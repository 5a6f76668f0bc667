"""What each worker of a joblist does now: small files that workers write and others only read.

A worker replaces ``.claims/states/NAME`` every few seconds, ``NAME`` being its name as a member,
and removes it at its end. The files are for people. No worker decides anything by them, so they
aren't synced, and a write that fails is left out.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from typing import Any

import msgspec

from jobtool import typed
from jobtool.errors import JobFileError
from jobtool.jobs.joblist import WORKERS_FOLDER
from jobtool.jobs.lease import SUFFIX
from jobtool.jobs.safe_read import UnfitFileError, read_bounded
from jobtool.names import quote, unquote

STATES_FOLDER = "states"  # in the folder of claims

WORKING, IDLE, PAUSED, ENDING = "working", "idle", "paused", "ending"

#: The phase of a worker that does batches of a job that another worker holds.
HELPING = "helping"

#: A larger file isn't read.
_MOST_BYTES = 16_384

#: The file of a worker that isn't a member is removed after this time by the next worker. Before,
#: the worker may be about to join.
_KEEP_SECONDS = 600.0


class WorkerState(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker does. Times are in seconds since 1970 by the worker's clock.

    ``worker`` is HOST:PID. ``state`` is ``working``, ``idle`` (it waits for a job), ``paused`` or
    ``ending``. ``job`` and ``job_id`` are those of the job that it holds, None without one;
    ``phase`` is what it does with it, or ``helping``. The counts of files and bytes are those of
    the job, None as long as they aren't known; for an export the totals are those of the chunks so
    far, and ``rows_done`` and ``rows_total`` are its rows. ``bytes_sent`` and ``jobs_done`` count
    since the worker's start. ``bytes_per_second`` is the rate of the last half minute, None at the
    start. ``moved`` is when it last moved a byte, None for never. ``written`` is when this was
    written, and ``period_seconds`` after how long the next is due.
    """

    worker: str
    rank: int = 0
    started: float
    written: float
    period_seconds: float
    state: str = IDLE
    job: str | None = None
    job_id: str | None = None
    phase: str = ""
    files_done: int | None = None
    files_total: int | None = None
    bytes_done: int | None = None
    bytes_total: int | None = None
    rows_done: int | None = None
    rows_total: int | None = None
    bytes_sent: int = 0
    bytes_per_second: float | None = None
    moved: float | None = None
    jobs_done: int = 0


class SeenState(msgspec.Struct, frozen=True, kw_only=True):
    """A state as it was read. ``age_seconds`` is how old it is by the reader's clock, 0 or more."""

    state: WorkerState
    age_seconds: float

    @property
    def is_late(self) -> bool:
        """Whether the worker should have written again long ago."""
        return self.age_seconds > 3 * self.state.period_seconds + 10

    @property
    def still_seconds(self) -> float | None:
        """How long ago the worker last moved a byte; None for never. Clocks aren't compared."""
        state = self.state
        if state.moved is None:
            return None
        return max(state.written - state.moved, 0.0) + self.age_seconds

    def json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            **_plain(self.state),
            "age_seconds": round(self.age_seconds, 1),
            "still_seconds": None if self.still_seconds is None else round(self.still_seconds, 1),
            "is_late": self.is_late,
        }


def encode(state: WorkerState) -> bytes:
    """Return the text of a state's file."""
    return msgspec.json.encode({"format": 1, **_plain(state)})


def _plain(state: WorkerState) -> dict[str, Any]:
    values: dict[str, Any] = msgspec.to_builtins(state)
    for key in ("job", "job_id"):
        values[key] = None if values[key] is None else quote(values[key])
    return values


def decode(data: bytes) -> WorkerState | None:
    """Read the text of a state's file; None if it is torn, or no worker would have written it."""
    try:
        state = typed.decode(data, WorkerState)
        names = {"job": state.job, "job_id": state.job_id}
        read = {key: None if name is None else unquote(name) for key, name in names.items()}
    except (msgspec.DecodeError, JobFileError, UnicodeDecodeError):
        return None
    numbers = (
        *(state.files_done, state.files_total, state.bytes_done, state.bytes_total),
        *(state.rows_done, state.rows_total, state.bytes_sent, state.bytes_per_second),
        *(state.moved, state.jobs_done, state.written, state.started, state.period_seconds),
    )
    if any(number is not None and not 0 <= number < 1e18 for number in numbers):
        return None
    return msgspec.structs.replace(state, **read)


class StateFile:
    """The file of one worker, ``name`` being its name as a member. Nothing here raises."""

    def __init__(self, claims_path: str, name: str) -> None:
        self._folder = os.path.join(claims_path, STATES_FOLDER)
        self._path = os.path.join(self._folder, name)
        self._temporary = os.path.join(self._folder, f".{name}.tmp")

    def write(self, state: WorkerState) -> None:
        """Replace the file."""
        data = encode(state)
        with contextlib.suppress(OSError):
            try:
                self._put(data)
            except FileNotFoundError:  # the first one, or somebody has removed the folder
                os.makedirs(self._folder, exist_ok=True)
                self._put(data)

    def _put(self, data: bytes) -> None:
        with open(self._temporary, "wb") as file:
            file.write(data)
        os.rename(self._temporary, self._path)

    def remove(self) -> None:
        """Remove the file."""
        for path in (self._temporary, self._path):
            with contextlib.suppress(OSError):
                os.unlink(path)

    def count(self) -> int:
        """Return how many workers have such a file, 1 or more."""
        try:
            return max(len(os.listdir(self._folder)), 1)
        except OSError:
            return 1

    def remove_ended(self, now: Callable[[], float] = time.time) -> None:
        """Remove the files of workers that were killed: they are old, and no members."""
        with contextlib.suppress(OSError):
            with os.scandir(self._folder) as found:
                old = [
                    entry.path
                    for entry in found
                    if now() - entry.stat(follow_symlinks=False).st_mtime > _KEEP_SECONDS
                ]
            members = os.path.join(os.path.dirname(self._folder), WORKERS_FOLDER)
            for path in old:
                name = os.path.basename(path).removeprefix(".").removesuffix(".tmp")
                if not os.path.lexists(os.path.join(members, name + SUFFIX)):
                    os.unlink(path)


class StateReader:
    """Reads the states of a joblist's workers, again and again: each file once for each change."""

    def __init__(self, claims_path: str, now: Callable[[], float] = time.time) -> None:
        self._folder = os.path.join(claims_path, STATES_FOLDER)
        self._now = now
        self._known: dict[str, tuple[tuple[int, int, int], WorkerState | None]] = {}

    def read(self) -> list[SeenState]:
        """Return all states that can be read, sorted by worker; none if there are none."""
        known, self._known = self._known, {}
        found: list[SeenState] = []
        moment = self._now()
        try:
            with os.scandir(self._folder) as entries:
                names = [entry.name for entry in entries if not entry.name.startswith(".")]
        except OSError:
            return []
        for name in names:
            path = os.path.join(self._folder, name)
            try:
                facts = os.stat(path)
                mark = (facts.st_ino, facts.st_mtime_ns, facts.st_size)
                before = known.get(name)
                if before is not None and before[0] == mark:
                    state = before[1]
                else:
                    state = decode(read_bounded(path, _MOST_BYTES))
            except (OSError, UnfitFileError):
                continue  # its worker has just ended, or it is something else
            self._known[name] = mark, state
            if state is not None:
                age = max(moment - facts.st_mtime, 0.0)
                found.append(SeenState(state=state, age_seconds=age))
        return sorted(found, key=lambda seen: (seen.state.worker, seen.state.started))
