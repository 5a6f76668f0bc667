"""A job in the hands of the worker that holds its claim: the only writer of its file."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime

from jobtool.errors import JoblistUnavailableError
from jobtool.jobs.job import Job, JobStatus
from jobtool.jobs.jobfile import LogRecord, encode_record
from jobtool.jobs.joblist import JobList, reason_of
from jobtool.names import quote


class HeldJob:
    """Changes a job's status and appends to its log, durably; ``now`` gives the time of a line.

    Methods raise ``JoblistUnavailableError`` if the joblist can't be written, and
    ``FileNotFoundError`` if somebody has removed the job file.
    """

    def __init__(self, joblist: JobList, stem: str, job: Job, now: Callable[[], datetime]) -> None:
        self.stem = stem
        self.job = job
        self._joblist = joblist
        self._now = now

    def begin(self, *, worker: str, rank: int) -> None:
        """Make the job ``ongoing`` and count the attempt.

        A job that required intervention and is worked on has had it: its failures are forgotten.
        """
        if self.job.requires_intervention:
            self.job = replace(self.job, failures=0, requires_intervention=False)
        self.job = replace(self.job, attempts=self.job.attempts + 1)
        self.change(
            JobStatus.ONGOING, "claimed", worker=worker, rank=rank, attempt=self.job.attempts
        )

    def change(self, status: JobStatus, event: str, **values: object) -> None:
        """Change the status and log why, in one atomic step."""
        _, log = self._joblist.load(self.stem)
        if log and not log.endswith(b"\n"):
            log += b"\n"
        self.job = self.job.to(status)
        record = encode_record(self._record(event, values))
        with self._writing():
            self._joblist.save(self.stem, self.job, log + record)

    def fail(self, values: Mapping[str, object], *, may_pass: bool, max_attempts: int) -> JobStatus:
        """Count a failure, logged with ``values``; return the status that the job has then.

        ``todo`` if the failure may pass and there are attempts left, else ``error``, and with
        ``requires_intervention`` if it was tried as often as it may be.
        """
        self.job = replace(self.job, failures=self.job.failures + 1)
        status = JobStatus.ERROR
        if may_pass and self.job.failures < max_attempts:
            status = JobStatus.TODO
        elif may_pass:
            self.job = replace(self.job, requires_intervention=True)
        self.change(status, "error", **values)
        return status

    def put_back(self, event: str) -> None:
        """Make the job ``todo``, its failures forgotten."""
        self.job = replace(self.job, failures=0, requires_intervention=False)
        self.change(JobStatus.TODO, event)

    def log(self, event: str, **values: object) -> None:
        """Append a line to the log."""
        with self._writing():
            self._joblist.append(self.stem, self._record(event, values))

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise  # somebody has removed the job
        except OSError as error:
            path = quote(self._joblist.path_of(self.stem))
            raise JoblistUnavailableError(f"can't write {path}: {reason_of(error)}") from None

    def _record(self, event: str, values: Mapping[str, object]) -> LogRecord:
        texts = {
            key: f"{value:.1f}" if isinstance(value, float) else str(value)
            for key, value in values.items()
        }
        return LogRecord(time=self._now(), event=event, values=texts)
