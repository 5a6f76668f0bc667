"""How fast a joblist's jobs were so far, from the logs of their attempts."""

from __future__ import annotations

import msgspec

from jobtool.jobs.job import JobStatus
from jobtool.jobs.joblist import JobList
from jobtool.jobs.joblog import decode_log
from jobtool.report.attempts import attempts_of
from jobtool.report.reading import read_jobs

#: No more job files than this are read: their jobs are enough for a mean.
MOST_JOBS = 5000

#: Logs have whole seconds: less says nothing.
_LEAST_SECONDS = 2.0


class PastRate(msgspec.Struct, frozen=True, kw_only=True):
    """What was moved while any attempt was under way, by all workers together.

    ``seconds`` is how long that was in all.
    """

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
        by_bytes = size_bytes * self.seconds / self.bytes if self.bytes else 0.0
        by_files = files * self.seconds / self.files if self.files else by_bytes
        return min(by_bytes, by_files), max(by_bytes, by_files)


def past_rate(joblist: JobList) -> PastRate | None:
    """Return how fast the jobs of a joblist were that have succeeded; None if that isn't known.

    The end of the joblist's jobs counts if there are very many. Reads only. Raises
    ``JoblistUnavailableError``.
    """
    spans: list[tuple[float, float]] = []
    jobs = files = size = 0
    done = [job_id for job_id, status in _statuses(joblist) if status is JobStatus.SUCCESS]
    for read in read_jobs(joblist, done[-MOST_JOBS:]):
        attempts = attempts_of(decode_log(read.log))
        if not attempts:
            continue
        for attempt in attempts:
            start = attempt.started.timestamp()
            spans.append((start, start + attempt.seconds))
        size += sum(attempt.bytes for attempt in attempts)
        files += read.line.brought[0]
        jobs += 1
    seconds = _covered(spans)
    if seconds < _LEAST_SECONDS or not (size or files):
        return None
    return PastRate(jobs=jobs, files=files, bytes=size, seconds=seconds)


def _statuses(joblist: JobList) -> list[tuple[str, JobStatus | None]]:
    return [(scanned.job_id, scanned.status) for scanned in joblist.scan()]


def _covered(spans: list[tuple[float, float]]) -> float:
    """Return how much time at least one span covers."""
    covered, until = 0.0, float("-inf")
    for start, end in sorted(spans):
        covered += max(end - max(start, until), 0.0)
        until = max(until, end)
    return covered
