"""The order in which a worker takes the jobs of a joblist, and which of them it takes."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby

from jobtool.errors import JobFileError, UsageError
from jobtool.events import Emit
from jobtool.jobs.job import Job, JobStatus
from jobtool.jobs.jobchoice import JobChoice
from jobtool.jobs.joblist import JobList
from jobtool.jobs.joblog import last_records, number_of
from jobtool.suggest import did_you_mean
from jobtool.worker.environment import Environment
from jobtool.worker.events import OrderChosen
from jobtool.worker.rankgroup import Scan
from jobtool.worker.schedule import rotated

BY_NAME, RANDOM, LARGEST, SMALLEST = "name", "random", "largest", "smallest"
BY_FIELD = "field:"
_WORDS = (LARGEST, SMALLEST, BY_NAME, RANDOM, f"{BY_FIELD}NAME")

#: Workers that don't know how many they are begin within this many jobs of the order.
_WINDOW = 16

#: How many job files are read to see which fields there are.
_SAMPLE = 50

_SIZED_EVENTS = ("progress", "handed-back", "error", "success")


def require_order(order: str) -> str:
    """Return an order as ``--order`` takes it; raise ``UsageError`` if it isn't one."""
    if order in _WORDS[:-1] or (order.startswith(BY_FIELD) and order != BY_FIELD):
        return order
    raise UsageError(
        f"order: expected one of {', '.join(_WORDS)}; found {order!r}."
        f"{did_you_mean(order, _WORDS[:-1])}"
    )


class JobOrder:
    """Puts jobs in order: those of a higher priority first, then by ``order``.

    ``priorities`` returns those that are known now. Of several workers each begins at
    another job, so that they don't all try to claim the same one:

    | order | where a worker begins |
    | --- | --- |
    | by name | at its share of the list, and goes round |
    | random | at random |
    | by size or field | within each so many jobs as there are ranks, at its own one |
    """

    def __init__(
        self,
        joblist: JobList,
        choice: JobChoice,
        order: str,
        environment: Environment,
        priorities: Callable[[], Mapping[str, int]],
    ) -> None:
        self.choice = choice
        self._joblist = joblist
        self._order = require_order(order)
        self._environment = environment
        self._priorities = priorities
        self._used: Mapping[str, int] = {}
        self._positions: dict[str, int] = {}
        self._random = random.Random()  # noqa: S311
        self.others = 0  # workers that had joined before, if this one isn't a rank
        if not choice.is_all or order.startswith(BY_FIELD):
            self._require_possible()

    def _require_possible(self) -> None:
        job_ids = self._joblist.job_ids()
        self.choice.require_found(self._joblist, job_ids)
        if not self._order.startswith(BY_FIELD):
            return
        known: set[str] = set()
        for job_id in job_ids[:_SAMPLE]:
            with contextlib.suppress(JobFileError, FileNotFoundError):
                known.update(self._joblist.load(job_id)[0].fields)
        name = self._order.removeprefix(BY_FIELD)
        if job_ids and name not in known:
            found = ", ".join(sorted(known)) or "none"
            raise UsageError(
                f"order: expected a field of the jobs ({found}); found {name!r}."
                f"{did_you_mean(name, known)}"
            )

    def chosen(self, job_ids: Sequence[str]) -> list[str]:
        """Return the jobs that this worker may take."""
        return self.choice.among(self._joblist, job_ids)

    def sorted(self, scan: Scan, emit: Emit) -> Scan:
        """Return the result of a scan in the order of sizes or fields; unchanged for other orders.

        Reads the files of the jobs that aren't done.
        """
        if self._order in (BY_NAME, RANDOM):
            return scan
        chosen = self.chosen([*scan])
        undone = [job_id for job_id in chosen if scan[job_id] is not JobStatus.SUCCESS]
        keys = {job_id: self._key(job_id) for job_id in undone}
        unknown = [job_id for job_id in undone if keys[job_id] is None]
        known = [job_id for job_id in undone if keys[job_id] is not None]
        known.sort(key=lambda job_id: (keys[job_id], job_id), reverse=self._order == LARGEST)
        emit(OrderChosen(order=self._order, jobs=len(undone), unknown=len(unknown)))
        rest = scan.keys() - set(undone)
        return {job_id: scan[job_id] for job_id in (*known, *unknown, *sorted(rest))}

    def adopt(self, scan: Scan) -> None:
        """Keep to the order of a scan's result, which another rank may have made."""
        if self._order not in (BY_NAME, RANDOM):
            self._positions = {job_id: number for number, job_id in enumerate(scan)}

    @property
    def is_stale(self) -> bool:
        """Whether priorities have changed since jobs were last put in order."""
        return self._used is not self._priorities()

    def of(self, job_ids: Sequence[str]) -> list[str]:
        """Return the jobs that this worker may take, in its order."""
        ordered = [*self._by_order(self.chosen(job_ids))]
        priorities = self._used = self._priorities()
        if not priorities:
            return self._from_own_start(ordered)
        ordered.sort(key=lambda job_id: -priorities.get(job_id, 0))
        groups = groupby(ordered, key=lambda job_id: priorities.get(job_id, 0))
        return [job_id for _, group in groups for job_id in self._from_own_start([*group])]

    def _by_order(self, job_ids: list[str]) -> Iterable[str]:
        if self._order == RANDOM:
            self._random.shuffle(job_ids)
        elif self._positions:
            last = len(self._positions)
            job_ids.sort(key=lambda job_id: self._positions.get(job_id, last))
        return job_ids

    def _from_own_start(self, job_ids: list[str]) -> list[str]:
        place = self._environment
        if self._order == RANDOM:
            return job_ids
        if self._order == BY_NAME:
            return rotated(job_ids, place.start_of(len(job_ids), others=self.others))
        is_alone = place.size == 1 and not place.array_index and not self.others
        window = 1 if is_alone else place.size if place.size > 1 else _WINDOW
        return [*staggered(job_ids, window, place.start_of(window, others=self.others))]

    def _key(self, job_id: str) -> str | int | None:
        try:
            job, log = self._joblist.load(job_id)
        except (JobFileError, FileNotFoundError):
            return None
        if self._order.startswith(BY_FIELD):
            return job.fields.get(self._order.removeprefix(BY_FIELD))
        return size_of(job, log)


def size_of(job: Job, log: bytes) -> int | None:
    """Return what is known of the size of a job, from its log or its rows; None if nothing is."""
    totals = []
    for record in last_records(log, _SIZED_EVENTS).values():
        done, _, total = record.values.get("bytes", "").partition("/")
        totals.append((record.time, number_of(total or done)))
    known = [(time, total) for time, total in totals if total is not None]
    if known:
        return max(known)[1]
    return None if job.export is None else job.export.rows


def staggered(job_ids: Sequence[str], window: int, offset: int) -> Iterator[str]:
    """Yield each job once; in each ``window`` of them from the one at ``offset`` on."""
    for start in range(0, len(job_ids), window):
        block = job_ids[start : start + window]
        yield from rotated(block, offset % len(block))
