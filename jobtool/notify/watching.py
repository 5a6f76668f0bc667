"""The notices of one worker: a thread that follows its events and looks now and then.

The thread is the only one that waits for anything. If the worker hangs, it still runs, and tells
that nothing moves.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator

from msgspec.structs import replace

from jobtool.errors import InfrastructureError, JobtoolError
from jobtool.events import Emit, Event, unfailing
from jobtool.jobs.joblist import JobList
from jobtool.notify.channels import channels_of
from jobtool.notify.due import Due, Occasions, day_of
from jobtool.notify.events import NoticeFailed, NoticesLost, NoticesUnsent
from jobtool.notify.look import Look, alive_in, look_at
from jobtool.notify.markers import Markers
from jobtool.notify.telling import Teller
from jobtool.redact import redact
from jobtool.stop import Stop
from jobtool.worker.environment import Environment
from jobtool.worker.events import (
    JobClaimed,
    JobFailed,
    JobHandedBack,
    JobLost,
    JobProgress,
    JobSucceeded,
    Stalled,
    WorkerFinished,
)
from jobtool.worker.options import WorkerOptions

#: How long a worker that ends waits for notices that are being sent; and one that was asked to
#: stop, which may be killed soon.
END_SECONDS = 40.0
ASKED_SECONDS = 10.0

_JOIN_SECONDS = 0.2

#: How often the thread looks whether anything is due.
_LOOK_SECONDS = 10.0

#: How often a worker whose jobs fail one after the other asks whether the first error was told.
_ERROR_SECONDS = 60.0


@contextlib.contextmanager
def notifying(
    joblist: JobList, environment: Environment, emit: Emit, options: WorkerOptions
) -> Iterator[tuple[Emit, WorkerOptions]]:
    """Tell what a worker does, as ``[notify]`` says, as long as the block runs.

    Yields what to give to the worker in place of ``emit`` and ``options``. At the end this waits at
    most ``END_SECONDS``, or ``ASKED_SECONDS`` if the worker was asked to stop; and no longer once
    it is asked to. Raises nothing of its own.
    """
    if not joblist.settings.notify.is_told:
        yield emit, options
        return
    watcher = Watcher(joblist, environment, emit, now=lambda: options.now().timestamp())
    follow, progress = unfailing(watcher.observe), unfailing(watcher.progress)

    def told(event: Event) -> None:
        follow(event)
        emit(event)

    def watch(reached: JobProgress) -> None:
        progress(reached)
        options.watch(reached)

    watcher.start()
    try:
        yield told, replace(options, watch=watch)
    except (JobtoolError, OSError) as error:
        if isinstance(error, InfrastructureError):
            watcher.stopped_by(error)
        raise
    finally:
        watcher.end(options.stop)


class Watcher:
    """Follows a worker's events and tells what is due. Any thread may call it.

    The clocks are ``now``, in seconds since 1970, and ``monotonic``.
    """

    def __init__(
        self,
        joblist: JobList,
        environment: Environment,
        emit: Emit,
        *,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._joblist = joblist
        self._settings = joblist.settings.notify
        self._emit = unfailing(emit)
        self._now = now
        self._monotonic = monotonic
        self._is_given_up = threading.Event()
        self._markers = Markers(
            joblist.claims_path, host=environment.host, pid=environment.pid, now=now
        )
        self._teller = Teller(channels_of(self._settings), self._markers, self._is_given_up.wait)
        self._occasions = Occasions(joblist.path, self._markers, self._see)
        self._tasks: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._has_job = self._is_stall_told = False
        self._failing: set[str] = set()  # the channels whose failure was told
        self._reached: tuple[object, ...] = ()
        self._error_at = float("-inf")
        self._moved_at = monotonic()
        self._look_again_at = float("-inf")  # at the states of the other workers
        self._daily_from = now()
        self._thread = threading.Thread(target=self._run, name="notices", daemon=True)

    def start(self) -> None:
        """Start the thread; without one, because of a limit, nobody is told anything."""
        with contextlib.suppress(RuntimeError):
            self._thread.start()

    def end(self, stop: Stop) -> None:
        """Wait for what is being told, as long as ``stop`` allows; end the thread."""
        self._tasks.put(None)
        began, was_asked = time.monotonic(), stop.is_set()
        limit = ASKED_SECONDS if was_asked else END_SECONDS
        while self._thread.is_alive() and time.monotonic() - began < limit:
            if stop.is_set() and not was_asked:
                break
            self._thread.join(_JOIN_SECONDS)
        self._is_given_up.set()
        if self._thread.is_alive():
            self._emit(NoticesUnsent(seconds=time.monotonic() - began))

    def observe(self, event: Event) -> None:
        """Follow an event."""
        match event:
            case JobClaimed():
                self._move(has_job=True)
            case JobSucceeded() | JobHandedBack() | JobLost():
                self._move(has_job=False)
            case JobFailed():
                self._move(has_job=False)
                is_due = self._monotonic() - self._error_at >= _ERROR_SECONDS
                if "first-error" in self._settings.on and not event.will_be_tried_again and is_due:
                    self._error_at = self._monotonic()
                    name, reason = event.job, event.reason
                    self._do(lambda: self._tell(self._occasions.first_error(name, reason)))
            case Stalled():
                seconds = event.seconds
                if "stall" in self._settings.on:
                    self._do(lambda: self._tell(self._occasions.stall(seconds)))
            case WorkerFinished():
                if not event.left_todo and not event.left_ongoing:
                    self._do(self._finish)

    def progress(self, reached: JobProgress) -> None:
        """Follow the progress of the job, several times a second."""
        found = (reached.bytes_sent, reached.bytes_done, reached.files_done, reached.rows_done)
        if found != self._reached:
            self._reached = found
            self._move(has_job=True)

    def stopped_by(self, error: Exception) -> None:
        """Tell that the worker ends because of its environment."""
        reason = redact(str(error))
        if "first-error" in self._settings.on:
            self._do(lambda: self._tell(self._occasions.stopped(reason)))

    def look(self) -> None:
        """Tell what is due by now: that nothing moves, or what is told once a day."""
        moment = day_of(self._now(), self._settings.daily_minute)
        if "daily" in self._settings.on and moment.timestamp() > self._daily_from:
            self._daily_from = self._now()
            if self._has_job:
                self._tell(self._occasions.daily(moment))
        still = self._monotonic() - self._moved_at
        if "stall" not in self._settings.on or not self._has_job or self._is_stall_told:
            return
        limit = self._settings.stall_minutes * 60
        if still < limit or self._monotonic() < self._look_again_at:
            return
        seconds = self._all_still(still)
        if seconds >= limit:
            self._is_stall_told = True
            self._tell(self._occasions.stall(seconds))
        else:  # no sooner can all have stood still for so long: the looks of many cost much
            self._look_again_at = self._monotonic() + limit - seconds

    def _all_still(self, own_seconds: float) -> float:
        """Return for how long no worker has moved a byte."""
        others = [
            seen.still_seconds
            for seen in alive_in(self._joblist, self._now)
            if seen.still_seconds is not None
        ]
        return min([own_seconds, *others])

    def _move(self, *, has_job: bool) -> None:
        self._moved_at = self._monotonic()
        self._has_job = has_job
        self._is_stall_told = False

    def _do(self, task: Callable[[], None]) -> None:
        self._tasks.put(task)

    def _see(self) -> Look:
        return look_at(self._joblist, self._now)

    def _finish(self) -> None:
        with self._markers.alone("finish") as is_alone:
            if not is_alone:
                return  # another worker looks already
            look = self._see()
            if not look.is_finished:
                return
            due = self._occasions.finish(look)
            if "finish" in self._settings.on:
                self._tell(due)
            else:
                self._markers.note(due.occasion.key)

    def _tell(self, due: Due) -> None:
        for event in self._teller.tell(due.occasion, due.write):
            if isinstance(event, NoticeFailed):
                if event.channel in self._failing:
                    continue
                self._failing.add(event.channel)
            self._emit(event)

    def _run(self) -> None:
        due_at = self._monotonic() + _LOOK_SECONDS
        while True:
            task: Callable[[], None] | None = self.look
            with contextlib.suppress(queue.Empty):
                task = self._tasks.get(timeout=max(due_at - self._monotonic(), 0.0))
            if task is None:
                return
            if task == self.look:
                due_at = self._monotonic() + _LOOK_SECONDS
            try:
                task()
            except Exception as error:  # such as a joblist that is gone
                if "" not in self._failing:
                    self._failing.add("")
                    self._emit(NoticesLost(reason=redact(str(error) or type(error).__name__)))
