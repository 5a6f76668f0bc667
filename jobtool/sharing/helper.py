"""The helper's side of work sharing: a worker without a job does batches of others' jobs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Protocol

import msgspec

from jobtool.errors import (
    ClaimLostError,
    FileError,
    InfrastructureError,
    JobFileError,
    JoblistUnavailableError,
    MembershipLostError,
    StoppedError,
)
from jobtool.jobs.claim import Claims
from jobtool.jobs.job import Job
from jobtool.jobs.joblist import JobList
from jobtool.jobs.requirements import require_understood
from jobtool.layouts.destination import with_destination
from jobtool.sharing.batches import Batch, Batches, ClaimedBatch
from jobtool.sharing.plan import plan_of_files
from jobtool.stop import Stop
from jobtool.stores.preserve import words_for
from jobtool.stores.registry import StoreRegistry
from jobtool.transfer.copy import Copier
from jobtool.transfer.credentialscopes import credential_scopes_of
from jobtool.transfer.ledger import Ledger
from jobtool.transfer.notes import Unkept
from jobtool.transfer.policies import Policies
from jobtool.transfer.progress import Progress
from jobtool.transfer.retry import Retry
from jobtool.transfer.run import JobTransfer

#: How many jobs a worker offers to help with at a time.
_MOST_JOBS = 4

#: How long a helper waits for a holder that shares nothing and doesn't signal that it may.
PATIENCE_SECONDS = 60.0


class HelperOptions(Protocol):
    """The options of a worker that a helper uses."""

    @property
    def policies(self) -> Policies:
        """The policies that users may choose. A helper needs the same ones as the holder."""

    @property
    def threads(self) -> int:
        """How many files are copied at the same time."""

    @property
    def stop(self) -> Stop:
        """The stop that ends the help."""

    @property
    def monotonic(self) -> Callable[[], float]:
        """The clock, in seconds."""

    def retry(self, stop: Stop) -> Retry:
        """Return a ``Retry`` that tries again until ``stop`` is set."""


def _holding_nothing(job_id: str, stop: Stop) -> AbstractContextManager[None]:
    return contextlib.nullcontext()


class _Offer(msgspec.Struct):
    batches: Batches
    since: float


class Helper:
    """Offers help with jobs that others hold, and does the batches that they share.

    ``name`` is the name in offers, ``worker`` the name in receipts. ``on_helped`` is passed the
    job's ID, the batch's number and the number of bytes sent. ``on_unkept`` is passed the job's
    name and an attribute that some of its files arrived without. ``holding`` returns a context in
    which a stop is set if the job is paused meanwhile.
    """

    def __init__(
        self,
        joblist: JobList,
        claims: Claims,
        stores: StoreRegistry,
        options: HelperOptions,
        *,
        name: str,
        worker: str,
        on_helped: Callable[[str, int, int], None],
        on_unkept: Callable[[str, Unkept], None],
        holding: Callable[[str, Stop], AbstractContextManager[None]] = _holding_nothing,
    ) -> None:
        self.files_sent = 0
        self.bytes_sent = 0
        self._joblist = joblist
        self._claims = claims
        self._stores = stores
        self._options = options
        self._on_helped = on_helped
        self._on_unkept = on_unkept
        self._holding = holding
        self._name = name
        self._worker = worker
        self._offers: dict[str, _Offer] = {}
        self._declined: set[str] = set()

    def offer(self, job_ids: list[str]) -> None:
        """Offer help with some of these jobs, and withdraw the offers for all others."""
        for job_id in self._offers.keys() - set(job_ids):
            self._offers.pop(job_id).batches.withdraw(self._name)
        for job_id in job_ids:
            if len(self._offers) >= _MOST_JOBS:
                return
            if job_id not in self._offers and job_id not in self._declined:
                batches = Batches(self._joblist.blocks_path_of(job_id), self._claims)
                batches.offer(self._name)
                self._offers[job_id] = _Offer(batches, self._options.monotonic())

    def withdraw(self) -> None:
        """Withdraw all offers."""
        self.offer([])

    @property
    def is_hopeful(self) -> bool:
        """Whether a holder may still share a batch."""
        now = self._options.monotonic()
        for job_id, offer in [*self._offers.items()]:
            is_patient = offer.batches.is_asked_to_stay or now - offer.since < PATIENCE_SECONDS
            if offer.batches.is_closed or not is_patient:
                self._decline(job_id)
        return bool(self._offers)

    def help(self, copier: Copier) -> bool:
        """Do one batch, if one is available; return True if there was one."""
        for job_id, offer in [*self._offers.items()]:
            stop = Stop(parent=self._options.stop)
            taken = offer.batches.acquire(self._accepts, partial(stop.lose, "the batch was lost"))
            if taken is not None:
                with self._holding(job_id, stop):
                    is_done = self._do(job_id, offer.batches, taken, copier, stop)
                if not is_done and (stop.is_lost or not stop.is_set()):
                    self._decline(job_id)
                offer.since = self._options.monotonic()
                return True
        return False

    def _decline(self, job_id: str) -> None:
        """Withdraw the offer for a job, and don't offer help with it again."""
        self._offers.pop(job_id).batches.withdraw(self._name)
        self._declined.add(job_id)

    def _accepts(self, batch: Batch) -> bool:
        policies = self._options.policies
        kept = words_for(policies.preserve)
        ours = (policies.if_exists, policies.verify, kept, policies.compression)
        return (batch.if_exists, batch.verify, batch.preserve, batch.compression) == ours

    def _do(
        self, job_id: str, batches: Batches, taken: ClaimedBatch, copier: Copier, stop: Stop
    ) -> bool:
        """Do a batch; return False if nothing could be done, and leave the batch open then.

        Errors aren't reported: the holder meets them too, and reports them.
        """
        before = (self.files_sent, self.bytes_sent)
        with taken.claim:
            try:
                with contextlib.suppress(
                    InfrastructureError, FileError, JobFileError, FileNotFoundError
                ):
                    if taken.batch.upload is not None:
                        self._send_parts(job_id, taken, copier, stop)
                    else:
                        self._send_files(job_id, taken, copier, stop)
                taken.journal.close()
                is_any_done = (self.files_sent, self.bytes_sent) != before
                if stop.is_set() or not is_any_done:
                    return is_any_done
                batches.finish(taken, self._worker)
            except MembershipLostError:
                taken.journal.discard()
                raise
            except (StoppedError, ClaimLostError, JoblistUnavailableError):
                taken.journal.discard()
                return False
        sent = self.bytes_sent - before[1]
        self._on_helped(job_id, taken.number, sent)
        return True

    def _send_files(self, job_id: str, taken: ClaimedBatch, copier: Copier, stop: Stop) -> None:
        files = taken.batch.files
        job = self._job(job_id)
        plan = plan_of_files(
            job,
            ((file.src_path, file.dst_path, file.size, file.mtime_ns) for file in files),
            self._stores,
            self._joblist.owner_of(job_id),
        )
        ledger = Ledger(
            plan,
            taken.journal,
            attempt=taken.batch.attempt,
            compression=taken.batch.compression,
        )
        ledger.note_destination(
            (file.existing_size for file in files), (file.ours for file in files)
        )
        ledger.forms.note_received((file.as_it_is, file.existing_other_size) for file in files)
        ledger.fold(taken.journal.read())  # the records of a helper that died during this batch
        transfer = JobTransfer(
            ledger,
            copier,
            policies=self._options.policies,
            threads=self._options.threads,
            worker=self._worker,
            stop=stop,
            retry=self._options.retry(stop),
        )
        before = transfer.progress
        transfer.run(_ignore)
        after = transfer.progress
        for unkept in transfer.notes.told:
            self._on_unkept(job.name, unkept)
        self.files_sent += after.files_done - before.files_done
        self.bytes_sent += after.bytes_done - before.bytes_done

    def _send_parts(self, job_id: str, taken: ClaimedBatch, copier: Copier, stop: Stop) -> None:
        batch, upload = taken.batch, taken.batch.upload
        if upload is None:
            raise JobFileError("expected an upload in a batch of parts; found none")
        job = self._job(job_id)
        file = (upload.src_path, upload.dst_path, upload.size, upload.mtime_ns)
        plan = plan_of_files(job, [file], self._stores, self._joblist.owner_of(job_id))
        item = plan.item(0)
        ledger = Ledger(plan, taken.journal, attempt=batch.attempt)
        ledger.fold([upload, *taken.journal.read()])
        log = ledger.log_of(0, item)
        sent = {} if log.under_way is None else log.under_way.parts
        numbers = set(range(batch.first_part, batch.last_part + 1)) - sent.keys()
        try:
            self._options.retry(stop).call(
                lambda: copier.send_parts(item, log, numbers, stop=stop, on_bytes=self._count)
            )
        finally:
            ledger.flush()

    def _job(self, job_id: str) -> Job:
        job, _ = self._joblist.load(job_id)
        require_understood(job.requires)
        job = with_destination(job, self._joblist.settings)
        self._stores.reach_job(credential_scopes_of(job))
        return job

    def _count(self, size: int) -> None:
        self.bytes_sent += size


def _ignore(progress: Progress) -> None:
    pass
