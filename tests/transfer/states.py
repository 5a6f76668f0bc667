"""Plans and states as an attempt has them once all is listed and compared."""

from __future__ import annotations

from collections.abc import Iterable

from jobtool.jobs.job import Job
from jobtool.jobs.records import Record
from jobtool.stores.registry import StoreRegistry
from jobtool.transfer.existing import Existing
from jobtool.transfer.plan import Plan
from jobtool.transfer.planning import open_plan
from jobtool.transfer.resume import Resumption, fold


def make_plan(job: Job, stores: StoreRegistry) -> Plan:
    """List all that a job copies."""
    plan, listing = open_plan(job, stores)
    if listing is not None:
        listing.run()
    return plan


def resume(plan: Plan, records: Iterable[Record], existing: Existing) -> Resumption:
    """Fold a job's records into where it stands, what the destination holds included."""
    state = Resumption.fresh(len(plan))
    fold(state, plan, records)
    state.confirm(plan, existing)
    return state
