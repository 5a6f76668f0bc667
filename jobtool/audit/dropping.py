"""Dropping receipts: of files that are to be sent again, or that were removed on purpose."""

from __future__ import annotations

import os
import time
from collections.abc import Container
from functools import partial

from jobtool.errors import JoblistUnavailableError, reason_of
from jobtool.jobs.claim import Claims
from jobtool.jobs.claimedjob import ClaimedJob
from jobtool.jobs.joblist import JobList
from jobtool.jobs.records import IntentRecord, Receipt
from jobtool.jobs.table import write_table
from jobtool.names import quote
from jobtool.sharing.batches import Batches


def drop_receipts(
    joblist: JobList,
    claims: Claims,
    claimed: ClaimedJob,
    off: Container[str],
    *,
    are_sent_again: bool,
) -> None:
    """Rewrite the table of a claimed job without the receipts of the files at the URLs ``off``.

    If they ``are_sent_again``, the journal first gets a line for each of them, which says that it
    will be written. By that line the next audit notices a kill, and the next worker may replace the
    file. Raises ``JoblistUnavailableError`` and ``ClaimLostError``.
    """
    try:
        _drop(joblist, claims, claimed, off, are_sent_again=are_sent_again)
    except OSError as error:
        path = quote(joblist.table_path_of(claimed.job_id))
        raise JoblistUnavailableError(f"can't write {path}: {reason_of(error)}") from None


def _drop(
    joblist: JobList,
    claims: Claims,
    claimed: ClaimedJob,
    off: Container[str],
    *,
    are_sent_again: bool,
) -> None:
    job_id, require_held = claimed.job_id, claimed.claim.require_held
    receipts = partial(joblist.receipts_of, job_id)
    journal = joblist.journal_of(job_id, require_held)
    at_ns = time.time_ns()
    dropped = False
    for receipt in receipts():
        if receipt.dst_path in off:
            dropped = True
            if are_sent_again:
                journal.append(
                    IntentRecord(
                        src_path=receipt.src_path,
                        dst_path=receipt.dst_path,
                        at_ns=at_ns,
                        has_file=True,
                        compression=receipt.compression,
                    )
                )
    journal.close()
    if not dropped:
        return
    os.makedirs(os.path.dirname(joblist.table_path_of(job_id)), exist_ok=True)
    write_table(
        joblist.table_path_of(job_id),
        (receipt for receipt in receipts() if receipt.dst_path not in off),
        attempt=claimed.job.attempts,
        require_held=require_held,
    )
    # A journal that was kept next to the table may have the same receipts.
    if are_sent_again or os.path.lexists(journal.path):
        records = joblist.records_of(job_id)
        journal.replace(record for record in records if not isinstance(record, Receipt))
    batches = joblist.blocks_path_of(job_id)
    if os.path.isdir(batches):
        Batches(batches, claims).remove()
