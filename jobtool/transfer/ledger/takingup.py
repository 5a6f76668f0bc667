"""Taking up a job: filling its ledger from the plan, the records, the destination."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from jobtool.errors import JobtoolError
from jobtool.jobs.records import Record
from jobtool.stop import until_stopped
from jobtool.transfer.ledger.gone import Gone
from jobtool.transfer.ledger.ledger import Ledger
from jobtool.transfer.retry import Retry
from jobtool.transfer.treelisting import TreeListing


def take_up(
    ledger: Ledger,
    listing: TreeListing | None,
    records: Callable[[], Iterator[Record]],
    *,
    retry: Retry,
    accept_gone: bool,
    on_compare: Callable[[], None],
) -> None:
    """Fill an empty ledger with the state of the job.

    ``listing`` fills the plan first. ``on_compare`` is called after that. ``records`` yields the
    job's records. With ``accept_gone`` files of a tree that are gone from its source are left out.
    If a step fails, the ledger still records the names that were listed. Raises the errors of
    stores, and ``StoppedError``.
    """
    is_folded = False
    try:
        try:
            if listing is not None:
                listing.run()
        finally:
            ledger.grow()
        on_compare()
        gone = Gone(ledger)
        doing = "reading the job's records"
        ledger.fold(until_stopped(records(), retry.stop, doing), gone.note)
        is_folded = True
        gone.settle(accept_gone=accept_gone)
        ledger.compare(retry)
    except JobtoolError:
        if is_folded or ledger.attempt == 1:  # else it isn't known which names are recorded
            ledger.name_undone()
        raise
