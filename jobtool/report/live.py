"""A joblist that is looked at again and again, while workers and people change it.

Each look lists the folder once. A job file is read when it is new or its inode has changed, which
the listing tells: workers replace a file to change a status. Logs grow in place, and people may
edit in place. So the files of jobs under way are looked at each time, and those of all others in
turn, for a fraction of a second.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from jobtool.errors import JoblistUnavailableError, reason_of
from jobtool.jobs.job import JobStatus
from jobtool.jobs.jobfolder import job_id_in
from jobtool.jobs.joblist import JobList
from jobtool.jobs.workerstates import SeenState, StateReader
from jobtool.report.estimate import Estimate, Totals, mean_rate
from jobtool.report.fields import FieldCounts, FieldTable
from jobtool.report.jobline import JobLine, judged
from jobtool.report.life import SignsOfLife
from jobtool.report.pauses import Pauses, read_pauses
from jobtool.report.reading import Mark, marked_line
from jobtool.report.summary import Summary

#: How long a look takes for files that have probably not changed.
_TURN_SECONDS = 0.2

#: A file that is changed again within the same tick of its filesystem's clock looks the same. So
#: one that was this young when it was read is read again.
_YOUNG_NS = 3_000_000_000

#: The mean rate is worked out again after this time, or after so many times as long as that takes.
_MEAN_SECONDS = 10.0
_MEAN_SHARE = 20


class LiveJoblist:
    """The jobs of a joblist as last seen. Nothing is written, and one thread calls the methods.

    ``lines`` has those that have been read, by job ID. ``unread`` counts those that haven't.
    ``trouble`` says why the last look couldn't list the joblist; the jobs are those of before then.
    ``looked_at`` is the time of the last look that could. The clocks are ``now``, in seconds since
    1970, and ``monotonic``.
    """

    def __init__(
        self,
        joblist: JobList,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.joblist = joblist
        self.lines: dict[str, JobLine] = {}
        self.unread = 0
        self.trouble = ""
        self.looked_at = datetime.fromtimestamp(now(), UTC)
        self.states: list[SeenState] = []
        self._field_counts = FieldCounts()
        self._field_table: FieldTable | None = None
        self.pauses = Pauses()
        self._now = now
        self._monotonic = monotonic
        self._states = StateReader(joblist.claims_path, now)
        self._signs = SignsOfLife(joblist, now)
        self._inodes: dict[str, int] = {}
        self._marks: dict[str, Mark] = {}
        self._young: set[str] = set()
        self._has_looked = False
        self._totals = Totals()
        self._by_status: dict[JobStatus | None, dict[str, None]] = {
            status: {} for status in (*JobStatus, None)
        }
        self._held: set[str] = set()
        self._turn: Iterator[str] = iter(())
        self._mean: float | None = None
        self._mean_due = float("-inf")
        self._mean_changes = -1
        self._changes = 0

    def look(self, seconds: float | None = None) -> None:
        """Look at all that may have changed. With ``seconds``, files are read for about so long.

        The rest is read by the next looks. Raises ``JoblistUnavailableError`` if there has been no
        look before that could list the joblist.
        """
        began = self._monotonic()
        self._signs = SignsOfLife(self.joblist, self._now)
        self.states = self._signs.alive(self._states.read())
        try:
            listed = self._list()
        except JoblistUnavailableError as error:
            if not self._has_looked:
                raise
            self.trouble = str(error)
            return
        self.trouble, self._has_looked = "", True
        self.pauses = read_pauses(self.joblist)
        self.looked_at = datetime.fromtimestamp(self._now(), UTC)
        for job_id in self.lines.keys() - listed.keys():
            self._put(job_id, None)
        before, self._inodes = self._inodes, listed
        known = self.lines
        new = [job_id for job_id in listed if job_id not in known]
        replaced = [
            job_id for job_id, inode in listed.items() if before.get(job_id, inode) != inode
        ]
        for job_id in replaced:
            self._marks.pop(job_id, None)
        held = {seen.state.job_id for seen in self.states if seen.state.job_id is not None}
        ongoing = self._by_status[JobStatus.ONGOING]
        likely = {*replaced, *ongoing, *held, *self._held, *self._young}
        self._held = held
        for job_id in sorted(likely):
            if job_id in known:
                self._check(job_id)
        self.unread, read_before = len(new), self._changes
        for job_id in sorted(new):
            if seconds is not None and self._monotonic() - began > seconds:
                return
            self._check(job_id)
            self.unread -= 1
        if self._changes > read_before:
            self._mean_due = float("-inf")  # no job was left out
        else:
            self._look_in_turn()

    def _list(self) -> dict[str, int]:
        """Return the inode of each job file by its job's ID."""
        listed: dict[str, int] = {}
        try:
            with os.scandir(self.joblist.path) as entries:
                for entry in entries:
                    job_id = job_id_in(entry.name)
                    if job_id is not None:
                        listed[job_id] = entry.inode()
        except OSError:
            listed.clear()
        if not listed:
            self.joblist.job_ids()  # which says what is wrong, if anything is
        return listed

    def _look_in_turn(self) -> None:
        until = self._monotonic() + _TURN_SECONDS
        for _ in range(len(self.lines)):
            job_id = next(self._turn, None)
            if job_id is None:  # all have had their turn
                self._turn = iter([*self.lines])
                job_id = next(self._turn)
            if job_id in self.lines:
                self._check(job_id)
            if self._monotonic() > until:
                return

    def _check(self, job_id: str) -> None:
        """Read a job file if it may have changed since it was read last."""
        try:
            mark = self._marks.get(job_id)
            if mark is not None and job_id not in self._young:
                found = os.stat(self.joblist.path_of(job_id))
                if mark == (found.st_ino, found.st_mtime_ns, found.st_size):
                    return
            line, mark = marked_line(self.joblist, job_id)
        except FileNotFoundError:  # removed since it was listed, or a link to nothing
            self._put(job_id, None)
            return
        except OSError as error:  # such as a loop of links, or a name that is too long
            line = JobLine(job=job_id, status=None, note=f"can't be read: {reason_of(error)}")
            mark = (0, 0, 0)
        self._marks[job_id] = mark
        if abs(self._now() * 1e9 - mark[1]) < _YOUNG_NS:
            self._young.add(job_id)
        else:
            self._young.discard(job_id)
        self._put(job_id, line)

    def _put(self, job_id: str, line: JobLine | None) -> None:
        """Take the line of a job, in place of the one before; None if the job is gone."""
        before = self.lines.get(job_id)
        if before is not None:
            if line == before:
                return
            self._totals.add(before, -1)
            self._count_fields(before, -1)
            del self._by_status[before.status][job_id]
        self._changes += 1
        if line is None:
            self.lines.pop(job_id, None)
            self._marks.pop(job_id, None)
            self._young.discard(job_id)
            return
        self.lines[job_id] = line
        self._totals.add(line)
        self._count_fields(line, 1)
        self._by_status[line.status][job_id] = None

    def _count_fields(self, line: JobLine, sign: int) -> None:
        self._field_counts.add(line, sign)
        if self._field_table is not None:
            self._field_table.add(line, sign)

    def field_table(self, name: str | None = None) -> FieldTable | None:
        """Return the jobs by the values of a field, or of the first that has a few values.

        None if no field has. Raises ``KeyError`` with the names of all fields for a ``name`` that
        no job has.
        """
        if name is None:
            name = self._field_counts.telling()
        elif name not in self._field_counts.names:
            raise KeyError(*self._field_counts.names)
        if name is None:
            return None
        if self._field_table is None or self._field_table.name != name:
            self._field_table = FieldTable(name)
            for line in self.lines.values():
                self._field_table.add(line)
        return self._field_table

    def count(self, status: JobStatus | None) -> int:
        """Return how many jobs have a status; None counts the invalid ones."""
        return len(self._by_status[status])

    def of_status(self, *statuses: JobStatus | None, most: int | None = None) -> list[JobLine]:
        """Return the jobs with one of these statuses, sorted: ``most`` of them, all for None."""
        found = sorted(job_id for status in statuses for job_id in self._by_status[status])[:most]
        return [judged(self.lines[job_id], self._signs) for job_id in found]

    def estimate(self) -> Estimate:
        """Return how much there is, how fast it goes and how long it will take."""
        ongoing = [self.lines[job_id] for job_id in self._by_status[JobStatus.ONGOING]]
        return self._totals.estimate(self.states, ongoing, self._mean_rate())

    def _mean_rate(self) -> float | None:
        began = self._monotonic()
        if self._changes != self._mean_changes and began >= self._mean_due:
            self._mean_changes = self._changes
            self._mean = mean_rate(self.lines.values(), self._now)
            ended = self._monotonic()
            self._mean_due = ended + max(_MEAN_SECONDS, _MEAN_SHARE * (ended - began))
        return self._mean

    def summary(self) -> Summary:
        """Return all jobs as a summary."""
        return Summary(
            path=self.joblist.path,
            jobs=tuple(self.of_status(*JobStatus, None)),
            is_export=self.joblist.settings.export is not None,
            estimate=self.estimate(),
            workers=tuple(self.states),
            pauses=self.pauses,
        )
