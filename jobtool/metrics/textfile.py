"""Metrics for node_exporter's textfile collector: one file for each worker of a host.

Source: https://github.com/prometheus/node_exporter#textfile-collector. The collector reads all
``*.prom`` of its folder. It takes nothing from a folder in which two files have a sample of the
same name and labels, so each file has a label of its own.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable

from jobtool.metrics.counts import Counts, Drained, Place
from jobtool.metrics.exposition import Family, Labels, as_label, text_of
from jobtool.metrics.slot import Slot, take_slot
from jobtool.names import quote

#: How many pairs of step and route, or with ``per_job`` jobs, have samples of their own.
MOST_SERIES = 1000

#: The label of all further ones.
OTHERS = "(others)"

#: The states that have samples from the start, so that the first such end is an increase.
_USUAL = ("success", "failed", "error")

#: The collector runs as another user, whatever this user's mask.
_MODE = 0o644

_CREATED = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


class Textfile:
    """Writes the totals of one worker to a file in the collector's folder, atomically.

    The totals grow as long as the worker lives. A worker that ends leaves its last ones, so that a
    short one is seen, too. ``host`` and ``joblist`` are labels; with ``per_job`` so is each job.
    """

    def __init__(
        self,
        folder: str,
        *,
        host: str,
        joblist: str,
        per_job: bool,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.name = f"textfile {quote(folder)}"
        self.unsent = 0
        self._folder = folder
        self._host = host
        self._joblist = joblist
        self._per_job = per_job
        self._now = now
        self._started = now()
        self._slot: Slot | None = None
        self._totals: dict[Place, Counts] = {}
        if not per_job:
            self._totals[Place(None, None, None, 0)] = Counts()

    def send(self, drained: Drained, *, is_last: bool) -> None:
        """Add what was done, and write the file. Raises ``OSError``; the next call tries again."""
        for place, counts in drained.counts.items():
            self._total_of(place).add(counts)
        running = None
        if drained.running is not None and not is_last:
            running = self._key_of(drained.running)
            self._totals.setdefault(running, Counts())
        self.unsent += max(len(drained.counts), 1)
        if self._slot is None:
            self._slot = take_slot(self._folder, self._host)
        families = self._families(self._slot.number, running, is_running=not is_last)
        _replace(self._slot.path, text_of(families).encode())
        self.unsent = 0

    def close(self) -> None:
        """Free the slot."""
        if self._slot is not None:
            self._slot.release()
            self._slot = None

    def _key_of(self, place: Place) -> Place:
        key = place._replace(job=place.job if self._per_job else None, attempt=0)
        if key in self._totals or len(self._totals) < MOST_SERIES:
            return key
        is_named = self._per_job and key.job is not None
        return key._replace(
            job=OTHERS if is_named else None, route=key.route and OTHERS, step=key.step
        )

    def _total_of(self, place: Place) -> Counts:
        return self._totals.setdefault(self._key_of(place), Counts())

    def _labels(self, number: int) -> Labels:
        worker = f"{as_label(self._host)}:{number}"
        return ("worker", worker), ("joblist", as_label(self._joblist))

    def _families(self, number: int, running: Place | None, *, is_running: bool) -> list[Family]:
        common = self._labels(number)
        steps = {
            common + _labels_of(place): (place, counts)
            for place, counts in self._totals.items()
            if place.step is not None
        }
        jobs = {
            common + _labels_of(place): counts
            for place, counts in self._totals.items()
            if place.step is None
        }

        def counter(name: str, text: str, value: Callable[[Counts], float]) -> Family:
            return Family(
                name=f"jobtool_step_{name}_total",
                help=text,
                type="counter",
                samples={labels: value(counts) for labels, (_, counts) in steps.items()},
            )

        def ended(name: str, text: str, by_labels: dict[Labels, Counts]) -> Family:
            return Family(
                name=name,
                help=text,
                type="counter",
                samples={
                    (*labels, ("state", state)): counts.ended.get(state, 0)
                    for labels, counts in by_labels.items()
                    for state in dict.fromkeys((*_USUAL, *counts.ended))
                },
            )

        def worker(name: str, text: str, value: float) -> Family:
            name = f"jobtool_worker_{name}"
            return Family(name=name, help=text, type="gauge", samples={common: value})

        return [
            counter("bytes", "Bytes of files that were proven.", lambda one: one.bytes),
            counter("files", "Files that were proven.", lambda one: one.files),
            counter("sent_bytes", "Bytes that were moved.", lambda one: one.sent_bytes),
            counter("retries", "Tries after a temporary error.", lambda one: one.retries),
            counter("seconds", "Seconds spent.", lambda one: round(one.seconds, 3)),
            ended(
                "jobtool_step_attempts_total",
                "Attempts that ended, by their state.",
                {labels: counts for labels, (_, counts) in steps.items()},
            ),
            ended("jobtool_job_attempts_total", "Attempts at jobs that ended, by state.", jobs),
            Family(
                name="jobtool_step_running",
                help="Whether the worker does this step now.",
                type="gauge",
                samples={labels: int(place == running) for labels, (place, _) in steps.items()},
            ),
            worker("running", "Whether the worker runs; 0 once it has ended.", int(is_running)),
            worker("start_time_seconds", "When it started, since 1970.", round(self._started, 3)),
            worker("update_time_seconds", "When it last wrote this.", round(self._now(), 3)),
        ]


def _labels_of(place: Place) -> Labels:
    # Prometheus itself has a label "job", and would rename ours.
    found = (("step", place.step), ("route", place.route), ("job_name", place.job))
    return tuple((name, as_label(value)) for name, value in found if value is not None)


def _replace(path: str, data: bytes) -> None:
    """Replace a file atomically. It isn't synced, which could slow down the work; nor need it be.

    Only the holder of the slot calls this, so the temporary name needn't be unique. The collector
    doesn't read it.
    """
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f".{name}.tmp")
    with contextlib.suppress(FileNotFoundError):  # a killed worker's
        os.unlink(temporary)
    descriptor = os.open(temporary, _CREATED, _MODE)
    try:
        with open(descriptor, "wb") as file:
            os.fchmod(descriptor, _MODE)
            file.write(data)
        os.rename(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
