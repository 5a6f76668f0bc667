"""The records of a claimed job: its table, its journal, the journals of its batches."""

from __future__ import annotations

import os
from collections.abc import Iterator

from jobtool.errors import JoblistUnavailableError, reason_of
from jobtool.failpoints import reach
from jobtool.jobs.claim import Claims
from jobtool.jobs.claimedjob import ClaimedJob
from jobtool.jobs.joblist import JobList
from jobtool.jobs.journal import read_journals
from jobtool.jobs.records import Receipt, Record
from jobtool.jobs.table import read_table
from jobtool.names import quote
from jobtool.sharing.batches import Batches


class JobRecords:
    """Reads a job's records; ``journal`` and ``batches`` are those that are written to."""

    def __init__(self, joblist: JobList, claimed: ClaimedJob, claims: Claims) -> None:
        job_id = claimed.job_id
        self.table_path = joblist.table_path_of(job_id)
        self._blocks_path = joblist.blocks_path_of(job_id)
        self.journal = joblist.journal_of(job_id, claimed.claim.require_held)
        self.batches = Batches(self._blocks_path, claims)

    @property
    def has_table(self) -> bool:
        """Whether the job has a table: all its files were transferred once."""
        return os.path.exists(self.table_path)

    @property
    def has_lines(self) -> bool:
        """Whether there are records that may not be in the table."""
        return self.journal.exists or self.batches.exist

    def remove_table(self) -> None:
        """Remove the table, whose receipts don't count any more.

        Raises ``JoblistUnavailableError``.
        """
        try:
            os.unlink(self.table_path)
        except FileNotFoundError:
            return
        except OSError as error:
            raise JoblistUnavailableError(
                f"can't remove {quote(self.table_path)}: {reason_of(error)}"
            ) from None

    def all(self, *, with_table: bool = True) -> Iterator[Record]:
        """Yield the job's records; look at batches only if there can be any."""
        if with_table:
            yield from read_table(self.table_path)
        yield from self.journal.read()
        if self.batches.exist:
            yield from read_journals(self._blocks_path)
        reach("after reading the records")

    def receipts(self) -> Iterator[Receipt]:
        """Yield the receipts, oldest first."""
        return (record for record in self.all() if isinstance(record, Receipt))
