"""The priorities of jobs, as far as a worker knows them without reading all job files."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping

from jobtool.errors import JobtoolError
from jobtool.jobs.control import Control, edit_control
from jobtool.jobs.joblist import JobList


class Priorities:
    """Knows the priorities of jobs: those in control.json, and those that were read in job files.

    ``jobtool set`` writes both. A line that a person has written is found when the first bytes of
    the job file are read for its status. A job file goes before control.json.
    """

    def __init__(self, joblist: JobList, control: Callable[[], Control]) -> None:
        self._joblist = joblist
        self._control = control
        self._read: dict[str, int] = {}  # where a job file says something else
        self._known: Mapping[str, int] = {}
        self._of_control: Mapping[str, int] = {}

    def known(self) -> Mapping[str, int]:
        """Return the priorities other than 0; the same object as long as they are the same."""
        of_control = self._control().priorities
        if of_control is not self._of_control:
            is_same, self._of_control = of_control == self._of_control, of_control
            if not is_same:
                self._read = {}  # read before that
                self._merge()
        return self._known

    def note(self, job_id: str, priority: int) -> None:
        """Note what the file of a job says."""
        if priority != self.known().get(job_id, 0):
            self._read[job_id] = priority
            self._merge()

    def publish(self) -> None:
        """Put what was read into control.json, for workers that don't read all job files."""
        read = self._read
        if read:
            with contextlib.suppress(JobtoolError):  # then other workers find it in passing
                edit_control(self._joblist, lambda found: found.with_priorities(read))

    def _merge(self) -> None:
        merged = {**self._of_control, **self._read}
        self._known = {job_id: n for job_id, n in merged.items() if n}
