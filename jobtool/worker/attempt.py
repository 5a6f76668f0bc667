"""One attempt at one job, by the worker that holds its claim."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from functools import partial

from jobtool.errors import (
    ClaimLostError,
    JobtoolError,
    MembershipLostError,
    Scope,
    StoppedError,
    StoreError,
    WorldError,
)
from jobtool.events import Emit
from jobtool.jobs.blocks import Blocks
from jobtool.jobs.claim import Claims
from jobtool.jobs.claimedjob import ClaimedJob, too_often
from jobtool.jobs.job import JobStatus
from jobtool.jobs.joblist import JobList
from jobtool.jobs.journal import read_journals
from jobtool.jobs.records import Receipt, Record
from jobtool.jobs.table import read_table, write_table
from jobtool.stop import ASKED, Stop, until_stopped
from jobtool.stores.credentials.provider import ProviderError
from jobtool.stores.location import parent_of
from jobtool.stores.optional import Multipart
from jobtool.stores.preserve import words_for
from jobtool.stores.registry import StoreRegistry
from jobtool.stores.store import Attributes, Upload
from jobtool.transfer.copy import Copied, Copier
from jobtool.transfer.credentialscopes import credential_scopes_of
from jobtool.transfer.earlier import Earlier, ListingLog
from jobtool.transfer.existing import Existing, holds_nothing
from jobtool.transfer.inforce import ReceiptsInForce
from jobtool.transfer.lending import Lending, settle
from jobtool.transfer.phases import Phase
from jobtool.transfer.plan import Failure, Item, Plan
from jobtool.transfer.planning import TreeListing, open_plan
from jobtool.transfer.resume import Resumption, fold, open_uploads, remove_leftovers
from jobtool.transfer.retry import Retry
from jobtool.transfer.run import JobTransfer, Progress
from jobtool.worker.deadline import Pace
from jobtool.worker.doubt import Doubts
from jobtool.worker.events import (
    JobFailed,
    JobHandedBack,
    JobLost,
    JobProgress,
    JobSucceeded,
)
from jobtool.worker.jobreport import LOGGED_FILES, JobReport
from jobtool.worker.options import ResolvedOptions


class Outcome(Enum):
    """How an attempt ended."""

    SUCCESS = "success"
    ERROR = "error"
    HANDED_BACK = "handed-back"
    DOUBTFUL = "doubtful"
    LOST = "lost"


class Attempt:
    """Takes a job that is ``ongoing`` in our hands to its end: plan, copy, receipts, status.

    ``report`` tells how it goes, and how much was done. ``pace`` tells whether it can be done in
    time; if not, it ``is_too_long`` and is handed back.
    ``doubts`` tells what else works where files are refused; an attempt that ends ``DOUBTFUL``
    was handed back for ``doubt``.

    ``stop`` ends this attempt: the worker's, or the loss of the claim. ``watch`` is told the
    progress several times a second.
    """

    def __init__(
        self,
        claimed: ClaimedJob,
        joblist: JobList,
        worker: str,
        options: ResolvedOptions,
        stop: Stop,
        emit: Emit,
        watch: Callable[[JobProgress], None],
        claims: Claims,
        pace: Pace,
        doubts: Doubts,
    ) -> None:
        self.is_too_long = False
        self.doubt: JobtoolError | None = None
        self.report = JobReport(claimed, options, emit, watch)
        self._doubts = doubts
        self._transferring: JobTransfer | None = None
        self._pace = pace
        self._blocks = Blocks(joblist.blocks_path_of(claimed.job_id), claims)
        self._claimed = claimed
        self._stop = stop
        self._name = claimed.job.name
        self._joblist = joblist
        self._journal = joblist.journal_of(claimed.job_id, claimed.claim.require_held)
        self._owner = joblist.owner_of(claimed.job_id)
        self._was_done = False
        self._worker = worker
        self._options = options
        self._emit = emit

    def run(self, stores: StoreRegistry, copier: Copier) -> Outcome:
        """Transfer the job and write down how it ended.

        Raises ``WorldError`` after handing the job back: no other job would fare better. Once the
        claim is lost nothing is written.
        """
        try:
            return self._run(stores, copier)
        except MembershipLostError:
            self._journal.discard()
            raise
        except ClaimLostError as error:
            self._journal.discard()
            self._emit(JobLost(job=self._name, reason=str(error)))
            return Outcome.LOST

    def _run(self, stores: StoreRegistry, copier: Copier) -> Outcome:
        started = self._options.monotonic()
        try:
            plan, transfer = self._transfer(stores, copier)
            if transfer.is_complete and transfer.returned:  # by helpers that were killed, perhaps
                self._remove_leftovers(plan, transfer.resumption, transfer.returned)
            is_recorded = self._was_done and not (self._journal.exists or self._blocks.exist)
            if transfer.is_complete and not is_recorded:
                self.report.phase(Phase.RECORDING)
                self._write_table(plan)
                if (
                    self._claimed.job.attempts > 1
                    or transfer.has_begun_uploads
                    or self._blocks.exist
                ):
                    self._abort_unfinished(stores)
        except ClaimLostError:
            raise
        except StoppedError:
            return self._hand_back(self._stop.reason)
        except ProviderError:
            self._set_back("no credentials", is_counted=False)  # why is told once, at the end
            raise
        except WorldError as error:
            if error.retryable and self._stop.is_set():
                return self._hand_back(self._stop.reason)
            self._set_back(str(error))
            raise
        except JobtoolError as error:
            if error.retryable and self._stop.is_set():
                return self._hand_back(self._stop.reason)  # it was not given its other tries
            is_doubtful = error.scope is Scope.UNCERTAIN and not self._has_succeeded
            return self._end_in_failure([Failure(path="", error=error)], is_doubtful=is_doubtful)
        except Exception as error:  # a bug must not leave the job ongoing, nor stop the others
            unexpected = JobtoolError(f"unexpected {type(error).__name__}: {error}")
            return self._fail([Failure(path="", error=unexpected)])
        if transfer.failures:
            return self._end_in_failure(transfer.failures, is_doubtful=transfer.is_doubtful)
        if not transfer.is_complete:
            return self._hand_back(self._stop.reason)
        seconds = self._options.monotonic() - started
        return self._succeed(plan, skipped=transfer.skipped.count, seconds=seconds)

    @property
    def _has_succeeded(self) -> bool:
        return self._transferring is not None and self._transferring.has_succeeded

    @property
    def _proven_earlier(self) -> Item | None:
        transfer = self._transferring
        return None if transfer is None else transfer.any_proven

    @property
    def _has_progressed(self) -> bool:
        """Whether a file or a part has arrived."""
        transfer = self._transferring
        return transfer is not None and (transfer.has_succeeded or transfer.progress.bytes_sent > 0)

    def _transfer(self, stores: StoreRegistry, copier: Copier) -> tuple[Plan, JobTransfer]:
        options, job = self._options, self._claimed.job
        retry = options.retry(self._stop, on_retry=self.report.retry)
        stores.on_renewal = self.report.renewal
        stores.begin_job(credential_scopes_of(job))
        self.report.phase(Phase.LISTING)
        plan, listing = open_plan(job, stores, owner=self._owner, retry=retry)
        self.report.credentials(stores.credential_holders())
        if job.attempts > 1:
            settle(self._blocks, self._stop)
        if listing is not None and self._may_send_while_listing(listing, retry):
            existing, resumption = Existing.nothing(plan), Resumption.fresh(len(plan))
            listing_log = ListingLog(plan, self._journal)
        else:
            existing, resumption, listing_log = self._compare(plan, listing, retry)
            listing = None
        if job.attempts > 1:
            retry.call(lambda: self._remove_leftovers(plan, resumption))

        def tell_listed() -> None:
            self._tell_listed(transfer.progress)

        transfer = self._transferring = JobTransfer(
            plan,
            self._journal,
            copier,
            existing=existing,
            resumption=resumption,
            policies=options.policies,
            lending=self._lending() if options.share else None,
            threads=options.threads,
            worker=self._worker,
            attempt=job.attempts,
            stop=self._stop,
            retry=retry,
            on_file=self._tell_file,
            listing=listing,
            on_listed=tell_listed,
            listing_log=listing_log,
        )
        self._was_done = transfer.is_complete
        if listing is None:
            tell_listed()
        try:
            transfer.run(self.report.progress_since(transfer.progress))
        finally:
            self._journal.close()
        return plan, transfer

    def _compare(
        self, plan: Plan, listing: TreeListing | None, retry: Retry
    ) -> tuple[Existing, Resumption, ListingLog]:
        """List the plan, and hold it against what is recorded and what the destination holds.

        If that fails, what was listed is recorded all the same.
        """
        log = ListingLog(plan, self._journal)
        resumption = None
        try:
            if listing is not None:
                listing.run()
            self.report.phase(Phase.COMPARING)
            earlier = Earlier(plan)
            found = Resumption.fresh(len(plan))
            records = until_stopped(
                self._records(), self._stop, "reading what is recorded of the job"
            )
            fold(found, plan, records, earlier.note)
            log = ListingLog(plan, self._journal, earlier.recorded)
            resumption = found
            earlier.settle(resumption, accept_gone=self._options.policies.if_gone == "ignore")
            existing = Existing(plan, retry=retry)
        except JobtoolError:
            if resumption is not None:
                log.write(resumption.done)
            elif self._claimed.job.attempts == 1:  # else it isn't known what is recorded already
                log.write(bytearray(len(plan)))
            self._journal.close()
            raise
        resumption.confirm(plan, existing)
        return existing, resumption, log

    def _may_send_while_listing(self, listing: TreeListing, retry: Retry) -> bool:
        """Tell whether files may go before all is listed: there is nothing that they might meet."""
        return (
            self._claimed.job.attempts == 1
            and retry.call(lambda: holds_nothing(listing.route.destination))
            and next(self._records(), None) is None
        )

    def _tell_listed(self, listed: Progress) -> None:
        self.report.listed(listed)
        self._stop_if_too_long(listed)
        self.report.phase(Phase.COPYING)

    def _stop_if_too_long(self, listed: Progress) -> None:
        """Begin nothing that can't be finished in time at the rate so far."""
        seconds = self._pace.seconds_for(
            files=listed.files_total - listed.files_done,
            size_bytes=listed.bytes_total - listed.bytes_done,
        )
        left = self._pace.seconds_left
        if seconds > left:
            self.is_too_long = True
            self._stop.set(
                f"it would take {seconds:.0f} s at the rate so far, and {left:.0f} are left"
            )

    def _records(self, *, with_table: bool = True) -> Iterator[Record]:
        """Yield what is recorded of the job; looks at no blocks where there can't be any."""
        job_id = self._claimed.job_id
        if with_table:
            yield from read_table(self._joblist.table_path_of(job_id))
        yield from self._journal.read()
        if self._blocks.exist:
            yield from read_journals(self._joblist.blocks_path_of(job_id))

    def _receipts(self) -> Iterator[Receipt]:
        return (record for record in self._records() if isinstance(record, Receipt))

    def _lending(self) -> Lending:
        return Lending(
            self._blocks,
            attempt=self._claimed.job.attempts,
            if_exists=self._options.policies.if_exists,
            verify=self._options.policies.verify,
            preserve=words_for(self._options.policies.preserve),
            threads=self._options.threads,
            on_return=self.report.helper,
        )

    def _tell_left_out(self) -> None:
        """Tell what was left out and what files lack; before the attempt's end is written down."""
        if self._transferring is not None:
            self.report.left_out(self._transferring)

    def _remove_leftovers(
        self, plan: Plan, resumption: Resumption, numbers: list[int] | None = None
    ) -> None:
        removed = remove_leftovers(plan, resumption, is_stopping=self._stop.is_set, numbers=numbers)
        if removed:
            self._claimed.log("removed-leftovers", count=removed)

    def _write_table(self, plan: Plan) -> None:
        job_id = self._claimed.job_id
        table_path = self._joblist.table_path_of(job_id)
        receipts = ReceiptsInForce(plan, self._receipts)
        write = partial(
            write_table,
            table_path,
            receipts,
            attempt=self._claimed.job.attempts,
            require_held=self._claimed.claim.require_held,
        )
        try:
            write()
        except FileNotFoundError:  # somebody has removed the folder
            os.makedirs(os.path.dirname(table_path), exist_ok=True)
            write()
        if receipts.proven != len(plan):
            raise StoreError(
                f"{len(plan) - receipts.proven} of {len(plan)} files have no receipt; they are "
                "compared again"
            )

    def _abort_unfinished(self, stores: StoreRegistry) -> None:
        """Drop uploads of files that went another way since, or are no longer in the source."""
        for token, url in open_uploads(self._records(with_table=False)).items():
            folder, name = parent_of(url)
            store = stores.open(folder, "destination", owner=self._owner)
            if isinstance(store, Multipart):
                store.abort(Upload(path=name, token=token, attributes=Attributes(mtime_ns=0)))

    def _succeed(self, plan: Plan, *, skipped: int, seconds: float) -> Outcome:
        self._tell_left_out()
        files, size = len(plan), plan.total_bytes
        values = {"files": files, "bytes": size, "seconds": seconds}
        if skipped:
            values["skipped"] = skipped
        if self.report.renewals:
            values["renewals"] = self.report.renewals
        self._claimed.claim.require_held()
        self._journal.remove()  # the table has its receipts; nobody would look after it later
        if self._blocks.exist:
            self._blocks.remove()
        self._claimed.change(JobStatus.SUCCESS, "success", **values)
        self._emit(JobSucceeded(job=self._name, files=files, bytes=size, seconds=seconds))
        return Outcome.SUCCESS

    def _fail(self, failures: Sequence[Failure]) -> Outcome:
        self._tell_left_out()
        for failure in failures[:LOGGED_FILES]:
            if failure.path:
                self._claimed.log("failed", path=failure.path, reason=str(failure.error))
        reason = str(failures[0].error)
        count = sum(bool(failure.path) for failure in failures)
        may_pass = all(failure.error.retryable for failure in failures)
        status = self._claimed.fail(
            {**self.report.counts, "failed_files": count, "reason": reason},
            may_pass=may_pass,
            max_attempts=self._options.max_attempts,
        )
        self._emit(
            JobFailed(
                job=self._name,
                reason=reason,
                failed_files=count,
                will_be_tried_again=status is JobStatus.TODO,
            )
        )
        return Outcome.ERROR if status is JobStatus.ERROR else Outcome.HANDED_BACK

    def _end_in_failure(self, failures: Sequence[Failure], *, is_doubtful: bool) -> Outcome:
        """Fail the job; or hand it back if what was refused may be refused to all jobs."""
        if not is_doubtful:
            return self._fail(failures)
        try:
            is_its_own = self._doubts.is_of_the_job(self._claimed.job_id, self._proven_earlier)
        except WorldError as error:
            self._set_back(str(error))
            raise
        if is_its_own:
            return self._fail(failures)
        self.doubt = next(
            failure.error for failure in failures if failure.error.scope is Scope.UNCERTAIN
        )
        is_new = not self._doubts.is_met_again(self._claimed.job_id)
        self._set_back(str(self.doubt), is_counted=is_new)
        return Outcome.DOUBTFUL

    def _set_back(self, reason: str, *, is_counted: bool = True) -> None:
        """Hand the job back for a reason that isn't its own, unless that was so too often.

        What ``is_counted`` as a hand-back may be about this job alone after all.
        """
        self._tell_left_out()
        counts = self._kept_counts()
        status = self._claimed.set_back(
            {**self.report.counts, **counts, "reason": reason},
            has_progressed=self._has_progressed,
            is_counted=is_counted,
        )
        if status is JobStatus.ERROR:
            self._emit(
                JobFailed(
                    job=self._name,
                    reason=too_often(reason),
                    failed_files=0,
                    will_be_tried_again=False,
                )
            )
        else:
            self._emit(JobHandedBack(job=self._name, reason=reason, **self.report.totals, **counts))

    def _hand_back(self, reason: str | None) -> Outcome:
        """Hand the job back because the work was asked to stop."""
        self._tell_left_out()
        reason = reason or ASKED
        kept = self._kept_counts()
        if self._has_progressed:
            self._claimed.note_progress()
        self._claimed.change(
            JobStatus.TODO, "handed-back", **self.report.counts, **kept, reason=reason
        )
        self._emit(JobHandedBack(job=self._name, reason=reason, **self.report.totals, **kept))
        return Outcome.HANDED_BACK

    def _kept_counts(self) -> dict[str, int]:
        """Return what is kept of files that aren't done; nothing where nothing was begun."""
        if self._transferring is None or not self.report.counts:
            return {}
        return {"parts_bytes": self._transferring.parts_bytes}

    def _tell_file(self, item: Item, copied: Copied) -> None:
        self._doubts.note_arrival(item)
        self.report.file(item, copied)
