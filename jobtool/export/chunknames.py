"""The names of chunks. Sorted by name, they are in the order of the rows."""

from __future__ import annotations

from jobtool.jobs.exportshare import ExportShare

#: The files that are written last. Readers of data sets pass over names that begin so.
MANIFEST = "_manifest.json"
SUCCESS = "_SUCCESS"


def name_of_chunk(share: ExportShare, number: int, suffix: str) -> str:
    """Return the name of a job's chunk, by its number from 1: ``part-000017.parquet``.

    With several ranges the number of the range comes first.
    """
    if share.count == 1:
        return f"part-{number:06d}{suffix}"
    width = max(4, len(str(share.count)))
    return f"part-{share.number:0{width}d}-{number:06d}{suffix}"
