"""A worker's state, which it tells those who watch the joblist: from events to a small file."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from jobtool.events import Emit, Event, unfailing
from jobtool.jobs.workerstates import (
    ENDING,
    HELPING,
    IDLE,
    PAUSED,
    WORKING,
    StateFile,
    WorkerState,
)
from jobtool.worker.environment import Environment
from jobtool.worker.events import (
    Helped,
    JobClaimed,
    JobFailed,
    JobHandedBack,
    JobInvalid,
    JobListed,
    JobLost,
    JobPhase,
    JobProgress,
    JobStarted,
    JobSucceeded,
    StepBegun,
    WorkerPaused,
    WorkerResumed,
)

#: How often a worker writes. All workers together write about twenty times a second at most.
_PERIOD_SECONDS = 5.0
_WRITES_PER_SECOND = 20

#: The workers are counted at every so many writes.
_COUNT_EVERY = 6

#: About so many of the workers that begin at the same time look for files of killed ones.
_LOOK_AT_ALL = 10

#: The rate that is told is that of this time, or of three periods if that is more.
_RATE_SECONDS = 30.0

#: How long the end of a worker waits for the thread: the joblist's filesystem may be gone.
_END_SECONDS = 5.0


class OwnState:
    """Follows one worker and writes its state from a thread of its own, as long as the block runs.

    It writes in its period and, so that nobody watches an idle worker that isn't, at once when the
    first job has been listed, and when a pause begins or ends.

    ``is_ending`` says whether the worker takes no more jobs. The clocks are ``now``, in seconds
    since 1970, and ``monotonic``. Nothing here raises, and nothing waits for the filesystem but the
    thread.
    """

    def __init__(
        self,
        file: StateFile,
        environment: Environment,
        is_ending: Callable[[], bool],
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._is_paused = False
        self._file = file
        self._environment = environment
        self._is_ending = is_ending
        self._now = now
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._started = now()
        self._job: dict[str, Any] = {}  # the fields about the job that is held
        self._phase = ""
        self._bytes_sent = self._jobs_done = 0
        self._sent_of_job = self._done_of_job = 0  # as last seen
        self._moved: float | None = None
        self._samples: deque[tuple[float, int]] = deque()
        self._workers = environment.size
        self._writes = 0
        self._is_over = threading.Event()
        self._has_news = threading.Event()  # to be written at once
        self._has_listed = False
        self._thread = threading.Thread(target=self._run, name="state", daemon=True)

    def __enter__(self) -> OwnState:
        with contextlib.suppress(RuntimeError):  # no thread, because of a limit
            self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._is_over.set()
        self._has_news.set()
        if self._thread.ident is not None:
            self._thread.join(_END_SECONDS)

    @property
    def workers(self) -> int:
        """How many workers the joblist has, as this one has counted them a while ago."""
        return self._workers

    def observed(self, emit: Emit) -> Emit:
        """Return an ``Emit`` that follows the events, too."""
        observe = unfailing(self.observe)  # a plug-in's event may raise when asked for its amount

        def call(event: Event) -> None:
            observe(event)
            emit(event)

        return call

    def watched(self, watch: Callable[[JobProgress], None]) -> Callable[[JobProgress], None]:
        """Return a callback that follows the progress, too."""

        def call(progress: JobProgress) -> None:
            self.progress(progress)
            watch(progress)

        return call

    def idle(self) -> None:
        """Note that the worker has no job now."""
        with self._lock:
            self._end_job()

    def observe(self, event: Event) -> None:
        """Follow an event."""
        with self._lock:
            match event:
                case JobClaimed():
                    self._end_job()
                    self._job = {"job": event.job, "job_id": event.stem}
                case JobStarted():
                    self._phase = "" if event.what in ("files", "rows") else event.what
                case StepBegun():
                    self._phase = event.step
                case JobPhase():
                    self._phase = str(event.phase)
                case JobListed():
                    self._job |= {
                        "files_done": event.files_done,
                        "files_total": event.files,
                        "bytes_done": event.bytes_done,
                        "bytes_total": event.bytes,
                    }
                    if not self._has_listed:
                        self._has_listed = True
                        self._has_news.set()
                case JobSucceeded():
                    self._end_job()
                    self._jobs_done += 1
                case JobFailed():
                    self._end_job()
                    self._jobs_done += not event.will_be_tried_again
                case JobHandedBack() | JobLost():
                    self._end_job()
                case JobInvalid():
                    if event.stem == self._job.get("job_id"):
                        self._end_job()
                case WorkerPaused():
                    self._is_paused = True
                    self._has_news.set()
                case WorkerResumed():
                    self._is_paused = False
                    self._has_news.set()
                case Helped():
                    self._job = {}
                    self._phase = HELPING
                    self._moved = self._now()
                case _:
                    amount = event.amount()
                    if amount is not None and amount.sent_bytes > 0:
                        self._bytes_sent += amount.sent_bytes
                        self._moved = self._now()

    def progress(self, told: JobProgress) -> None:
        """Follow the progress of the job, several times a second."""
        with self._lock:
            if told.bytes_sent < self._sent_of_job:  # another transfer of the same job
                self._sent_of_job = 0
            if told.bytes_sent > self._sent_of_job or told.bytes_done > self._done_of_job:
                self._moved = self._now()
            self._bytes_sent += told.bytes_sent - self._sent_of_job
            self._sent_of_job, self._done_of_job = told.bytes_sent, told.bytes_done
            self._phase = str(told.phase)
            self._job |= {
                "files_done": told.files_done,
                "files_total": told.files_total,
                "bytes_done": told.bytes_done,
                "bytes_total": told.bytes_total,
                "rows_done": told.rows_done,
                "rows_total": told.rows_total,
            }

    def _end_job(self) -> None:
        self._job, self._phase = {}, ""
        self._sent_of_job = self._done_of_job = 0

    def state(self) -> WorkerState:
        """Return the state now, and take a sample for the rate."""
        with self._lock:
            rate = self._rate()
            job = self._job if "job_id" in self._job else {}
            is_working = bool(job) or self._phase == HELPING
            return WorkerState(
                worker=self._environment.worker,
                rank=self._environment.rank,
                started=self._started,
                written=self._now(),
                period_seconds=self._period_seconds,
                state=self._word(is_working=is_working),
                phase=self._phase,
                bytes_sent=self._bytes_sent,
                bytes_per_second=rate,
                moved=self._moved,
                jobs_done=self._jobs_done,
                **job,
            )

    def _word(self, *, is_working: bool) -> str:
        if self._is_ending():
            return ENDING
        if is_working:
            return WORKING
        return PAUSED if self._is_paused else IDLE

    def _rate(self) -> float | None:
        at = self._monotonic()
        samples = self._samples
        samples.append((at, self._bytes_sent))
        span = max(_RATE_SECONDS, 3 * self._period_seconds)
        while len(samples) > 2 and at - samples[1][0] >= span:
            samples.popleft()
        since, sent = samples[0]
        return (self._bytes_sent - sent) / (at - since) if at > since else None

    @property
    def _period_seconds(self) -> float:
        return max(_PERIOD_SECONDS, self._workers / _WRITES_PER_SECOND)

    def _run(self) -> None:
        # The ranks of a run begin one after the other.
        pause = self._environment.rank / _WRITES_PER_SECOND
        # Of a thousand tasks that begin at once, each looking at all files, a few do so.
        share = random.random()  # noqa: S311
        if self._environment.rank == 0 and share * self._file.count() < _LOOK_AT_ALL:
            self._file.remove_ended()
        while True:
            self._has_news.wait(pause)
            self._has_news.clear()
            if self._is_over.is_set():
                break
            self._file.write(self.state())
            if self._writes % _COUNT_EVERY == 0:
                self._workers = max(self._file.count(), self._environment.size)
            self._writes += 1
            pause = self._period_seconds
        self._file.remove()
