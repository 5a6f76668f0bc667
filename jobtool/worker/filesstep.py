"""What the steps have in common that bring files to a destination, each with a receipt."""

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
from jobtool.steps.step import StepContext
from jobtool.stop import ASKED, Stop
from jobtool.stores.location import parent_of
from jobtool.stores.optional import Multipart, supports
from jobtool.stores.store import Attributes, Upload
from jobtool.transfer.copy import Copied
from jobtool.transfer.ledger import Ledger
from jobtool.transfer.leftovers import open_uploads, remove_incoming, remove_leftovers
from jobtool.transfer.methodruns import MethodOrder
from jobtool.transfer.phases import Phase
from jobtool.transfer.plan import Failure, Item, Plan
from jobtool.transfer.run import JobTransfer
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


class PrematureError(JobtoolError):
    """The job can't be done before others are. It is handed back, which isn't counted."""


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """The totals of a job's files. ``skipped`` files were left out and aren't among ``files``.

    Neither are ``excluded`` ones, which the joblist's filters leave out.

    ``rows`` are those of an export; None for a job that copies files.
    """

    files: int
    bytes: int
    skipped: int = 0
    excluded: int = 0
    rows: int | None = None


class FilesStep:
    """One attempt at bringing files that aren't proven yet, under the name of the step ``copy``.

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

    def use(self, tools: AttemptTools) -> None:
        """Use other tools than the worker's, such as the methods that a route asks for."""
        self._tools = tools

    def run(self, claimed_job: ClaimedJob, context: StepContext) -> None:
        """Bring the files. Raises what ``_end`` does, and what prevents the step."""
        raise NotImplementedError

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

    def tell_left_out(self) -> None:
        """Report files left out and attributes lost; once, before the attempt's end is written."""
        if self._transfer is not None and not self._has_told_left_out:
            self._has_told_left_out = True
            self._report.left_out(self._transfer)

    def _end(
        self, claimed_job: ClaimedJob, context: StepContext, plan: Plan, transfer: JobTransfer
    ) -> None:
        """Write the table of receipts and remove the journal, once all files are proven.

        Raises ``FilesFailedError``; ``StoppedError`` if not all is done; ``NotYetError`` if all is
        done but files that can't be read yet; and any error that prevents writing the table.
        """
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
            files=len(plan),
            bytes=plan.total_bytes,
            skipped=transfer.skipped.count,
            excluded=plan.excluded,
        )

    def _make_transfer(
        self, claimed: ClaimedJob, context: StepContext, ledger: Ledger
    ) -> JobTransfer:
        """Return the transfer of a ledger whose files no other worker is given."""
        tools = self._tools
        self._transfer = JobTransfer(
            ledger,
            tools.copier,
            policies=tools.options.policies,
            threads=tools.options.threads,
            worker=tools.worker,
            stop=self._stop,
            retry=context.retry,
            on_file=self._tell_file,
            methods=self._order(claimed, context, tools.methods) if tools.methods else None,
        )
        return self._transfer

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
