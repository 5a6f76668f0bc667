"""Which notices of a joblist are due: decided by one look, by rules that many workers share.

========== ==================================== ============================================
kind       due                                  again
========== ==================================== ============================================
finish     all jobs have ended                  when they have ended in another way: others
                                                were added or put back
first-     a job is in error                    the first after a finish
error
stopped    a worker ended, its environment      after an hour
           having failed
stall      no byte has moved for                when bytes have moved since the last one
           ``stall_minutes``, with jobs ongoing
no-worker  as long without any worker, with     when a worker was there since the last one
           work left
daily      the time of day has come, with work  the next day
           left
========== ==================================== ============================================
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

import msgspec
from msgspec.structs import replace

from jobtool.jobs.job import JobStatus
from jobtool.jobs.notifysettings import NotifySettings
from jobtool.names import quote
from jobtool.notify.look import Look
from jobtool.notify.markers import Markers
from jobtool.notify.notice import Kind, Notice, Occasion
from jobtool.notify.writing import (
    daily_title,
    finish_title,
    kind_title,
    notice_of,
    short,
    show_command,
    stall_sentences,
    worker_command,
)
from jobtool.report.jobline import JobLine
from jobtool.units import duration_text

#: How long after a worker stopped because of its environment the next one is told.
_STOPPED_AGAIN_SECONDS = 3600.0


class Due(msgspec.Struct, frozen=True, kw_only=True):
    """A notice to send; ``write`` makes it."""

    occasion: Occasion
    write: Callable[[], Notice]


def due_now(look: Look, settings: NotifySettings, markers: Markers) -> Iterator[Due]:
    """Yield what is due by the state of the joblist alone."""
    path = look.summary.path
    occasions = Occasions(path, markers, lambda: look)
    if "finish" in settings.on and look.is_finished:
        yield occasions.finish(look)
    elif "first-error" in settings.on:
        failed = _failed_since(look, min(markers.ages("finish-").values(), default=look.now))
        if failed is not None:
            yield occasions.first_error(failed.job, failed.note)
    stall_seconds = settings.stall_minutes * 60
    still = look.still_seconds
    if "stall" in settings.on and look.is_held and still is not None and still >= stall_seconds:
        yield occasions.stall(still)
    if "stall" in settings.on and _is_left_alone(look, stall_seconds):
        yield occasions.no_worker(look.alone_seconds)
    moment = day_of(look.now, settings.daily_minute)
    is_left = bool(look.summary.jobs) and not look.is_finished
    if "daily" in settings.on and is_left and look.settings_changed <= moment.timestamp():
        yield occasions.daily(moment)


class Occasions:
    """The occasions of a joblist. ``see`` looks at it, once somebody has to be told."""

    def __init__(self, path: str, markers: Markers, see: Callable[[], Look]) -> None:
        self._path = path
        self._markers = markers
        self._see = see

    def finish(self, look: Look) -> Due:
        """Return the notice that all jobs have ended, as seen in ``look``."""
        occasion = Occasion(kind="finish", key=f"finish-{look.end}", title=finish_title(look))
        return Due(
            occasion=occasion,
            write=lambda: notice_of(occasion, look, first=["All jobs have ended."]),
        )

    def first_error(self, job: str, reason: str) -> Due:
        """Return the notice of the first job in error since the last finish."""
        first = [f"{quote(job)}: {short(reason)}", "The other jobs go on."]
        occasion = self._occasion("first-error", self._markers.count("finish-") + 1)
        return self._due(occasion, first, job=job, command=show_command(self._path, job))

    def stopped(self, reason: str) -> Due:
        """Return the notice that a worker has ended because of its environment."""
        first = [f"A worker has stopped, and its job was handed back: {short(reason)}"]
        occasion = self._again("stopped", _STOPPED_AGAIN_SECONDS)
        return self._due(occasion, first, command=worker_command(self._path))

    def stall(self, seconds: float) -> Due:
        """Return the notice that nothing has moved for so long."""
        occasion = self._again("stall", seconds)

        def write() -> Notice:
            look = self._see()
            return notice_of(occasion, look, first=stall_sentences(look, seconds))

        return Due(occasion=occasion, write=write)

    def no_worker(self, seconds: float) -> Due:
        """Return the notice that no worker has been there for so long."""
        first = [f"Work is left, and no worker has been there for {duration_text(seconds)}."]
        occasion = self._again("no-worker", seconds)
        return self._due(occasion, first, command=worker_command(self._path))

    def daily(self, moment: datetime) -> Due:
        """Return the notice of the day of ``moment``."""
        title = kind_title("daily", self._path)
        occasion = Occasion(kind="daily", key=f"daily-{moment:%Y-%m-%d}", title=title)

        def write() -> Notice:
            look = self._see()
            return notice_of(replace(occasion, title=daily_title(look)), look)

        return Due(occasion=occasion, write=write)

    def _again(self, kind: Kind, since_seconds: float) -> Occasion:
        """Return the last occasion of a kind if it is younger than that, else the next one."""
        ages = self._markers.ages(f"{kind}-")
        is_told = min(ages.values(), default=float("inf")) <= since_seconds
        return self._occasion(kind, len(ages) + (not is_told))

    def _occasion(self, kind: Kind, number: int) -> Occasion:
        return Occasion(kind=kind, key=f"{kind}-{number}", title=kind_title(kind, self._path))

    def _due(
        self, occasion: Occasion, first: list[str], *, job: str | None = None, command: str
    ) -> Due:
        return Due(
            occasion=occasion,
            write=lambda: notice_of(occasion, self._see(), first=first, job=job, command=command),
        )


def day_of(now: float, minute: int) -> datetime:
    """Return the last time before ``now`` at which it was that minute of the day, locally."""
    moment = datetime.fromtimestamp(now)
    due = moment.replace(hour=minute // 60, minute=minute % 60, second=0, microsecond=0)
    return due if due <= moment else due - timedelta(days=1)


def _failed_since(look: Look, seconds: float) -> JobLine | None:
    """Return the job that came first to be in error in the last ``seconds``; None if none did."""
    ends = {
        job.spans[-1][1] if job.spans else look.now: job
        for job in look.summary.jobs
        if job.status is JobStatus.ERROR
    }
    since = [end for end in ends if end > look.now - seconds]
    return ends[min(since)] if since else None


def _is_left_alone(look: Look, seconds: float) -> bool:
    is_left = bool(look.summary.jobs) and not look.is_finished
    return is_left and not look.alive and not look.is_held and look.alone_seconds >= seconds
