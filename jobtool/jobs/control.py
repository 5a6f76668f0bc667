"""``control.json``: what people have asked the workers of a joblist to do.

``jobtool pause``, ``resume``, ``stop`` and ``set`` replace the file as a whole. Workers look at it
every few seconds. Whoever can write to the joblist can steer it. Nothing in the file names a place
or a program.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Annotated

import msgspec
from msgspec.structs import replace

from jobtool import typed
from jobtool.errors import JobFileError, JoblistError, UsageError, reason_of
from jobtool.jobs.editing import edit_file
from jobtool.jobs.job import Job, JobStatus
from jobtool.jobs.jobfile import PRIORITY
from jobtool.jobs.joblist import JobList
from jobtool.jobs.joblog import decode_log
from jobtool.jobs.safe_read import UnfitFileError, open_without_waiting, read_open
from jobtool.jobs.settings import FILENAME as SETTINGS
from jobtool.names import quote, unquote
from jobtool.units import size_text

FILENAME = "control.json"
FORMAT = 1

#: A larger file isn't read: it has room for the names of 100,000 jobs.
MAX_BYTES = 32 * 1024 * 1024

#: The value of a stop in the log of the job that it has ended.
STOP_KEY = "stop"

_LOCK = "control.lock"
_STILL_UNDONE = frozenset({"claimed", "handed-back", "error", "progress"})

_Attempts = Annotated[int, msgspec.Meta(ge=0)]
_Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """Who has asked for something, on which host, and when (in UTC)."""

    by: str
    at: _Moment
    host: str = ""


class Pause(Asked, frozen=True, kw_only=True):
    """A pause of some jobs, by their IDs; of the whole joblist if ``jobs`` is None."""

    jobs: frozenset[str] | None = None


class WorkersStop(Asked, frozen=True, kw_only=True):
    """A stop of the workers that were started before it. ``token`` is unique to it."""

    token: str


class JobsStop(WorkersStop, frozen=True, kw_only=True):
    """A stop of some jobs: by their IDs, the last attempt that it is about."""

    jobs: Mapping[str, _Attempts]


class Control(msgspec.Struct, frozen=True, kw_only=True):
    """All that is asked. ``priorities`` repeats those in job files, which need no reading so.

    In memory job IDs are as ``JobList`` has them. In the file they are quoted.
    """

    format: int = FORMAT
    pauses: tuple[Pause, ...] = ()
    stop: WorkersStop | None = None
    job_stops: tuple[JobsStop, ...] = ()
    priorities: Mapping[str, int] = {}

    @property
    def list_pause(self) -> Pause | None:
        """The pause of the whole joblist."""
        return next((each for each in self.pauses if each.jobs is None), None)

    @property
    def paused_jobs(self) -> frozenset[str]:
        """The IDs of the jobs that are paused by themselves."""
        return frozenset().union(*(each.jobs for each in self.pauses if each.jobs is not None))

    def pause_of(self, job_id: str) -> Pause | None:
        """Return the pause of a job: that of the joblist, or its own."""
        return self.list_pause or next(
            (each for each in self.pauses if each.jobs is not None and job_id in each.jobs), None
        )

    def stop_of(self, job_id: str) -> JobsStop | None:
        """Return the stop of a job, whether or not its attempts are over."""
        return next((each for each in self.job_stops if job_id in each.jobs), None)

    def with_pause(self, asked: Asked, job_ids: Iterable[str] | None) -> Control:
        """Return it with a pause of these jobs, of the joblist if None. Earlier pauses stay."""
        if job_ids is None:
            new = None if self.list_pause else Pause(by=asked.by, at=asked.at, host=asked.host)
        else:
            jobs = frozenset(job_ids) - self.paused_jobs
            new = Pause(by=asked.by, at=asked.at, host=asked.host, jobs=jobs) if jobs else None
        return self if new is None else replace(self, pauses=(*self.pauses, new))

    def without_pause(self, job_ids: Iterable[str] | None) -> Control:
        """Return it without the pauses of these jobs; without any pause if None."""
        if job_ids is None:
            return replace(self, pauses=())
        resumed = frozenset(job_ids)
        kept = (
            each if each.jobs is None else replace(each, jobs=each.jobs - resumed)
            for each in self.pauses
        )
        return replace(self, pauses=tuple(each for each in kept if each.jobs != frozenset()))

    def with_stop(self, stop: WorkersStop) -> Control:
        """Return it with another stop of the workers."""
        return replace(self, stop=stop)

    def with_job_stops(self, new: JobsStop | None, ended: Iterable[str] = ()) -> Control:
        """Return it with stops of jobs in place of their earlier ones, and of those ``ended``."""
        left_out = {*ended, *(new.jobs if new is not None else ())}
        kept = [
            replace(each, jobs={job: n for job, n in each.jobs.items() if job not in left_out})
            for each in self.job_stops
        ]
        added = (new,) if new is not None and new.jobs else ()
        return replace(self, job_stops=(*(each for each in kept if each.jobs), *added))

    def with_priorities(self, new: Mapping[str, int]) -> Control:
        """Return it with other priorities of some jobs; 0 is the default."""
        kept = {**self.priorities, **new}
        return replace(self, priorities={job_id: n for job_id, n in kept.items() if n})


def ends_attempt(stop: JobsStop, job_id: str, attempt: int) -> bool:
    """Return True if a stop of jobs is about the attempt at a job that is under way."""
    return attempt <= stop.jobs.get(job_id, -1)


def ends_job(stop: JobsStop, job_id: str, job: Job, log: bytes) -> bool:
    """Return True if a stop of jobs is about a job that nobody works on now.

    | the job's attempts, N being the last one that the stop is about | |
    | --- | --- |
    | any, and it was ended by this stop, and put back since | no |
    | fewer than N | yes |
    | N, and it was handed back, failed for a while, or was left by a dead worker | yes |
    | N, and it was a success, or put back since | no |
    | more than N | no |
    """
    last = stop.jobs.get(job_id, -1)
    if job.attempts > last:
        return False
    records = [each for each in decode_log(log) if each.event != PRIORITY]
    if any(each.values.get(STOP_KEY) == stop.token for each in records):
        return False
    if job.attempts < last or not records or job.status is JobStatus.ONGOING:
        return True
    return records[-1].event in _STILL_UNDONE


def path_of(joblist: JobList) -> str:
    """Return the path of a joblist's ``control.json``."""
    return os.path.join(joblist.path, FILENAME)


