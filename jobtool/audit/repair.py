"""Repair: the receipts of missing or changed files are dropped before a job is put back.

After a kill in between, the job is ``success`` and lacks receipts, which the next audit finds. It
is never ``todo`` with receipts for files that are missing or changed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Container
from functools import partial

from jobtool.audit.events import LeftAlone, PutBack
from jobtool.audit.putback import put_back
from jobtool.errors import JoblistUnavailableError, reason_of
from jobtool.jobs.claim import Claims
from jobtool.jobs.claimedjob import ClaimedJob
from jobtool.jobs.job import Job
from jobtool.jobs.joblist import JobList
from jobtool.jobs.records import IntentRecord, Receipt
from jobtool.jobs.table import write_table
from jobtool.names import quote
from jobtool.sharing.batches import Batches


class Repair:
    """Puts jobs back to ``todo`` without the receipts of missing or changed files."""

    def __init__(self, joblist: JobList) -> None:
        self._joblist = joblist
        self._claims = Claims.of(joblist)

    def job(self, job_id: str, audited: Job, off: Container[str]) -> PutBack | LeftAlone:
        """Have the files at the URLs ``off`` sent again.

        ``audited`` is the job as it was when it was compared. A job that a worker holds, or has run
        since, is left alone. Raises ``JoblistUnavailableError``.
        """

        def drop(claimed: ClaimedJob) -> None:
            try:
                self._drop_receipts(claimed, off)
            except OSError as error:
                path = quote(self._joblist.table_path_of(job_id))
                raise JoblistUnavailableError(f"can't write {path}: {reason_of(error)}") from None

        return put_back(self._joblist, self._claims, job_id, audited, event="repair", before=drop)

    def _drop_receipts(self, claimed: ClaimedJob, off: Container[str]) -> None:
        """Rewrite the table without the receipts of missing or changed files.

        First the journal gets a line for each of these files, which says that it will be written.
        By that line the next audit notices a kill, and the next worker may replace the file.
        """
        joblist, job_id, require_held = self._joblist, claimed.job_id, claimed.claim.require_held
        receipts = partial(joblist.receipts_of, job_id)
        journal = joblist.journal_of(job_id, require_held)
        at_ns = time.time_ns()
        dropped = False
        for receipt in receipts():
            if receipt.dst_path in off:
                dropped = True
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
        rest = (record for record in joblist.records_of(job_id) if not isinstance(record, Receipt))
        journal.replace(rest)
        batches = joblist.blocks_path_of(job_id)
        if os.path.isdir(batches):
            Batches(batches, self._claims).remove()
