"""Taking up a job: its ledger is made of the plan, of what is recorded and of the destination."""

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
    """Bring a ledger of which nothing is known to where the job stands.

    ``listing`` fills the plan first; ``on_compare`` is called after that. ``records`` gives what is
    recorded of the job. With ``accept_gone`` files of a tree that are gone from its source are left
    out. If anything fails, the names that were listed are noted in the ledger all the same. Raises
    the errors of stores, and ``StoppedError``.
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
        doing = "reading what is recorded of the job"
        ledger.fold(until_stopped(records(), retry.stop, doing), gone.note)
        is_folded = True
        gone.settle(accept_gone=accept_gone)
        ledger.compare(retry)
    except JobtoolError:
        if is_folded or ledger.attempt == 1:  # else it isn't known what is noted already
            ledger.name_undone()
        raise
