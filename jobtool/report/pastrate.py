"""How fast a joblist's jobs were so far, from the logs of their attempts."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from jobtool.jobs.job import JobStatus
from jobtool.jobs.joblist import JobList
from jobtool.report.rates import moved
from jobtool.report.reading import read_jobs

#: No more job files than this are read: their jobs are enough for a mean.
MOST_JOBS = 5000

#: Logs have whole seconds: less says nothing.
_LEAST_SECONDS = 2.0


class PastRate(msgspec.Struct, frozen=True, kw_only=True):
    """What was moved while any attempt was under way, by all workers together; see ``moved``."""

    jobs: int
    files: int
    bytes: int
    seconds: float

    @property
    def bytes_per_second(self) -> float:
        """The mean rate."""
        return self.bytes / self.seconds

    def seconds_for(self, *, files: int, size_bytes: int) -> tuple[float, float]:
        """Return how long other work takes at these means, by its files and by its bytes.

        The lower comes first. They are far apart if the files are of another size than before.
        """
        by_bytes = size_bytes * self.seconds / self.bytes
        by_files = files * self.seconds / self.files if self.files else by_bytes
        return min(by_bytes, by_files), max(by_bytes, by_files)


def past_rate(joblist: JobList, now: Callable[[], float] = time.time) -> PastRate | None:
    """Return how fast the jobs of a joblist were that have succeeded; None if that isn't known.

    The end of the joblist's jobs counts if there are very many. Reads only. Raises
    ``JoblistUnavailableError``.
    """
    done = [each.job_id for each in joblist.scan() if each.status is JobStatus.SUCCESS]
    lines = [read.line for read in read_jobs(joblist, done[-MOST_JOBS:]) if read.line.spans]
    size, seconds = moved((span for line in lines for span in line.spans), now())
    if seconds < _LEAST_SECONDS:
        return None
    files = sum(line.brought[0] for line in lines)
    return PastRate(jobs=len(lines), files=files, bytes=size, seconds=seconds)
