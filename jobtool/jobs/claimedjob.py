"""A claimed job. The holder of the claim is the only writer of the job file."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from types import TracebackType
from typing import Self

from msgspec.structs import replace

from jobtool.errors import ClaimLostError, JoblistUnavailableError, reason_of
from jobtool.jobs import jobfile
from jobtool.jobs.claim import Claim, Claims
from jobtool.jobs.job import Job, JobStatus, StepState
from jobtool.jobs.joblist import JobList
from jobtool.jobs.joblog import LogRecord, encode_record
from jobtool.jobs.requirements import require_understood
from jobtool.names import quote
from jobtool.redact import redact

#: How often in a row a job may be handed back without progress for a reason outside the job.
MAX_HAND_BACKS = 10

#: How long a job whose files can't be read yet is left alone at most: a day.
MAX_WAIT_SECONDS = 86400.0

#: By how much the clocks of two nodes may differ.
_CLOCK_SKEW_SECONDS = 900.0

TOO_OFTEN = "handed back too often without progress"


def too_often(reason: str) -> str:
    """Return the reason of an error after too many hand-backs, the last one for ``reason``."""
    return f"{TOO_OFTEN}: {reason}"


#: How much of a claim's token the log shows; enough to tell any two apart.
_TOKEN_DIGITS = 12


#: A smaller job file is kept in memory as it was written, so that it isn't parsed again if nobody
#: has changed it.
_REMEMBERED_BYTES = 64 * 1024


class ClaimedJob:
    """Changes a job's status and appends to its log, durably. ``now`` returns the time of a line.

    The claim is checked before every write. Methods raise ``ClaimLostError`` if it is lost,
    ``JoblistUnavailableError`` if the joblist can't be written, and ``FileNotFoundError`` if the
    job file was removed.
    """

    def __init__(
        self,
        joblist: JobList,
        job_id: str,
        job: Job,
        log: bytes,
        claim: Claim,
        now: Callable[[], datetime],
    ) -> None:
        self.job_id = job_id
        self.job = job
        self.claim = claim
        self._joblist = joblist
        self._now = now
        self._log: bytes | None = log
        self._written: tuple[bytes, bytes] | None = None  # the file as written last, and its log
        self._attempt: int | None = None

    @classmethod
    def acquire(
        cls,
        joblist: JobList,
        claims: Claims,
        job_id: str,
        now: Callable[[], datetime],
        *,
        on_loss: Callable[[], None] | None = None,
    ) -> ClaimedJob | None:
        """Claim a job and read its file. Never waits.

        Return None if another worker holds the job, or may hold it.

        ``on_loss`` is called from another thread when the claim is found to be lost.

        Raises ``JobFileError`` (the job is invalid), ``UnmetRequirementError`` (it requires what
        this version doesn't know), ``FileNotFoundError`` and ``JoblistUnavailableError``.
        """
        attempts = 0
        while True:
            claim = claims.acquire(job_id, after=attempts, on_loss=on_loss)
            if claim is None:
                return None
            try:
                job, log = joblist.load(job_id)
                require_understood(job.requires)
            except BaseException:
                claim.release()
                raise
            if not claim.generation or job.attempts < claim.generation:
                return cls(joblist, job_id, job, log, claim, now)
            claim.release()
            # Only the worker that got the last attempt's own marker knows that it is over.
            attempts = job.attempts - (claim.generation < job.attempts)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.claim.release()

    def begin(self, *, worker: str, rank: int) -> None:
        """Make the job ``ongoing`` and count the attempt.

        If the job required intervention, a person has intervened: its failures are forgotten. If
        all steps are done and the job is ``todo``, a person wants it done again.
        """
        if self.job.status is JobStatus.TODO and not self.job.undone_steps:
            self.job = self.job.with_all_steps_undone()
        if self.job.requires_intervention:
            self.job = replace(self.job, failures=0, hand_backs=0, requires_intervention=False)
        attempt = max(self.job.attempts + 1, self.claim.generation)
        self.job = replace(self.job, attempts=attempt, not_before=None)
        self._attempt = attempt
        self.change(
            JobStatus.ONGOING,
            "claimed",
            worker=worker,
            rank=rank,
            claim=self.claim.token[:_TOKEN_DIGITS],
        )
        self.claim.remove_older()

    def change(self, status: JobStatus, event: str, **values: object) -> None:
        """Change the status and log why, in one atomic step."""
        log = self._log_so_far()
        self.job = self.job.to(status)
        if status is JobStatus.SUCCESS:
            self.job = replace(self.job, hand_backs=0)
        self._save(log, event, values)

    def set_priority(self, priority: int, **values: object) -> None:
        """Write another priority, whatever the status, logged with ``values``."""
        log = self._log_so_far()
        self.job = replace(self.job, priority=priority)
        self._save(log, "priority", {"priority": priority, **values})

    def end_by_stop(self, reason: str, token: str, **values: object) -> None:
        """Make an undone job ``error`` since a person has stopped it.

        ``token`` is that of the stop. In the log it says that the stop is over.
        """
        self.change(JobStatus.ERROR, "error", **values, reason=reason, stop=token)

    def _log_so_far(self) -> bytes:
        # Right after the claim the log is known. Later a person may have added to it.
        log = self._log
        self._log = None
        if log is None:
            data = self._joblist.read(self.job_id)
            if self._written is not None and data == self._written[0]:
                return self._written[1]
            found, log = jobfile.decode(data, job_id=self.job_id)
            if self._attempt is not None and found.attempts != self._attempt:
                raise ClaimLostError(
                    f"the file of job {quote(self.job.name)} was replaced: expected attempt "
                    f"{self._attempt} in it; found {found.attempts}"
                )
        return log if not log or log.endswith(b"\n") else log + b"\n"

    def _save(self, log: bytes, event: str, values: Mapping[str, object]) -> None:
        record = encode_record(self._record(event, values))
        with self._writing():
            data = self._joblist.save(
                self.job_id, self.job, log + record, before=self.claim.require_held
            )
        self._written = (data, log + record) if len(data) <= _REMEMBERED_BYTES else None

    @property
    def log_as_claimed(self) -> bytes:
        """The log as it was read with the claim; empty once this worker has written to it."""
        return self._log or b""

    def begin_step(self, name: str) -> None:
        """Count an attempt at a step, logged; writes nothing if the job file names no steps.

        Later steps that were done become ``todo``: they saw data that may have changed since.
        """
        chain = self.job.chain
        for later in chain[chain.index(name) + 1 :]:
            state = self.job.step_state(later)
            if state.status is JobStatus.SUCCESS:
                self.job = self.job.with_step(later, replace(state, status=JobStatus.TODO))
        state = self.job.step_state(name)
        state = StepState(status=JobStatus.ONGOING, attempts=state.attempts + 1)
        self._change_step(name, state, "step-begun", {})

    def end_step(self, name: str, **values: object) -> None:
        """Make a step a success, logged with ``values``. Write nothing if the file names none."""
        state = replace(self.job.step_state(name), status=JobStatus.SUCCESS)
        self._change_step(name, state, "step-done", values)

    def _change_step(
        self, name: str, state: StepState, event: str, values: Mapping[str, object]
    ) -> None:
        if self.job.steps:
            self.job = self.job.with_step(name, state)
            told = {"step": name, "step_attempt": state.attempts, **values}
            self.change(JobStatus.ONGOING, event, **told)

    def amend(self, job: Job, event: str, **values: object) -> None:
        """Write other header lines of the ongoing job, logged with ``values``."""
        self.job = job
        self.change(JobStatus.ONGOING, event, **values)

    def fail(
        self,
        values: Mapping[str, object],
        *,
        may_pass: bool,
        max_attempts: int,
        backoff_seconds: float = 0.0,
    ) -> JobStatus:
        """Count a failure, logged with ``values``; return the new status of the job.

        It is ``todo`` if the failure may pass and attempts are left, else ``error``. If the failure
        may pass and no attempts are left, the job gets ``requires_intervention``. With
        ``backoff_seconds`` a ``todo`` job waits for so long, and twice as long after each further
        failure.
        """
        self.job = replace(self.job, failures=self.job.failures + 1)
        status = JobStatus.ERROR
        if may_pass and self.job.failures < max_attempts:
            status = JobStatus.TODO
            if backoff_seconds:
                wait = min(backoff_seconds * 2.0 ** (self.job.failures - 1), MAX_WAIT_SECONDS)
                until = self._now() + timedelta(seconds=wait)
                self.job = replace(self.job, not_before=until.replace(microsecond=0))
        elif may_pass:
            self.job = replace(self.job, requires_intervention=True)
        self.change(status, "error", **values)
        return status

    def set_back(
        self, values: Mapping[str, object], *, has_progressed: bool, is_counted: bool = True
    ) -> JobStatus:
        """Hand the job back for a reason outside the job; return its new status.

        It is ``todo``. After ``MAX_HAND_BACKS`` hand-backs in a row without progress it is
        ``error``, with ``requires_intervention``: the other jobs must not wait for ever behind it.
        A hand-back with ``is_counted`` False doesn't count. ``values`` are logged.
        """
        count = (0 if has_progressed else self.job.hand_backs) + is_counted
        self.job = replace(self.job, hand_backs=count)
        if not is_counted or count < MAX_HAND_BACKS:
            self.change(JobStatus.TODO, "handed-back", **values)
            return JobStatus.TODO
        self.job = replace(self.job, requires_intervention=True)
        reason = too_often(str(values.get("reason", "")))
        self.change(JobStatus.ERROR, "error", **{**values, "reason": reason})
        return JobStatus.ERROR

    def wait(self, values: Mapping[str, object], *, seconds: float) -> datetime:
        """Hand the job back until ``seconds`` from now, logged with ``values``; return that time.

        This counts neither as a failure nor towards ``MAX_HAND_BACKS``, whose count begins anew.
        """
        until = self._now() + timedelta(seconds=min(seconds, MAX_WAIT_SECONDS))
        not_before = until.replace(microsecond=0)  # as the file holds it
        self.job = replace(self.job, hand_backs=0, not_before=not_before)
        self.change(JobStatus.TODO, "handed-back", **values)
        return not_before

    def waits_until(self) -> datetime | None:
        """Return until when the job is to be left alone; None if it may be taken up now.

        A time that is further off than a worker may set was written by a wrong clock, and doesn't
        count.
        """
        until, now = self.job.not_before, self._now()
        if self.job.status is not JobStatus.TODO or until is None:
            return None
        is_ahead = now < until <= now + timedelta(seconds=MAX_WAIT_SECONDS + _CLOCK_SKEW_SECONDS)
        return until if is_ahead else None

    def note_progress(self) -> None:
        """Reset the count of hand-backs. The next change of status writes it."""
        self.job = replace(self.job, hand_backs=0)

    def put_back(self, event: str) -> None:
        """Make the job ``todo`` and forget its failures.

        All steps of a success are done again. For another job only the undone steps are done.
        """
        if self.job.status is JobStatus.SUCCESS:
            self.job = self.job.with_all_steps_undone()
        self.job = replace(
            self.job, failures=0, hand_backs=0, requires_intervention=False, not_before=None
        )
        self.change(JobStatus.TODO, event)

    def log(self, event: str, **values: object) -> None:
        """Append a line to the log."""
        is_torn = bool(self._log) and not (self._log or b"").endswith(b"\n")
        self._log = None
        self.claim.require_held()
        with self._writing():
            self._joblist.append(self.job_id, self._record(event, values), after_torn=is_torn)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise  # the job file was removed
        except OSError as error:
            path = quote(self._joblist.path_of(self.job_id))
            raise JoblistUnavailableError(f"can't write {path}: {reason_of(error)}") from None

    def _record(self, event: str, values: Mapping[str, object]) -> LogRecord:
        texts = {
            key: f"{value:.1f}" if isinstance(value, float) else redact(str(value))
            for key, value in values.items()
        }
        if self._attempt is not None:
            texts["attempt"] = str(self._attempt)
        return LogRecord(time=self._now(), event=event, values=texts)
