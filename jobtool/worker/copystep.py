"""The step ``copy``: every file of the job arrives, is proven, and has its receipt in the table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jobtool.errors import JobtoolError, StoppedError
from jobtool.jobs.claimedjob import ClaimedJob
from jobtool.jobs.job import COPY
from jobtool.steps.step import StepContext
from jobtool.stop import ASKED, Stop, until_stopped
from jobtool.stores.preserve import words_for
from jobtool.stores.store import Attributes, Upload
from jobtool.stores.urls import parent_of
from jobtool.transfer.copy import Copied
from jobtool.transfer.earlier import Earlier, ListingLog
from jobtool.transfer.existing import Existing, holds_nothing
from jobtool.transfer.lending import Lending, settle
from jobtool.transfer.phases import Phase
from jobtool.transfer.plan import Failure, Item, Plan
from jobtool.transfer.planning import TreeListing, open_plan
from jobtool.transfer.resume import Resumption, fold, open_uploads, remove_leftovers
from jobtool.transfer.retry import Retry
from jobtool.transfer.run import JobTransfer, Progress
from jobtool.worker.compaction import remove_lines, write_receipts
from jobtool.worker.jobrecords import JobRecords
from jobtool.worker.jobreport import JobReport
from jobtool.worker.tools import AttemptTools


class FilesFailedError(JobtoolError):
    """Files of the job failed; with ``is_doubtful`` perhaps for what is wrong with their store."""

    def __init__(self, failures: Sequence[Failure], *, is_doubtful: bool) -> None:
        super().__init__(str(failures[0].error))
        self.failures = failures
        self.is_doubtful = is_doubtful


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """What a job's files come to; ``skipped`` were left out, and aren't among ``files``."""

    files: int
    bytes: int
    skipped: int = 0


class CopyStep:
    """Copies what isn't proven yet. One attempt at it.

    ``totals`` are known once it is done. ``is_too_long`` says that it was stopped for want of time.
    """

    name = COPY

    def __init__(
        self, tools: AttemptTools, records: JobRecords, report: JobReport, stop: Stop
    ) -> None:
        self.totals: Totals | None = None
        self.is_too_long = False
        self._tools = tools
        self._records = records
        self._report = report
        self._stop = stop
        self._transfer: JobTransfer | None = None
        self._was_done = self._has_told_left_out = False

    @property
    def has_succeeded(self) -> bool:
        """Whether a file has arrived."""
        return self._transfer is not None and self._transfer.has_succeeded

    @property
    def has_progressed(self) -> bool:
        """Whether a file or a part has arrived."""
        transfer = self._transfer
        return transfer is not None and (transfer.has_succeeded or transfer.progress.bytes_sent > 0)

    @property
    def any_proven(self) -> Item | None:
        """A file that has arrived, now or at an earlier attempt."""
        return None if self._transfer is None else self._transfer.any_proven

    @property
    def parts_bytes(self) -> int | None:
        """How much is kept of files that aren't done; None where nothing was begun."""
        return None if self._transfer is None else self._transfer.parts_bytes

    def run(self, claimed_job: ClaimedJob, context: StepContext) -> None:
        """Copy, write the table, remove the lines.

        Raises ``FilesFailedError``; ``StoppedError`` if not all is done when it has to stop; and
        whatever keeps the job from being listed or the table from being written.
        """
        plan, transfer = self._copy(claimed_job, context)
        if transfer.is_complete and transfer.returned:  # by helpers that were killed, perhaps
            self._remove_leftovers(claimed_job, plan, transfer.resumption, transfer.returned)
        is_recorded = self._was_done and not self._records.has_lines
        if transfer.is_complete and not is_recorded:
            self._report.phase(Phase.RECORDING)
            write_receipts(self._records, plan, claimed_job)
            if (
                claimed_job.job.attempts > 1
                or transfer.has_begun_uploads
                or self._records.blocks.exist
            ):
                self._abort_unfinished(context)
        if transfer.failures:
            raise FilesFailedError(transfer.failures, is_doubtful=transfer.is_doubtful)
        if not transfer.is_complete:
            raise StoppedError(self._stop.reason or ASKED)
        self.tell_left_out()
        remove_lines(self._records, claimed_job)
        self.totals = Totals(
            files=len(plan), bytes=plan.total_bytes, skipped=transfer.skipped.count
        )

    def tell_left_out(self) -> None:
        """Tell what was left out and what files lack; once, before the attempt's end is written."""
        if self._transfer is not None and not self._has_told_left_out:
            self._has_told_left_out = True
            self._report.left_out(self._transfer)

    def _copy(self, claimed: ClaimedJob, context: StepContext) -> tuple[Plan, JobTransfer]:
        tools, options, job = self._tools, self._tools.options, claimed.job
        records, retry = self._records, context.retry
        self._report.phase(Phase.LISTING)
        plan, listing = open_plan(job, context.stores, owner=context.owner, retry=retry)
        self._report.credentials(context.stores.credential_holders())
        is_first = job.attempts == 1
        if not is_first:
            settle(records.blocks, self._stop)
        if listing is not None and is_first and self._holds_nothing(listing, retry):
            existing, resumption = Existing.nothing(plan), Resumption.fresh(len(plan))
            listing_log = ListingLog(plan, records.journal)
        else:
            existing, resumption, listing_log = self._compare(plan, listing, retry, is_first)
            listing = None
        if not is_first:
            retry.call(lambda: self._remove_leftovers(claimed, plan, resumption))

        def tell_listed() -> None:
            self._tell_listed(transfer.progress)

        transfer = self._transfer = JobTransfer(
            plan,
            records.journal,
            tools.copier,
            existing=existing,
            resumption=resumption,
            policies=options.policies,
            lending=self._lending(job.attempts) if options.share else None,
            threads=options.threads,
            worker=tools.worker,
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
            transfer.run(self._report.progress_since(transfer.progress))
        finally:
            records.journal.close()
        return plan, transfer

    def _compare(
        self, plan: Plan, listing: TreeListing | None, retry: Retry, is_first: bool
    ) -> tuple[Existing, Resumption, ListingLog]:
        """List the plan, and hold it against what is recorded and what the destination holds.

        If that fails, what was listed is recorded all the same.
        """
        journal = self._records.journal
        log = ListingLog(plan, journal)
        resumption = None
        try:
            if listing is not None:
                listing.run()
            self._report.phase(Phase.COMPARING)
            earlier = Earlier(plan)
            found = Resumption.fresh(len(plan))
            records = until_stopped(
                self._records.all(), self._stop, "reading what is recorded of the job"
            )
            fold(found, plan, records, earlier.note)
            log = ListingLog(plan, journal, earlier.recorded)
            resumption = found
            accept_gone = self._tools.options.policies.if_gone == "ignore"
            earlier.settle(resumption, accept_gone=accept_gone)
            existing = Existing(plan, retry=retry)
        except JobtoolError:
            if resumption is not None:
                log.write(resumption.done)
            elif is_first:  # else it isn't known what is recorded already
                log.write(bytearray(len(plan)))
            journal.close()
            raise
        resumption.confirm(plan, existing)
        return existing, resumption, log

    def _holds_nothing(self, listing: TreeListing, retry: Retry) -> bool:
        """Return True if nothing is there that files could meet that go while all is listed."""
        is_empty = retry.call(lambda: holds_nothing(listing.route.destination))
        return is_empty and next(self._records.all(), None) is None

    def _tell_listed(self, listed: Progress) -> None:
        self._report.listed(listed)
        self._stop_if_too_long(listed)
        self._report.phase(Phase.COPYING)

    def _stop_if_too_long(self, listed: Progress) -> None:
        """Begin nothing that can't be finished in time at the rate so far."""
        pace = self._tools.pace
        seconds = pace.seconds_for(
            files=listed.files_total - listed.files_done,
            size_bytes=listed.bytes_total - listed.bytes_done,
        )
        left = pace.seconds_left
        if seconds > left:
            self.is_too_long = True
            self._stop.set(
                f"it would take {seconds:.0f} s at the rate so far, and {left:.0f} are left"
            )

    def _lending(self, attempt: int) -> Lending:
        options = self._tools.options
        return Lending(
            self._records.blocks,
            attempt=attempt,
            if_exists=options.policies.if_exists,
            verify=options.policies.verify,
            preserve=words_for(options.policies.preserve),
            threads=options.threads,
            on_return=self._report.helper,
        )

    def _remove_leftovers(
        self,
        claimed: ClaimedJob,
        plan: Plan,
        resumption: Resumption,
        numbers: list[int] | None = None,
    ) -> None:
        removed = remove_leftovers(plan, resumption, is_stopping=self._stop.is_set, numbers=numbers)
        if removed:
            claimed.log("removed-leftovers", count=removed)

    def _abort_unfinished(self, context: StepContext) -> None:
        """Drop uploads of files that went another way since, or are no longer in the source."""
        for token, url in open_uploads(self._records.all(with_table=False)).items():
            folder, name = parent_of(url)
            upload = Upload(path=name, token=token, attributes=Attributes(mtime_ns=0))
            context.destination(folder).abort(upload)

    def _tell_file(self, item: Item, copied: Copied) -> None:
        self._tools.doubts.note_arrival(item)
        self._report.file(item, copied)
