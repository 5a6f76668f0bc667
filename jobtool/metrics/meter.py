"""The metrics of one worker, from its start to its end."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from msgspec.structs import replace

from jobtool.events import Emit, Event, unfailing
from jobtool.jobs.joblist import JobList
from jobtool.jobs.metricssettings import MetricsSettings
from jobtool.metrics.events import MetricsLost
from jobtool.metrics.influx import Influx
from jobtool.metrics.recorder import Recorder
from jobtool.metrics.sink import Sender, Sink
from jobtool.metrics.statsd import StatsD
from jobtool.metrics.textfile import Textfile
from jobtool.worker.environment import Environment
from jobtool.worker.options import WorkerOptions

#: How long a worker that ends waits for all sinks together.
END_SECONDS = 5.0

Told = TypeVar("Told", bound=Event)


@contextlib.contextmanager
def metered(
    joblist: JobList,
    environment: Environment,
    emit: Emit,
    options: WorkerOptions,
    *,
    textfile: str | None = None,
) -> Iterator[tuple[Emit, WorkerOptions]]:
    """Send the metrics of a worker where ``[metrics]`` says, as long as the block runs.

    Yields what to give to the worker in place of ``emit`` and ``options``. ``textfile`` is a folder
    in place of the joblist's. At the end this waits at most ``END_SECONDS``, and emits what was
    lost. Raises nothing of its own.
    """
    settings = joblist.settings.metrics
    sinks = _sinks(settings, joblist, environment, textfile or settings.textfile)
    if not sinks:
        yield emit, options
        return
    recorder = Recorder()
    observe = unfailing(recorder.observe)
    senders = [Sender(sink, recorder, settings.interval_seconds) for sink in sinks]
    for sender in senders:
        sender.start()
    try:
        yield _both(observe, emit), replace(options, watch=_both(observe, options.watch))
    finally:
        _end(senders, unfailing(emit))


def _both(first: Callable[[Told], None], then: Callable[[Told], None]) -> Callable[[Told], None]:
    def call(told: Told) -> None:
        first(told)
        then(told)

    return call


def _end(senders: list[Sender], emit: Emit) -> None:
    for sender in senders:
        sender.stop()
    deadline = time.monotonic() + END_SECONDS
    for sender in senders:
        points, reason = sender.lost(max(deadline - time.monotonic(), 0.0))
        if points:
            emit(MetricsLost(where=sender.name, points=points, reason=reason))


def _sinks(
    settings: MetricsSettings, joblist: JobList, environment: Environment, textfile: str | None
) -> list[Sink]:
    sinks: list[Sink] = []
    name, host = os.path.basename(joblist.path), environment.host
    if textfile is not None:
        sinks.append(Textfile(textfile, host=host, joblist=name, per_job=settings.per_job))
    if settings.influx is not None:
        tags = {"host": host, "joblist": name}
        if environment.size > 1:
            tags["rank"] = str(environment.rank)
        sinks.append(
            Influx(settings.influx, tags=tags, worker=environment.worker, per_job=settings.per_job)
        )
    if settings.statsd is not None:
        sinks.append(StatsD(settings.statsd, per_job=settings.per_job))
    return sinks
