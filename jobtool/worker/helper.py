"""Helping: a worker that has nothing to claim does blocks of jobs that others hold."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from functools import partial

from jobtool.errors import (
    ClaimLostError,
    FileError,
    InfrastructureError,
    JobFileError,
    JoblistUnavailableError,
    MembershipLostError,
    StoppedError,
)
from jobtool.events import Emit
from jobtool.jobs.blocks import Block, Blocks, Taken
from jobtool.jobs.claim import Claims
from jobtool.jobs.job import Job
from jobtool.jobs.joblist import JobList
from jobtool.jobs.records import PartRecord
from jobtool.layouts.destination import with_destination
from jobtool.stop import Stop
from jobtool.stores.preserve import words_for
from jobtool.stores.registry import StoreRegistry
from jobtool.transfer.copy import Copier
from jobtool.transfer.credentialscopes import credential_scopes_of
from jobtool.transfer.existing import Existing
from jobtool.transfer.planning import plan_of_files
from jobtool.transfer.resume import Resumption, fold
from jobtool.transfer.run import JobTransfer, Progress
from jobtool.worker.events import AttributesUnkept, Helped
from jobtool.worker.options import ResolvedOptions

#: How many jobs a worker offers to help with at a time.
_MOST_JOBS = 4

#: A holder that for so long hasn't lent anything, nor said that it may or won't, isn't waited for.
PATIENCE_SECONDS = 60.0


@dataclass(slots=True)
class _Offer:
    blocks: Blocks
    since: float


class Helper:
    """Offers help with jobs that others hold, and does what they lend."""

    def __init__(
        self,
        joblist: JobList,
        claims: Claims,
        stores: StoreRegistry,
        options: ResolvedOptions,
        emit: Emit,
        *,
        name: str,
        worker: str,
    ) -> None:
        self.files_sent = 0
        self.bytes_sent = 0
        self._joblist = joblist
        self._claims = claims
        self._stores = stores
        self._options = options
        self._emit = emit
        self._name = name
        self._worker = worker
        self._offers: dict[str, _Offer] = {}
        self._declined: set[str] = set()

    def offer(self, job_ids: list[str]) -> None:
        """Offer help with some of these jobs, and with no others."""
        for job_id in self._offers.keys() - set(job_ids):
            self._offers.pop(job_id).blocks.withdraw(self._name)
        for job_id in job_ids:
            if len(self._offers) >= _MOST_JOBS:
                return
            if job_id not in self._offers and job_id not in self._declined:
                blocks = Blocks(self._joblist.blocks_path_of(job_id), self._claims)
                blocks.offer(self._name)
                self._offers[job_id] = _Offer(blocks, self._options.monotonic())

    def withdraw(self) -> None:
        """Take all offers back."""
        self.offer([])

    @property
    def is_hopeful(self) -> bool:
        """Whether some holder may still lend something."""
        now = self._options.monotonic()
        for job_id, offer in [*self._offers.items()]:
            is_patient = offer.blocks.is_asked_to_stay or now - offer.since < PATIENCE_SECONDS
            if offer.blocks.is_closed or not is_patient:
                self._decline(job_id)
        return bool(self._offers)

    def help(self, copier: Copier) -> bool:
        """Do one block, if one can be had; tell whether there was one."""
        for job_id, offer in [*self._offers.items()]:
            stop = Stop(parent=self._options.stop)
            taken = offer.blocks.take(self._accepts, partial(stop.lose, "the block was lost"))
            if taken is not None:
                if not self._do(job_id, offer.blocks, taken, copier, stop):
                    self._decline(job_id)
                offer.since = self._options.monotonic()
                return True
        return False

    def _decline(self, job_id: str) -> None:
        """Offer no more help with a job that can't be done from here."""
        self._offers.pop(job_id).blocks.withdraw(self._name)
        self._declined.add(job_id)

    def _accepts(self, block: Block) -> bool:
        policies = self._options.policies
        ours = (policies.if_exists, policies.verify, words_for(policies.preserve))
        return (block.if_exists, block.verify, block.preserve) == ours

    def _do(self, job_id: str, blocks: Blocks, taken: Taken, copier: Copier, stop: Stop) -> bool:
        """Do a block; False if nothing of it could be done, and it is left as it was.

        Whatever goes wrong is the holder's to meet, too, and to tell.
        """
        before = (self.files_sent, self.bytes_sent)
        with taken.claim:
            try:
                with contextlib.suppress(
                    InfrastructureError, FileError, JobFileError, FileNotFoundError
                ):
                    if taken.block.upload is not None:
                        self._send_parts(job_id, taken, copier, stop)
                    else:
                        self._send_files(job_id, taken, copier, stop)
                taken.journal.close()
                is_any_done = (self.files_sent, self.bytes_sent) != before
                if stop.is_set() or not is_any_done:
                    return is_any_done
                blocks.finish(taken, self._worker)
            except MembershipLostError:
                taken.journal.discard()
                raise
            except (StoppedError, ClaimLostError, JoblistUnavailableError):
                taken.journal.discard()
                return False
        sent = self.bytes_sent - before[1]
        self._emit(Helped(stem=job_id, block=taken.number, bytes=sent))
        return True

    def _send_files(self, job_id: str, taken: Taken, copier: Copier, stop: Stop) -> None:
        files = taken.block.files
        job = self._job(job_id)
        plan = plan_of_files(
            job,
            ((file.src_path, file.dst_path, file.size, file.mtime_ns) for file in files),
            self._stores,
            self._joblist.owner_of(job_id),
        )
        existing = Existing(plan, (file.existing_size for file in files))
        state = Resumption(bytearray(len(files)), bytearray(file.ours for file in files), {}, {})
        fold(state, plan, taken.journal.read())  # of a helper that died over this block
        transfer = JobTransfer(
            plan,
            taken.journal,
            copier,
            existing=existing,
            resumption=state,
            policies=self._options.policies,
            threads=self._options.threads,
            worker=self._worker,
            attempt=taken.block.attempt,
            stop=stop,
            retry=self._options.retry(stop),
        )
        before = transfer.progress
        transfer.run(_ignore)
        after = transfer.progress
        for unkept in transfer.notes.told:
            self._emit(AttributesUnkept.of(unkept, job=job.name))
        self.files_sent += after.files_done - before.files_done
        self.bytes_sent += after.bytes_done - before.bytes_done

    def _send_parts(self, job_id: str, taken: Taken, copier: Copier, stop: Stop) -> None:
        block, upload = taken.block, taken.block.upload
        if upload is None:
            raise JobFileError("expected an upload in a block of parts; found none")
        job = self._job(job_id)
        file = (upload.src_path, upload.dst_path, upload.size, upload.mtime_ns)
        plan = plan_of_files(job, [file], self._stores, self._joblist.owner_of(job_id))
        item = plan.item(0)
        sent = {record.number for record in taken.journal.read() if isinstance(record, PartRecord)}
        numbers = set(range(block.first_part, block.last_part + 1)) - sent
        try:
            self._options.retry(stop).call(
                lambda: copier.send_parts(
                    item,
                    upload,
                    numbers,
                    journal=taken.journal,
                    stop=stop,
                    on_bytes=self._count,
                )
            )
        finally:
            taken.journal.flush(item.route.destination.sync)

    def _job(self, job_id: str) -> Job:
        job = with_destination(self._joblist.load(job_id)[0], self._joblist.settings)
        self._stores.reach_job(credential_scopes_of(job))
        return job

    def _count(self, size: int) -> None:
        self.bytes_sent += size


def _ignore(progress: Progress) -> None:
    pass
