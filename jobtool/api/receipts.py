"""``read_receipts`` and ``write_receipts``: the proofs of all jobs in one table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobtool.api.places import Place, local_path, opened

if TYPE_CHECKING:
    import pyarrow as pa

    from jobtool.jobs.joblist import JobList


def read_receipts(joblist: Place | JobList) -> pa.Table:
    """Return the receipts of all jobs, including running ones: one row for each file of a job.

    The table is held in memory, at a few hundred bytes for each file. ``write_receipts`` writes one
    of any size. The page about receipts lists the columns.

    Args:
        joblist: The folder, or an open joblist.

    Raises:
        UsageError: There is nothing at the path.
        JoblistError: The folder isn't a joblist, or its joblist.toml can't be used.
        JobtoolError: A job's table isn't a table of receipts.
        JoblistUnavailableError: The joblist can't be read any more.

    Examples:
        >>> jobtool.read_receipts("joblist").num_rows
        4
    """
    from jobtool.jobs.table import table_of
    from jobtool.report.merged import merged_receipts

    return table_of(merged_receipts(opened(joblist)))


def write_receipts(joblist: Place | JobList, output: Place) -> int:
    """Write the table of ``read_receipts`` to a file, atomically; return how many rows it has.

    ``verify_jobs`` can check the destination against a ``.parquet`` file years later.

    Args:
        joblist: The folder, or an open joblist.
        output: The file; its name ends in ``.parquet`` or ``.csv``.

    Raises:
        UsageError: The output has another ending or can't be written, or there is no joblist.
        JoblistError: The folder isn't a joblist, or its joblist.toml can't be used.
        JobtoolError: A job's table isn't one.
        JoblistUnavailableError: The joblist can't be read any more.

    Examples:
        >>> jobtool.write_receipts("joblist", "joblist.parquet")
        4
    """
    from jobtool.report.merged import merge_receipts

    return merge_receipts(opened(joblist), local_path(output))
