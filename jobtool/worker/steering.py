"""What people ask of a worker while it runs, by ``control.json``."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

from jobtool.events import Emit
from jobtool.jobs.control import (
    Control,
    ControlWatch,
    JobsStop,
    Pause,
    ends_attempt,
    ends_job,
)
from jobtool.jobs.job import Job
from jobtool.jobs.joblist import JobList
from jobtool.jobs.stamps import stamp_of
from jobtool.names import visible
from jobtool.stop import Stop
from jobtool.worker.events import ControlKept, WorkerPaused, WorkerResumed
from jobtool.worker.options import WorkerOptions
from jobtool.worker.progress import Reporter
from jobtool.worker.scanstate import ScanState

#: How often a paused worker tells that it waits, and looks whether any job is left.
_TELL_SECONDS = 600.0

#: How soon a paused worker finds that it isn't any more, once ``control.json`` was looked at.
_LOOK_SECONDS = 0.2


class Steering:
    """Knows what is asked now, and asks the work under way to stop accordingly.

    Another thread calls ``look`` every few seconds. ``stop`` is the worker's own; it is set by a
    stop of the workers that is newer than this one. Which is told by its token: the first look
    notes the token that is there already. Ranks that were started together note that of rank 0
    (``agree``), so that either all or none of them end.
    """

    def __init__(self, joblist: JobList, stop: Stop, emit: Emit) -> None:
        self._stop = stop
        self._lock = threading.Lock()
        self._held: list[tuple[str, int | None, Stop]] = []
        self._watch = ControlWatch(joblist, lambda reason: emit(ControlKept(reason=reason)))
        self._seen: str | None = None  # the token of the stop that doesn't concern this worker
        self._agreed: str | None = None  # the same, as rank 0 has it
        self._is_heeding = False
        self.hand_backs = 0  # of jobs, since they were paused

    def look(self) -> None:
        """Look whether something else is asked now. Never raises for a file that is unfit."""
        if self._watch.look():
            self._heed()

    def begin(self, *, heeds: bool) -> str | None:
        """Look for the first time; return the token of the stop that is there, if known.

        With ``heeds`` newer stops are heeded from now on, else after ``agree``.
        """
        self.look()
        if heeds:
            self.agree(None)
        return self._seen

    def agree(self, seen: str | None) -> None:
        """Begin to heed stops newer than the one whose token ``begin`` of rank 0 has returned.

        None stands for this worker's own first look, an empty text for no stop at all.
        """
        self._agreed, self._is_heeding = seen, True
        self._heed()

    @property
    def control(self) -> Control:
        """All that is asked now."""
        return self._watch.control

    @property
    def list_pause(self) -> Pause | None:
        """The pause of the whole joblist."""
        return self.control.list_pause

    def pause_of(self, job_id: str) -> Pause | None:
        """Return the pause of a job: that of the joblist, or its own."""
        return self.control.pause_of(job_id) if self.control.pauses else None

    def stop_of_job(self, job_id: str, job: Job, log: bytes) -> JobsStop | None:
        """Return the stop of a job that this worker has claimed and not begun."""
        stop = self.control.stop_of(job_id)
        return stop if stop is not None and ends_job(stop, job_id, job, log) else None

    def stop_of_attempt(self, job_id: str, attempt: int) -> JobsStop | None:
        """Return the stop of a job that is about the attempt under way."""
        stop = self.control.stop_of(job_id)
        return stop if stop is not None and ends_attempt(stop, job_id, attempt) else None

    @contextlib.contextmanager
    def holding(self, job_id: str, stop: Stop, attempt: int | None = None) -> Iterator[None]:
        """Set ``stop`` once the job is paused or, if this is an attempt at it, stopped."""
        held = (job_id, attempt, stop)
        with self._lock:
            self._held.append(held)
        try:
            self._heed_for(*held)
            yield
        finally:
            with self._lock:
                self._held.remove(held)

    def _heed(self) -> None:
        asked = self.control.stop
        if self._seen is None and self._watch.is_known:
            self._seen = asked.token if asked is not None else ""
        old = self._seen if self._agreed is None else self._agreed
        if asked is not None and self._is_heeding and asked.token != old:
            self._stop.set(f"stopped by {visible(asked.by)}")
        with self._lock:
            held = [*self._held]
        for each in held:
            self._heed_for(*each)

    def _heed_for(self, job_id: str, attempt: int | None, stop: Stop) -> None:
        ended = None if attempt is None else self.stop_of_attempt(job_id, attempt)
        pause = self.pause_of(job_id)
        if ended is not None:
            stop.set(f"stopped by {visible(ended.by)}")
        elif pause is not None:
            stop.set(f"paused by {visible(pause.by)}")


class PausedWait:
    """Waits while the joblist is paused, tells so, and ends once nothing would be left to do."""

    def __init__(
        self,
        joblist: JobList,
        steering: Steering,
        scan_state: ScanState,
        reporter: Reporter,
        options: WorkerOptions,
        emit: Emit,
    ) -> None:
        self._path = joblist.path
        self._steering = steering
        self._scan_state = scan_state
        self._reporter = reporter
        self._options = options
        self._emit = emit

    def wait(self, is_ended: Callable[[], bool]) -> bool:
        """Wait until the joblist is paused no more; return False if there is nothing to wait for.

        Then all jobs are done, or ``is_ended`` returns True. Raises ``JoblistUnavailableError``.
        """
        monotonic = self._options.monotonic
        began, told_at = monotonic(), float("-inf")
        while (pause := self._steering.list_pause) is not None:
            if is_ended():
                return False
            if monotonic() - told_at >= _TELL_SECONDS:
                told_at = monotonic()
                if not self._scan_state.is_any_left():
                    return False
                since = stamp_of(pause.at)
                self._emit(WorkerPaused(by=pause.by, host=pause.host, since=since, path=self._path))
            self._reporter.tick()
            self._options.stop.wait(_LOOK_SECONDS)
        self._emit(WorkerResumed(seconds=monotonic() - began))
        return True