def encode(control: Control) -> bytes:
    """Return the text of the file. ``decode`` returns the same from it."""
    data = msgspec.json.encode(_with_names(control, quote), order="deterministic")
    return msgspec.json.format(data, indent=1) + b"\n"


def decode(data: bytes) -> Control:
    """Read the text of a ``control.json``; raise ``ValueError`` with the reason if it isn't one."""
    try:
        format_ = typed.decode(data, _Format).format
        if format_ != FORMAT:
            raise ValueError(
                f"expected format {FORMAT}; found {format_}. Was it written by another version of "
                "jobtool?"
            )
        found = typed.decode(data, Control)
        return _with_names(found, unquote)
    except (msgspec.DecodeError, JobFileError, RecursionError) as error:
        raise ValueError(f"expected what jobtool pause writes; found: {error}") from None


def _with_names(control: Control, written: Callable[[str], str]) -> Control:
    """Return it with each job ID as ``written`` gives it."""
    return replace(
        control,
        pauses=tuple(
            each if each.jobs is None else replace(each, jobs=frozenset(map(written, each.jobs)))
            for each in control.pauses
        ),
        job_stops=tuple(
            replace(each, jobs={written(job_id): n for job_id, n in each.jobs.items()})
            for each in control.job_stops
        ),
        priorities={written(job_id): n for job_id, n in control.priorities.items()},
    )


class _Format(msgspec.Struct):
    format: int


def read_control(joblist: JobList) -> Control:
    """Read what is asked of a joblist's workers; nothing if there is no file.

    Raises ``JoblistError`` if the file can't be read.
    """
    data = _read(path_of(joblist))
    return Control() if data is None else _decoded(data, path_of(joblist))


