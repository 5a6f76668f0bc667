"""The step ``copy``: every file of the job arrives, proven by a receipt in the table."""

from __future__ import annotations

from functools import partial

from jobtool.errors import JobtoolError
from jobtool.failpoints import reach
from jobtool.jobs.claimedjob import ClaimedJob
from jobtool.jobs.job import Job
from jobtool.sharing.holder import WorkSharing, settle
from jobtool.steps.step import StepContext
from jobtool.transfer.ledger import Ledger
from jobtool.transfer.ledger.destination import holds_nothing
from jobtool.transfer.ledger.takingup import take_up
from jobtool.transfer.methodchoice import usable
from jobtool.transfer.phases import Phase
from jobtool.transfer.plan import Plan
from jobtool.transfer.planning import open_plan
from jobtool.transfer.progress import Progress
from jobtool.transfer.retry import Retry
from jobtool.transfer.run import JobTransfer
from jobtool.transfer.selecting import selection_in
from jobtool.transfer.treelisting import TreeListing
from jobtool.worker.filesstep import FilesStep


class CopyStep(FilesStep):
    """One attempt at copying what isn't proven yet."""

    _may_share = True  # other workers can open the source by its URL

    def run(self, claimed_job: ClaimedJob, context: StepContext) -> None:
        """Copy the files, write the table of receipts, remove the journal.

        Raises what ``_end`` does, and any error that prevents listing the job.
        """
        plan, transfer = self._copy(claimed_job, context)
        self._end(claimed_job, context, plan, transfer)

    def _copy(self, claimed: ClaimedJob, context: StepContext) -> tuple[Plan, JobTransfer]:
        tools, options, job = self._tools, self._tools.options, claimed.job
        records, retry = self._records, context.retry
        self._report.phase(Phase.LISTING)
        reach("before the plan")
        plan, listing = self._open(job, context)
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
            consumer=self._sharing(ledger) if options.share and self._may_share else None,
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

    def _open(self, job: Job, context: StepContext) -> tuple[Plan, TreeListing | None]:
        return open_plan(
            job,
            context.stores,
            owner=context.owner,
            retry=context.retry,
            select=partial(selection_in, self._tools.joblist),
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
