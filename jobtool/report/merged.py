"""One verification table of a whole joblist."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial

from jobtool.errors import UsageError
from jobtool.jobs.joblist import JobList
from jobtool.jobs.lastreceipts import last_of_each
from jobtool.jobs.outputfile import require_folder
from jobtool.jobs.records import Receipt
from jobtool.jobs.table import write_csv, write_table
from jobtool.names import quote


def merged_receipts(joblist: JobList) -> Iterator[Receipt]:
    """Yield the last receipt of each file of all jobs, including running ones."""
    for job_id in joblist.job_ids():
        yield from last_of_each(partial(joblist.receipts_of, job_id))


def merge_receipts(joblist: JobList, output: str) -> int:
    """Write all receipts of a joblist to a ``.parquet`` or ``.csv`` file; return how many.

    Raises ``UsageError`` for any other ending, or if the file can't be written.
    """
    writers = {".parquet": write_table, ".csv": write_csv}
    ending = os.path.splitext(output)[1]
    if ending not in writers:
        raise UsageError(f"expected an output that ends in .parquet or .csv; found {quote(output)}")
    require_folder(output)
    try:
        return writers[ending](output, merged_receipts(joblist))
    except OSError as error:
        raise UsageError(f"can't write {quote(output)}: {error.strerror}") from None
