"""The manifest of an export: its files in the order of the rows, with their rows and digests."""

from __future__ import annotations

from typing import Any

from jobtool import __version__
from jobtool.errors import JobtoolError
from jobtool.export.chunklog import ChunkLog
from jobtool.jobs.exportshare import MANIFEST_JOB
from jobtool.jobs.joblist import JobList
from jobtool.names import quote
from jobtool.redact import redact
from jobtool.stores.store import Store

FORMAT = 1


def manifest_of(joblist: JobList, destination: Store) -> dict[str, Any]:
    """Return the manifest of a joblist whose jobs have exported all rows.

    The extremes of a file are those of the column by which the query is split or ordered. Raises
    ``JobtoolError`` if a job lacks what its log of chunks or its receipts must have.
    """
    settings = joblist.settings.export
    assert settings is not None, "the joblist exports rows"
    files: list[dict[str, Any]] = []
    columns: list[dict[str, str]] = []
    rows = 0
    for job_id in joblist.job_ids():
        if job_id == MANIFEST_JOB:
            continue
        log = ChunkLog(joblist.chunks_path_of(job_id))
        if log.end is None or log.end.chunks != len(log.chunks):
            raise JobtoolError(
                f"job {quote(job_id)}: expected the records of all its chunks in "
                f"{quote(log.path)}; found {len(log.chunks)}. Put the job back: jobtool retry"
            )
        receipts = {
            (receipt.dst_path, receipt.size, receipt.mtime_ns): receipt
            for receipt in joblist.receipts_of(job_id)
        }
        columns = [{"name": name, "type": kind} for name, kind in log.end.schema]
        for _, chunk in sorted(log.chunks.items()):
            receipt = receipts.get((destination.url_of(chunk.name), chunk.size, chunk.mtime_ns))
            if receipt is None:
                raise JobtoolError(
                    f"job {quote(job_id)}: {quote(chunk.name)} has no receipt. Put the job back: "
                    "jobtool retry"
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
        "columns": columns,
        "files": sorted(files, key=lambda each: str(each["file"])),
    }
