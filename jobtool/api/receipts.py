"""The proofs of all jobs: in one table, as lines for md5sum, as a bag."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Literal

from jobtool.api.places import Place, local_path, opened, text_of
from jobtool.errors import UsageError

if TYPE_CHECKING:
    import pyarrow as pa

    from jobtool.jobs.joblist import JobList

#: What receipts can be written as.
ReceiptFormat = Literal["table", "md5sum", "sha256sum", "bagit"]

_SUM_FORMATS = ("md5sum", "sha256sum", "bagit")


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


def write_checksums(
    joblist: Place | JobList,
    output: Place,
    *,
    format: Literal["md5sum", "sha256sum", "bagit"] = "md5sum",  # noqa: A002
    jobs: Sequence[str] = (),
    relative_to: Place | None = None,
    read: bool = False,
    trust: bool = False,
) -> int:
    """Write the digests of all files that have arrived, for other programs; return their number.

    Args:
        joblist: The folder, or an open joblist.
        output: The file to write, atomically; or the folder of the bag.
        format: ``md5sum`` or ``sha256sum`` for lines that the program of that name checks;
            ``bagit`` for the tag files of a BagIt bag. A bag is complete if the files are below
            ``data`` in the folder. Otherwise its fetch.txt says where they are.
        jobs: The names of jobs; by default all.
        relative_to: The folder or URL that names are relative to; by default the joblist's
            destination, or that of the only job.
        read: Read files whose receipts lack the digest at the destination. All do for
            ``sha256sum``. Their MD5s must be those of the receipts.
        trust: Run the commands that joblist.toml names for credentials, even if others could have
            written it.

    Raises:
        UsageError: There is nothing at the path, a file isn't below the folder, the output can't be
            written, or there is no such job.
        JoblistError: The folder isn't a joblist, or its joblist.toml can't be used or trusted.
        JobtoolError: Receipts lack the digest, and files aren't to be read.
        FileError: A file isn't what its receipt says. A bag can't have the name of a file, or has
            other files than these.
        InfrastructureError: The destination or the joblist can't be read.

    Examples:
        >>> jobtool.write_checksums("joblist", "copies.md5")
        4
    """
    from jobtool.report.checksums import Sums, write_sums
    from jobtool.stores.location import Location
    from jobtool.transfer.stores_of import stores_of

    if format not in _SUM_FORMATS:
        raise UsageError(f"format: expected one of {', '.join(_SUM_FORMATS)}; found {format!r}")
    opened_list = opened(joblist, trust=trust)
    base = None if relative_to is None else Location.resolve(text_of(relative_to)).url
    open_store = None
    if read:
        open_store = partial(stores_of(opened_list).open, role="destination")
    sums = Sums(
        opened_list,
        "sha256sum" if format == "sha256sum" else "md5sum",
        names=tuple(jobs),
        base=base,
        open_store=open_store,
    )
    if format != "bagit":
        return write_sums(sums, local_path(output))
    from jobtool.report.bag import write_bag_of

    return write_bag_of(sums, local_path(output), now_ns=time.time_ns())
