"""The manifest of an export: its files in the order of the rows, with their rows and digests."""

from __future__ import annotations

from typing import Any

from jobtool import __version__
from jobtool.errors import JobFileError, JobtoolError
from jobtool.export.chunklog import ChunkLog
from jobtool.export.shares import require_whole
from jobtool.jobs.exportshare import MANIFEST_JOB, ExportShare
from jobtool.jobs.joblist import JobList
from jobtool.names import quote
from jobtool.redact import redact
from jobtool.stores.store import Store

FORMAT = 1


def manifest_of(joblist: JobList, destination: Store) -> dict[str, Any]:
    """Return the manifest of a joblist whose jobs have exported all rows.

    The extremes of a file are those of the column by which the query is split or ordered. Raises
    ``JobtoolError`` if the jobs don't cover the query's rows, each once, and if a job lacks what
    its log of chunks or its receipts must have.
    """
    settings = joblist.settings.export
    assert settings is not None, "the joblist exports rows"
    files: list[dict[str, Any]] = []
    columns: list[tuple[str, list[str]]] = []
    rows = 0
    for job_id in require_whole(_shares_of(joblist), is_split=settings.split_by is not None):
        log = ChunkLog(joblist.chunks_path_of(job_id))
        if log.end is None or sorted(log.chunks) != [*range(1, log.end.chunks + 1)]:
            raise JobtoolError(
                f"job {quote(job_id)}: expected the records of all its chunks in "
                f"{quote(log.path)}; found {len(log.chunks)}. {_advice(joblist, job_id)}"
            )
        receipts = {
            (receipt.dst_path, receipt.size, receipt.mtime_ns): receipt
            for receipt in joblist.receipts_of(job_id)
        }
        names = [name for name, _ in log.end.schema]
        if columns and names != [name for name, _ in columns]:
            raise JobtoolError(
                f"job {quote(job_id)} has other columns than the jobs before it: a table of the "
                "query has changed in between. Put all jobs back: jobtool retry."
            )
        columns = columns or [(name, []) for name in names]
        for (_, known), (_, kind) in zip(columns, log.end.schema, strict=True):
            if kind not in known:  # some drivers tell types by the values
                known.append(kind)
        for _, chunk in sorted(log.chunks.items()):
            receipt = receipts.get((destination.url_of(chunk.name), chunk.size, chunk.mtime_ns))
            if receipt is None:
                raise JobtoolError(
                    f"job {quote(job_id)}: {quote(chunk.name)} has no receipt. "
                    f"{_advice(joblist, job_id)}"
                )
            found: dict[str, Any] = {
                "file": chunk.name,
                "rows": chunk.rows,
                "size": receipt.stored_size,
                "md5": receipt.hashsum_dst,
            }
            if receipt.hashsum_dst is None:
                found["checksum"] = receipt.checksum
            if settings.split_by or settings.order_by:
                found |= {"least": chunk.least, "greatest": chunk.greatest}
            files.append(found)
            rows += chunk.rows
    return {
        "format": FORMAT,
        "jobtool": __version__,
        "connection": redact(settings.connection),
        "query": settings.query,
        "ordered_by": [*filter(None, (settings.split_by,)), *settings.order_by],
        "rows": rows,
        "columns": [{"name": name, "type": " or ".join(kinds)} for name, kinds in columns],
        "files": sorted(files, key=lambda each: str(each["file"])),
    }


def _advice(joblist: JobList, job_id: str) -> str:
    return f"Put it back: jobtool retry {quote(joblist.path)} --job {job_id} --job {MANIFEST_JOB}"


def _shares_of(joblist: JobList) -> dict[str, ExportShare | None]:
    shares = {}
    for job_id in joblist.row_job_ids():
        try:
            shares[job_id] = joblist.load(job_id)[0].export
        except JobFileError as error:
            raise JobtoolError(f"job {quote(job_id)}: {error}") from None
    return shares
