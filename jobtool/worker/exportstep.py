"""The step ``copy`` of a job that exports rows: its chunks are made, and each arrives."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator

from jobtool.errors import JobFileError, StoppedError
from jobtool.export.chunklog import (
    ChunkLog,
    ChunkRecord,
    ClearedRecord,
    EndRecord,
    RestartRecord,
)
from jobtool.export.chunknames import name_of_chunk
from jobtool.export.formats import format_of
from jobtool.export.making import ChunkMaker, ChunkPlan, RowsChangedError
from jobtool.export.queryof import query_of_share
from jobtool.export.staging import Staging
from jobtool.failpoints import reach
from jobtool.jobs.claimedjob import ClaimedJob
from jobtool.jobs.exportsettings import (
    DEFAULT_CHUNK_ROWS,
    DEFAULT_FETCH_ROWS,
    DEFAULT_STAGED_CHUNKS,
    ExportSettings,
)
from jobtool.jobs.exportshare import ExportShare
from jobtool.jobs.records import IntentRecord, Receipt, Record
from jobtool.names import quote
from jobtool.queries.plugins import open_source
from jobtool.queries.url import ConnectionUrl
from jobtool.steps.step import StepContext
from jobtool.stop import ASKED
from jobtool.stores.store import Entry, Store
from jobtool.transfer.ledger import Ledger
from jobtool.transfer.phases import Phase
from jobtool.transfer.plan import Plan, Route
from jobtool.transfer.progress import Progress
from jobtool.transfer.retry import Successes
from jobtool.transfer.run import JobTransfer
from jobtool.worker.events import RowsChanged
from jobtool.worker.filesstep import FilesStep
from jobtool.worker.manifeststep import withdraw_manifest

_LOOK_SECONDS = 0.1


class ExportStep(FilesStep):
    """One attempt at exporting a range of rows."""

    def run(self, claimed_job: ClaimedJob, context: StepContext) -> None:
        """Make the chunks that haven't arrived, send them, write the table of receipts.

        Raises what ``_end`` does, and the errors of databases.
        """
        joblist = self._tools.joblist
        log = ChunkLog(
            joblist.chunks_path_of(claimed_job.job_id), claimed_job.claim.require_held
        )
        withdraw_manifest(self._tools, context)
        own = Successes(self._tools.options.monotonic)
        for is_last in (False, True):
            if log.stale:
                self._clear(claimed_job, context, log)
            try:
                context.retry.call(lambda: self._try(claimed_job, context, log, own), own=own)
            except RowsChangedError as error:
                if is_last:
                    raise
                claimed_job.log("rows-changed", reason=str(error))
                self._tools.emit(RowsChanged(job=claimed_job.job.name, reason=str(error)))
                log.append(RestartRecord())
                reach("after the rows have changed")
            else:
                return

    def _try(
        self, claimed: ClaimedJob, context: StepContext, log: ChunkLog, own: Successes
    ) -> None:
        """Run the query, unless all chunks have arrived."""
        settings, share = self._settings, claimed.job.export
        destination_url = claimed.job.destination
        if share is None or destination_url is None:
            raise JobFileError("expected a job with a destination, that exports rows")
        staging = Staging(self._tools.joblist, claimed.job_id, settings, context)
        staging.prepare()
        self._report.phase(Phase.COMPARING)
        self._report.credentials(context.stores.credential_holders())
        route = Route(staging.source, context.destination(destination_url))
        records = [*self._records.all()]
        plan, ledger = self._taken_up(route, log, records, context, claimed.job.attempts)
        transfer = self._transfer = JobTransfer(
            ledger,
            self._tools.copier,
            policies=self._tools.options.policies,
            threads=self._tools.options.threads,
            worker=self._tools.worker,
            stop=self._stop,
            retry=context.retry,
            on_file=self._tell_file,
            methods=self._order(claimed, context, self._tools.methods)
            if self._tools.methods
            else None,
        )
        if log.end is not None and log.end.chunks == len(plan):
            self._was_done = transfer.is_complete
            transfer.run(self._report.progress_since(transfer.progress))
        else:
            sending = _Sending(
                self._maker(claimed, share, staging, log, plan),
                plan,
                ledger,
                log,
                staging,
                records,
                tell=self._report.rows,
                retry_look=lambda numbers: ledger.look(numbers, context.retry),
                stop=self._stop,
                own=own,
                rows_total=share.rows,
            )
            self._report.phase(Phase.QUERYING)
            sending.run(transfer, self._report.progress_since(transfer.progress))
            if sending.end is not None and transfer.is_complete:
                self._remove_surplus(route.destination, log, sending.end, context)
                log.append(sending.end)
            if sending.snapshot:
                claimed.log("snapshot", state=sending.snapshot)
        self._records.journal.close()
        self._end(claimed, context, plan, transfer)
        staging.close()

    @property
    def _settings(self) -> ExportSettings:
        settings = self._tools.joblist.settings.export
        if settings is None:
            raise JobFileError("the job exports rows, and joblist.toml has no table [export]")
        return settings

    def _taken_up(
        self,
        route: Route,
        log: ChunkLog,
        records: list[Record],
        context: StepContext,
        attempt: int,
    ) -> tuple[Plan, Ledger]:
        """Return the plan and ledger of the chunks that have arrived and are still there."""
        receipts = {
            (receipt.dst_path, receipt.size, receipt.mtime_ns)
            for receipt in records
            if isinstance(receipt, Receipt)
        }
        wanted = [
            chunk
            for _, chunk in sorted(log.chunks.items())
            if (route.destination.url_of(chunk.name), chunk.size, chunk.mtime_ns) in receipts
        ]
        while True:
            plan = Plan()
            plan.start_route(route)
            for chunk in wanted:
                plan.add(Entry(chunk.name, chunk.size, chunk.mtime_ns), chunk.name)
            ledger = Ledger(plan, self._records.journal, attempt=attempt)
            ledger.fold(records)
            ledger.compare(context.retry)
            there = [chunk for number, chunk in enumerate(wanted) if ledger.is_proven(number)]
            if len(there) == len(wanted):
                return plan, ledger
            wanted = there

    def _maker(
        self, claimed: ClaimedJob, share: ExportShare, staging: Staging, log: ChunkLog, plan: Plan
    ) -> ChunkMaker:
        settings = self._settings
        chunk_format = format_of(settings.output_format, compression=settings.compression)
        arrived_names = {plan.item(number).destination_path for number in range(len(plan))}
        url = ConnectionUrl.parse(settings.connection)
        rows = settings.chunk_rows
        if rows is None and settings.chunk_bytes is None:
            rows = DEFAULT_CHUNK_ROWS
        return ChunkMaker(
            lambda: open_source(url),
            lambda source: query_of_share(share, settings, source.dialect),
            ChunkPlan(
                rows=rows,
                size_bytes=settings.chunk_bytes,
                fetch_rows=settings.fetch_rows or DEFAULT_FETCH_ROWS,
                name=lambda number: name_of_chunk(share, number, chunk_format.suffix),
                has_file_without_rows=share.number == 1,
                extremes_of=settings.split_by or next(iter(settings.order_by), None),
            ),
            chunk_format,
            folder=staging.folder,
            arrived={
                number: chunk for number, chunk in log.chunks.items() if chunk.name in arrived_names
            },
            room=settings.staged_chunks or DEFAULT_STAGED_CHUNKS,
            stop=self._stop,
        )

    def _clear(self, claimed: ClaimedJob, context: StepContext, log: ChunkLog) -> None:
        """Remove the chunks of rows that have changed, and their receipts.

        First each gets a line in the journal that says the file is the job's. A kill in between
        leaves a log without ``ClearedRecord``, so that the next attempt does this again.
        """
        assert claimed.job.destination is not None
        destination = context.destination(claimed.job.destination)
        kept: list[Record] = [
            IntentRecord(
                src_path=record.src_path, dst_path=record.dst_path, at_ns=0, has_file=True
            )
            if isinstance(record, Receipt)
            else record
            for record in self._records.all()
        ]
        for name in sorted(log.stale):
            context.require_held()
            context.retry.call(lambda name=name: destination.delete(name))  # type: ignore[misc]
        destination.sync()
        self._records.journal.replace(kept)
        self._records.remove_table()
        log.append(ClearedRecord())

    def _remove_surplus(
        self, destination: Store, log: ChunkLog, end: EndRecord, context: StepContext
    ) -> None:
        """Remove files of an earlier attempt that made more chunks, and sent them half proven."""
        for number, chunk in log.chunks.items():
            if number > end.chunks:
                context.require_held()
                destination.delete(chunk.name)


class _Sending:
    """Sends the chunks of a job while they are made."""

    def __init__(
        self,
        maker: ChunkMaker,
        plan: Plan,
        ledger: Ledger,
        log: ChunkLog,
        staging: Staging,
        records: list[Record],
        *,
        tell: Callable[[int, int | None], None],
        retry_look: Callable[[array[int]], None],
        stop: object,
        own: Successes,
        rows_total: int | None,
    ) -> None:
        self.end: EndRecord | None = None
        self.snapshot: str | None = None
        self._maker = maker
        self._plan = plan
        self._ledger = ledger
        self._log = log
        self._staging = staging
        self._records: dict[str, list[Record]] = {}
        for record in records:
            path = getattr(record, "dst_path", None)
            if path is not None and not isinstance(record, Receipt):
                self._records.setdefault(path, []).append(record)
        self._tell = tell
        self._look = retry_look
        self._own = own
        self._rows_total = rows_total
        self._arrived = {plan.item(number).destination_path for number in range(len(plan))}
        self._on_tick: Callable[[], None] = lambda: None

    def run(self, transfer: JobTransfer, on_tick: Callable[[Progress], None]) -> None:
        """Make and send all chunks. Raises what making and sending raise."""

        def tick(progress: Progress) -> None:
            self._tell(self._maker.rows, self._rows_total)
            on_tick(progress)

        self._on_tick = lambda: tick(transfer.progress)
        self._maker.start()
        try:
            transfer.run_batches(self._batches(), tick)
        finally:
            self._maker.end()
            self.snapshot = self._maker.snapshot

    def _batches(self) -> Iterator[array[int]]:
        while self.end is None:
            made = self._maker.next(_LOOK_SECONDS)
            self._on_tick()
            if made is None:
                continue
            numbers: array[int] = array("Q")
            names = []
            while made is not None:  # all that are ready
                if isinstance(made, EndRecord):
                    self.end = made
                    break
                if made.name not in self._arrived:
                    numbers.append(self._add(made))
                    names.append(made.name)
                made = self._next_ready()
            self._own.note()
            if numbers:
                self._look(numbers)
                yield numbers
            for name in names:
                self._staging.remove(name)
                self._maker.free()

    def _next_ready(self) -> ChunkRecord | EndRecord | None:
        try:
            return self._maker.next(0)
        except Exception:  # it is raised again at the next call, after these chunks are sent
            return None

    def _add(self, made: ChunkRecord) -> int:
        """Add a chunk to the plan. From then on its record counts."""
        record = self._staging.stage(made)
        self._log.append(record)
        reach("after a chunk's record")
        self._plan.add(Entry(record.name, record.size, record.mtime_ns), record.name)
        self._ledger.grow()
        number = len(self._plan) - 1
        self._ledger.fold(self._records.get(self._plan.item(number).destination_url, ()))
        return number
