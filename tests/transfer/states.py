"""Plans and ledgers in the state after an attempt has listed and compared everything."""

from __future__ import annotations

import os
from collections.abc import Iterable

from jobtool.jobs.job import Job
from jobtool.jobs.journal import Journal
from jobtool.jobs.records import Record
from jobtool.stores.registry import StoreRegistry
from jobtool.transfer.ledger import Ledger
from jobtool.transfer.plan import Plan
from jobtool.transfer.planning import open_plan
from jobtool.transfer.retry import Retry


def make_plan(job: Job, stores: StoreRegistry) -> Plan:
    """List everything that a job copies."""
    plan, listing = open_plan(job, stores)
    if listing is not None:
        listing.run()
    return plan


def make_ledger(
    plan: Plan,
    records: Iterable[Record] = (),
    *,
    journal: Journal | None = None,
    attempt: int = 1,
) -> Ledger:
    """Fold a job's records into a ledger, and compare it with the destination.

    Without a journal nothing is written.
    """
    ledger = Ledger(plan, journal or Journal(os.devnull), attempt=attempt)
    ledger.fold(records)
    ledger.compare(Retry.never())
    return ledger


def proven_of(ledger: Ledger) -> list[int]:
    """The files that are proven, as ones and zeros."""
    return [int(ledger.is_proven(number)) for number in range(len(ledger.plan))]
