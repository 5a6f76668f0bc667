"""Turns the events of a worker into counts. Nothing here waits for anything."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from jobtool.events import Amount, Event
from jobtool.jobs.job import COPY
from jobtool.jobs.packagetask import PACKAGE_STEPS
from jobtool.metrics.counts import Drained, Feed, Place
from jobtool.worker.events import (
    JobClaimed,
    JobFailed,
    JobHandedBack,
    JobInvalid,
    JobLost,
    JobProgress,
    JobStarted,
    JobSucceeded,
    StepBegun,
    StepDone,
)


class Recorder:
    """Counts what a worker does, in each of its feeds. Any thread may call it.

    A worker has one job at a time, and does one step at a time: what it tells is about these. A job
    that names no steps has the step ``copy``, or the one that it does of a package. ``monotonic``
    is the clock, in seconds.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._feeds: list[Feed] = []
        self._job: Place | None = None
        self._job_id = ""
        self._step: Place | None = None  # the step under way, or the last one of the job
        self._is_running = self._is_assumed = False
        self._charged_at = 0.0
        self._files = self._bytes = self._sent = 0  # of the transfer under way

    def feed(self) -> Feed:
        """Return a new feed, which gets what happens from now on."""
        with self._lock:
            feed = Feed()
            self._feeds.append(feed)
            return feed

    def drain(self, feed: Feed) -> Drained:
        """Return and forget what a feed has. The seconds of the step under way count up to now."""
        with self._lock:
            self._charge()
            return Drained(counts=feed.take(), running=self._step if self._is_running else None)

    def observe(self, event: Event) -> None:
        """Count an event."""
        with self._lock:
            match event:
                case JobProgress():
                    self._progress(event)
                case JobClaimed():
                    self._end_job("left")  # of a job whose end nobody told
                    self._job = Place(event.job, None, None, event.attempt)
                    self._job_id = event.stem
                case JobStarted():
                    step = event.what if event.what in PACKAGE_STEPS else COPY
                    self._begin(step, route=event.route)
                    self._is_assumed = True
                case StepBegun():
                    self._begin(event.step, attempt=event.attempt, route=event.route)
                case StepDone():
                    self._end_step("success")
                case JobSucceeded():
                    self._end_job("success")
                case JobFailed():
                    self._end_job("failed" if event.will_be_tried_again else "error")
                case JobHandedBack():
                    self._end_job("waiting" if event.not_before else "handed-back")
                case JobLost():
                    self._end_job("lost")
                case JobInvalid():
                    if event.stem == self._job_id:
                        self._end_job("left")
                case _:
                    amount = event.amount()
                    if amount is not None:
                        self._add(amount)

    def _begin(self, step: str, *, attempt: int | None = None, route: str | None = None) -> None:
        if self._job is None:
            return
        if self._is_running and not self._is_assumed:
            self._end_step("left")
        self._step = self._job._replace(
            step=step, attempt=self._job.attempt if attempt is None else attempt, route=route
        )
        self._is_running, self._is_assumed = True, False
        self._charged_at = self._monotonic()
        self._files = self._bytes = self._sent = 0

    def _end_step(self, state: str) -> None:
        if self._step is None or not self._is_running:
            return
        self._charge()
        self._is_running = False
        self._count_end(self._step, state)

    def _end_job(self, state: str) -> None:
        if self._job is None:
            return
        self._end_step(state)
        self._count_end(self._job, state)
        self._job = self._step = None
        self._job_id = ""

    def _count_end(self, place: Place, state: str) -> None:
        for feed in self._feeds:
            ended = feed.at(place).ended
            ended[state] = ended.get(state, 0) + 1

    def _charge(self) -> None:
        """Add the time since the last call to the step under way."""
        if self._step is None or not self._is_running:
            return
        now = self._monotonic()
        for feed in self._feeds:
            feed.at(self._step).seconds += max(now - self._charged_at, 0.0)
        self._charged_at = now

    def _progress(self, told: JobProgress) -> None:
        """Count what is new. Counts never go down: bytes that are sent again count again."""
        if told.bytes_sent < self._sent:  # another transfer of the same step
            self._files = self._bytes = self._sent = 0
        amount = Amount(
            files=max(told.files_proven - self._files, 0),
            bytes=max(told.bytes_proven - self._bytes, 0),
            sent_bytes=told.bytes_sent - self._sent,
        )
        self._files = max(told.files_proven, self._files)
        self._bytes = max(told.bytes_proven, self._bytes)
        self._sent = told.bytes_sent
        if amount != Amount():
            self._add(amount)

    def _add(self, amount: Amount) -> None:
        if self._step is None:
            return
        for feed in self._feeds:
            counts = feed.at(self._step)
            counts.files += amount.files
            counts.bytes += amount.bytes
            counts.sent_bytes += amount.sent_bytes
            counts.retries += amount.retries
