"""The step ``copy`` of a job that exports rows: its chunks are made, and each arrives."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from jobtool.errors import CredentialsError, JobFileError, RefusedError
from jobtool.export.chunk import ChunkPlan, RowsChangedError
from jobtool.export.chunklog import ChunkLog, ClearedRecord, EndRecord, RestartRecord, StaleRecord
from jobtool.export.chunknames import name_of_chunk
from jobtool.export.formats.by_name import format_of
from jobtool.export.making import ChunkMaker
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
from jobtool.queries.plugins import open_source
from jobtool.queries.url import ConnectionUrl
from jobtool.steps.step import StepContext
from jobtool.stores.location import parent_of
from jobtool.stores.store import Entry, Store, kind_of
from jobtool.transfer.ledger import Ledger
from jobtool.transfer.phases import Phase
from jobtool.transfer.plan import Plan, Route
from jobtool.transfer.retry import Successes
from jobtool.worker.chunkleftovers import remove_unfinished
from jobtool.worker.chunksending import ChunkSending
from jobtool.worker.events import RowsChanged
from jobtool.worker.filesstep import FilesStep
from jobtool.worker.manifeststep import withdraw_manifest


class _Work(msgspec.Struct, frozen=True, kw_only=True):
    """What an attempt works on."""

    claimed: ClaimedJob
    context: StepContext
    settings: ExportSettings
    share: ExportShare
    destination: Store
    log: ChunkLog


class ExportStep(FilesStep):
    """One attempt at exporting a range of rows."""

    def run(self, claimed_job: ClaimedJob, context: StepContext) -> None:
        """Make the chunks that haven't arrived, send them, write the table of receipts.

        Raises what ``_end`` does, the errors of databases, and those of the staging folder.
        """
        joblist, job = self._tools.joblist, claimed_job.job
        if joblist.settings.export is None or job.export is None or job.destination is None:
            raise JobFileError("expected a destination, and a table [export] in joblist.toml")
        work = _Work(
            claimed=claimed_job,
            context=context,
            settings=joblist.settings.export,
            share=job.export,
            destination=context.destination(job.destination),
            log=ChunkLog(
                joblist.chunks_path_of(claimed_job.job_id), claimed_job.claim.require_held
            ),
        )
        self._report.credentials(context.stores.credential_holders())
        withdraw_manifest(self._tools, context, work.destination)
        own = Successes(self._tools.options.monotonic)
        context.retry.call(lambda: self._try(work, own), own=own)

    def _try(self, work: _Work, own: Successes) -> None:
        """Export the rows; begin anew if they have changed since an earlier attempt."""
        try:
            self._export(work, own)
        except RowsChangedError as error:
            work.claimed.log("rows-changed", reason=str(error))
            self._tools.emit(RowsChanged(job=work.claimed.job.name, reason=str(error)))
            work.log.append(RestartRecord())
            reach("after the rows have changed")
            self._export(work, own)

    def _export(self, work: _Work, own: Successes) -> None:
        """Run the query, unless all chunks have arrived."""
        records = [*self._records.all()]
        unwanted = work.log.stale | _unknown(work, records)
        if unwanted:
            self._clear(work, unwanted, records)
            records = [*self._records.all()]
        self._report.phase(Phase.COMPARING)
        joblist, claimed = self._tools.joblist, work.claimed
        staging = Staging(joblist, claimed.job_id, work.settings, work.context)
        staging.prepare()
        try:
            self._remove_unfinished(work, records)
            ledger = self._taken_up(work, Route(staging.source, work.destination), records)
            transfer = self._make_transfer(claimed, work.context, ledger)
            on_tick = self._report.progress_since(transfer.progress)
            end = work.log.end
            if end is not None and end.chunks == len(ledger.plan):
                self._was_done = transfer.is_complete
                self._report.rows(end.rows, end.rows)
                transfer.run(on_tick)
            else:
                maker = self._maker(work, staging, ledger.plan)
                sending = ChunkSending(
                    maker,
                    ledger,
                    work.log,
                    staging,
                    records=records,
                    retry=work.context.retry,
                    stop=self._stop,
                    own=own,
                    tell=lambda done, total: self._report.rows(
                        done, work.share.rows if total is None else total
                    ),
                )
                self._report.phase(Phase.QUERYING)
                sending.run(transfer, on_tick)
                if maker.snapshot:
                    claimed.log("snapshot", state=maker.snapshot)
                if sending.end is not None and transfer.is_complete:
                    self._remove_surplus(work, sending.end)
                    work.log.append(sending.end)
            self._end(claimed, work.context, ledger.plan, transfer)
            if self.totals is not None and work.log.end is not None:
                self.totals = replace(self.totals, rows=work.log.end.rows)
        finally:
            self._records.journal.close()
            staging.close()

    def _remove_unfinished(self, work: _Work, records: list[Record]) -> None:
        """Remove what earlier tries, of this attempt or of one before, left half sent."""
        if work.claimed.job.attempts > 1 or records:
            removed = work.context.retry.call(lambda: remove_unfinished(work.destination, records))
            if removed:
                work.claimed.log("removed-leftovers", count=removed)

    def _taken_up(self, work: _Work, route: Route, records: list[Record]) -> Ledger:
        """Return the ledger of the chunks that have arrived and are still there."""
        receipts = {
            (receipt.dst_path, receipt.size, receipt.mtime_ns)
            for receipt in records
            if isinstance(receipt, Receipt)
        }
        wanted = [
            chunk
            for _, chunk in sorted(work.log.chunks.items())
            if (work.destination.url_of(chunk.name), chunk.size, chunk.mtime_ns) in receipts
        ]
        while True:
            plan = Plan()
            plan.start_route(route)
            for chunk in wanted:
                plan.add(Entry(chunk.name, chunk.size, chunk.mtime_ns), chunk.name)
            ledger = Ledger(plan, self._records.journal, attempt=work.claimed.job.attempts)
            ledger.fold(records)
            ledger.compare(work.context.retry)
            there = [chunk for number, chunk in enumerate(wanted) if ledger.is_proven(number)]
            if len(there) == len(wanted):
                return ledger
            wanted = there

    def _maker(self, work: _Work, staging: Staging, plan: Plan) -> ChunkMaker:
        settings, share = work.settings, work.share
        url = ConnectionUrl.parse(settings.connection)
        chunk_format = format_of(settings.output_format, compression=settings.compression)
        arrived = {plan.item(number).entry.path for number in range(len(plan))}
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
                number: chunk for number, chunk in work.log.chunks.items() if chunk.name in arrived
            },
            room=settings.staged_chunks or DEFAULT_STAGED_CHUNKS,
            stop=self._stop,
            require_held=work.context.require_held,
        )

    def _clear(self, work: _Work, names: set[str], records: list[Record]) -> None:
        """Remove the receipts of chunks that don't count any more, and then the chunks.

        A kill in between leaves a log without ``ClearedRecord``: the next attempt does this again.
        """
        urls = {work.destination.url_of(name) for name in names}
        written: list[Record] = [
            IntentRecord(src_path=record.src_path, dst_path=record.dst_path, at_ns=0, has_file=True)
            if isinstance(record, Receipt) and record.dst_path in urls
            else record
            for record in records
        ]
        if work.log.stale != names:  # for an attempt after a kill
            work.log.append(StaleRecord(names=tuple(sorted(names))))
        self._records.journal.replace(written)
        self._records.remove_table()
        for name in sorted(names):
            self._delete(work, name)
        work.destination.sync()
        work.log.append(ClearedRecord())

    def _remove_surplus(self, work: _Work, end: EndRecord) -> None:
        """Remove files that an earlier attempt sent without a receipt, and that aren't wanted."""
        for number, chunk in work.log.chunks.items():
            if number > end.chunks:
                self._delete(work, chunk.name)

    def _delete(self, work: _Work, name: str) -> None:
        """Remove a file. Without permission to, this is an error only if it is there."""
        work.context.require_held()
        try:
            work.context.retry.call(lambda: work.destination.delete(name))
        except (CredentialsError, RefusedError):
            if work.context.retry.call(lambda: kind_of(work.destination, name)) != "missing":
                raise


def _unknown(work: _Work, records: list[Record]) -> set[str]:
    """Return the names of files that have receipts and no chunk: the log of chunks was lost.

    Perhaps the query has fewer chunks now, which would then never be replaced.
    """
    known = {chunk.name for chunk in work.log.chunks.values()}
    urls = {record.dst_path for record in records if isinstance(record, Receipt)}
    names = {parent_of(url)[1] for url in urls} - known
    return {name for name in names if work.destination.url_of(name) in urls}
