"""Compaction: a finished job's receipts move from its journal into its table."""

from __future__ import annotations

import os
from functools import partial

from jobtool.errors import StoreError
from jobtool.failpoints import reach
from jobtool.jobs.claimedjob import ClaimedJob
from jobtool.jobs.table import write_table
from jobtool.transfer.ledger.inforce import ReceiptsInForce
from jobtool.transfer.plan import Plan
from jobtool.worker.jobrecords import JobRecords


def write_receipts(records: JobRecords, plan: Plan, claimed: ClaimedJob) -> None:
    """Write the table anew from all records.

    Raises ``StoreError`` if a file of the plan has no receipt in it, and ``ClaimLostError``.
    """
    receipts = ReceiptsInForce(plan, records.receipts)
    write = partial(
        write_table,
        records.table_path,
        receipts,
        attempt=claimed.job.attempts,
        require_held=claimed.claim.require_held,
    )
    reach("before the table")
    try:
        write()
    except FileNotFoundError:  # the folder was removed
        os.makedirs(os.path.dirname(records.table_path), exist_ok=True)
        write()
    reach("after the table")
    if receipts.proven != len(plan):
        raise StoreError(
            f"{len(plan) - receipts.proven} of {len(plan)} files have no receipt; they are "
            "compared again"
        )


def remove_lines(records: JobRecords, claimed: ClaimedJob) -> None:
    """Remove the journal and the batches, whose receipts are in the table.

    Call this before the job becomes a success: no worker would remove them later. Raises
    ``ClaimLostError``.
    """
    claimed.claim.require_held()
    records.journal.remove()
    if records.batches.exist:
        records.batches.remove()
