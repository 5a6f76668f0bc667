"""The step ``copy``: every file of the job arrives, proven by a receipt in the table."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import msgspec

from jobtool.errors import JobtoolError, StoppedError
from jobtool.failpoints import reach
from jobtool.jobs.claimedjob import ClaimedJob
from jobtool.jobs.claimpolicy import stall_seconds_of
from jobtool.jobs.job import COPY
from jobtool.methods.method import OWN_METHODS, Method
from jobtool.sharing.holder import WorkSharing, settle
from jobtool.steps.step import StepContext
from jobtool.stop import ASKED, Stop
from jobtool.stores.location import parent_of
from jobtool.stores.optional import Multipart, supports
from jobtool.stores.store import Attributes, Upload
from jobtool.transfer.copy import Copied
from jobtool.transfer.ledger import Ledger
from jobtool.transfer.ledger.destination import holds_nothing
from jobtool.transfer.ledger.takingup import take_up
from jobtool.transfer.leftovers import open_uploads, remove_incoming, remove_leftovers
from jobtool.transfer.methodchoice import usable
from jobtool.transfer.methodruns import MethodOrder
from jobtool.transfer.phases import Phase
from jobtool.transfer.plan import Failure, Item, Plan
from jobtool.transfer.planning import open_plan
from jobtool.transfer.progress import Progress
from jobtool.transfer.retry import Retry
from jobtool.transfer.run import JobTransfer
from jobtool.transfer.treelisting import TreeListing
from jobtool.worker.compaction import remove_lines, write_receipts
from jobtool.worker.jobrecords import JobRecords
from jobtool.worker.jobreport import JobReport
from jobtool.worker.tools import AttemptTools


class FilesFailedError(JobtoolError):
    """Files of the job failed; with ``is_doubtful`` perhaps because of an error of their store."""

    def __init__(self, failures: Sequence[Failure], *, is_doubtful: bool) -> None:
        super().__init__(str(failures[0].error))
        self.failures = failures
        self.is_doubtful = is_doubtful


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """The totals of a job's files. ``skipped`` files were left out and aren't among ``files``."""

    files: int
    bytes: int
    skipped: int = 0


class CopyStep:
    """One attempt at copying what isn't proven yet.

    ``totals`` are known once it is done. ``is_too_long`` is True if it stopped for lack of time.
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
        """A file that has arrived, now or in an earlier attempt."""
        return None if self._transfer is None else self._transfer.ledger.any_proven

    @property
    def parts_bytes(self) -> int | None:
        """The bytes kept of files that aren't done; None if nothing was begun."""
        return None if self._transfer is None else self._transfer.ledger.parts_bytes

    def run(self, claimed_job: ClaimedJob, context: StepContext) -> None:
        """Copy the files, write the table of receipts, remove the journal.

        Raises ``FilesFailedError``; ``StoppedError`` if it has to stop before all is done;
        ``NotYetError`` if all is done but files that can't be read yet; and any error that prevents
        listing the job or writing the table.
        """
        plan, transfer = self._copy(claimed_job, context)
        if transfer.is_complete and transfer.returned:  # by helpers that were killed, perhaps
            self._remove_leftovers(claimed_job, transfer.ledger, transfer.returned)
        if transfer.is_complete and (claimed_job.job.attempts > 1 or self._tools.methods):
            remove_incoming(plan)
        is_recorded = self._was_done and not self._records.has_lines
        if transfer.is_complete and not is_recorded:
            self._report.phase(Phase.RECORDING)
            write_receipts(self._records, plan, claimed_job)
            if (
                claimed_job.job.attempts > 1
                or transfer.ledger.has_begun_uploads
                or self._records.batches.exist
            ):
                self._abort_unfinished(context)
        if transfer.failures:
            raise FilesFailedError(transfer.failures, is_doubtful=transfer.is_doubtful)
        if transfer.not_yet is not None and not self._stop.is_set():
            raise transfer.not_yet
        if not transfer.is_complete:
            raise StoppedError(self._stop.reason or ASKED)
        self.tell_left_out()
        remove_lines(self._records, claimed_job)
        self.totals = Totals(
            files=len(plan), bytes=plan.total_bytes, skipped=transfer.skipped.count
        )

    def tell_left_out(self) -> None:
        """Report files left out and attributes lost; once, before the attempt's end is written."""
        if self._transfer is not None and not self._has_told_left_out:
            self._has_told_left_out = True
            self._report.left_out(self._transfer)

    def _copy(self, claimed: ClaimedJob, context: StepContext) -> tuple[Plan, JobTransfer]:
        tools, options, job = self._tools, self._tools.options, claimed.job
        records, retry = self._records, context.retry
        self._report.phase(Phase.LISTING)
        reach("before the plan")
        plan, listing = open_plan(job, context.stores, owner=context.owner, retry=retry)
        if listing is not None:
            listing.throttle = tools.copier.throttle
        reach("after the plan")
        self._report.credentials(context.stores.credential_holders())
        if job.attempts > 1:
            settle(records.batches, self._stop)
        pairs = ((route.source, route.destination) for route in plan.routes)
        methods = usable(tools.methods, pairs) if tools.options.is_auto else tools.methods
        is_packing = options.compression != "none"  # which names are free must be known first
        may_hurry = job.attempts == 1 and not methods and not is_packing
        if listing is not None and may_hurry and self._holds_nothing(listing, retry):
            ledger = Ledger(plan, records.journal, attempt=job.attempts)
        else:
            ledger = self._take_up(plan, listing, retry, job.attempts)
            listing = None
        if job.attempts > 1:
            retry.call(lambda: self._remove_leftovers(claimed, ledger))

        def tell_listed() -> None:
            self._tell_listed(transfer.progress)

        transfer = self._transfer = JobTransfer(
            ledger,
            tools.copier,
            policies=options.policies,
            consumer=self._sharing(ledger) if options.share else None,
            threads=options.threads,
            worker=tools.worker,
            stop=self._stop,
            retry=retry,
            on_file=self._tell_file,
            listing=listing,
            on_listed=tell_listed,
            methods=self._order(claimed, context, methods) if methods else None,
        )
        self._was_done = transfer.is_complete
        if listing is None:
            tell_listed()
        try:
            transfer.run(self._report.progress_since(transfer.progress))
        finally:
            records.journal.close()
        return plan, transfer

    def _order(
        self, claimed: ClaimedJob, context: StepContext, methods: Sequence[Method]
    ) -> MethodOrder:
        return MethodOrder(
            claimed_job=claimed,
            methods=methods,
            leaves_rest=not set(OWN_METHODS).isdisjoint(self._tools.options.methods),
            require_held=context.require_held,
            log_path_of=partial(
                self._tools.joblist.program_log_path_of, claimed.job_id, claimed.job.attempts
            ),
            stall_seconds=stall_seconds_of(self._tools.joblist),
            throttle=self._tools.copier.throttle,
        )

    def _take_up(
        self, plan: Plan, listing: TreeListing | None, retry: Retry, attempt: int
    ) -> Ledger:
        """List the plan and compare it with the records and with what the destination holds."""
        journal = self._records.journal
        compression = self._tools.options.compression
        ledger = Ledger(plan, journal, attempt=attempt, compression=compression)
        try:
            take_up(
                ledger,
                listing,
                self._records.all,
                retry=retry,
                accept_gone=self._tools.options.policies.if_gone == "ignore",
                on_compare=partial(self._report.phase, Phase.COMPARING),
            )
        except JobtoolError:
            journal.close()
            raise
        return ledger

    def _holds_nothing(self, listing: TreeListing, retry: Retry) -> bool:
        """Return True if files may be sent before all is listed: they can't meet earlier work."""
        is_empty = retry.call(lambda: holds_nothing(listing.route.destination))
        reach("after looking at the destination")
        return is_empty and next(self._records.all(), None) is None

    def _tell_listed(self, listed: Progress) -> None:
        self._report.listed(listed)
        self._stop_if_too_long(listed)
        self._report.phase(Phase.COPYING)

    def _stop_if_too_long(self, listed: Progress) -> None:
        """Ask the attempt to stop if the rest can't be finished in time at the rate so far."""
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

    def _sharing(self, ledger: Ledger) -> WorkSharing:
        options = self._tools.options
        return WorkSharing(
            self._records.batches,
            ledger,
            policies=options.policies,
            threads=options.threads,
            on_return=self._report.helper,
        )

    def _remove_leftovers(
        self, claimed: ClaimedJob, ledger: Ledger, numbers: list[int] | None = None
    ) -> None:
        reach("before leftovers are removed")
        removed = remove_leftovers(ledger, is_stopping=self._stop.is_set, numbers=numbers)
        if removed:
            claimed.log("removed-leftovers", count=removed)

    def _abort_unfinished(self, context: StepContext) -> None:
        """Abort uploads of files that were sent another way since, or are gone from the source."""
        for token, url in open_uploads(self._records.all(with_table=False)).items():
            folder, name = parent_of(url)
            upload = Upload(path=name, token=token, attributes=Attributes(mtime_ns=0))
            store = context.destination(folder)
            if supports(store, Multipart):
                store.abort(upload)

    def _tell_file(self, item: Item, copied: Copied) -> None:
        self._tools.doubts.note_arrival(item)
        self._report.file(item, copied)