def edit_control(joblist: JobList, change: Callable[[Control], Control]) -> Control:
    """Change what is asked of a joblist's workers; return what is asked now.

    Raises ``JoblistError`` if the file can't be read, ``UsageError`` if it would be too large,
    ``JoblistUnavailableError`` if it can't be written, and what ``change`` raises, which may be
    called several times.
    """
    path, made = path_of(joblist), Control()

    def changed(data: bytes | None) -> bytes | None:
        nonlocal made
        found = Control() if data is None else _decoded(data, path)
        made = change(found)
        return None if made == found else _fitting(encode(made), path)

    edit_file(
        path,
        lock_path=os.path.join(joblist.claims_path, _LOCK),
        read=lambda: _read(path),
        change=changed,
        mode_of=os.path.join(joblist.path, SETTINGS),
    )
    return made


def _fitting(data: bytes, path: str) -> bytes:
    """Return what is to be written; raise ``UsageError`` if no worker would read it."""
    if len(data) > MAX_BYTES:
        raise UsageError(
            f"{quote(path)}: expected at most {size_text(MAX_BYTES)} of names of jobs; found "
            f"{size_text(len(data))}. Nothing was changed. Name fewer jobs, or ask for it for the "
            "whole joblist."
        )
    return data


def asked_now() -> Asked:
    """Return who asks now, by this process's user and host."""
    import pwd
    import socket

    uid = os.geteuid()
    by = f"user {uid}"
    with contextlib.suppress(KeyError):
        by = pwd.getpwuid(uid).pw_name
    now = datetime.now(UTC).replace(microsecond=0)
    return Asked(by=by, at=now, host=socket.gethostname().partition(".")[0])


class ControlWatch:
    """Looks at a joblist's ``control.json`` again and again, by one ``stat`` each time.

    ``on_unreadable`` is called with the reason if the file can't be read, once until it can be
    again. What was asked before stays then. ``is_known`` is False until the first good look.
    """

    def __init__(self, joblist: JobList, on_unreadable: Callable[[str], None]) -> None:
        self.control = Control()
        self.is_known = False
        self._path = path_of(joblist)
        self._on_unreadable = on_unreadable
        self._state: tuple[int, ...] | None = None  # of the file as it was read
        self._told: str | None = None

    def look(self) -> bool:
        """Look once; return True if what is asked has changed, or is known for the first time."""
        try:
            state = _state_of(self._path)
            if self.is_known and state == self._state:
                return False
            data = None if state is None else _read(self._path)
            control = Control() if data is None else _decoded(data, self._path)
        except (JoblistError, OSError) as error:
            reason = str(error) if isinstance(error, JoblistError) else reason_of(error)
            if reason != self._told:
                self._told = reason
                self._on_unreadable(reason)
            return False
        self._state, self._told = state, None
        is_new = not self.is_known or control != self.control
        self.control, self.is_known = control, True
        return is_new


def _state_of(path: str) -> tuple[int, ...] | None:
    """Return what changes with the file, None if there is none."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino


def _read(path: str) -> bytes | None:
    """Return the bytes of the file, None if there is none; raises ``JoblistError``."""
    try:
        descriptor = open_without_waiting(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    except OSError as error:
        is_link = False
        with contextlib.suppress(OSError):
            is_link = stat.S_ISLNK(os.lstat(path).st_mode)
        reason = "expected a regular file; found a link" if is_link else reason_of(error)
        raise _unfit(path, reason) from None
    try:
        return read_open(descriptor, MAX_BYTES)
    except (OSError, UnfitFileError) as error:
        is_ours = isinstance(error, UnfitFileError)
        raise _unfit(path, str(error) if is_ours else reason_of(error)) from None
    finally:
        os.close(descriptor)


def _decoded(data: bytes, path: str) -> Control:
    try:
        return decode(data)
    except ValueError as error:
        raise _unfit(path, str(error)) from None


def _unfit(path: str, reason: object) -> JoblistError:
    return JoblistError(
        f"{quote(path)} can't be used: {reason}. Workers go on by what they last read of it. "
        "Remove it to end all pauses, then try again."
    )
