"""Files gone from a job's source since an earlier attempt found them.

A source may be purged between two attempts. A file that was listed once, isn't proven and is gone
must not be forgotten: the job would succeed with fewer files. A file that is left out by now isn't
gone.
"""

from __future__ import annotations

from jobtool.errors import FileError, NotFoundError, SourceError
from jobtool.jobs.records import ListingRecord, Receipt, planned_dst_path
from jobtool.names import quote
from jobtool.stores.store import entry_of
from jobtool.transfer.ledger.ledger import FileRecord, Ledger
from jobtool.transfer.ledger.listings import paths_in
from jobtool.transfer.plan import Route, path_in
from jobtool.transfer.selecting import is_left_out


class Gone:
    """The files that records name and that the ledger's plan doesn't hold."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._plan = plan = ledger.plan
        self._failed = {
            (failure.path, failure.destination): failure.error for failure in plan.failures
        }
        self._proven: dict[tuple[str, str], Receipt] = {}
        self._listed: dict[tuple[str, str], None] = {}

    def note(self, record: FileRecord) -> None:
        """Add a record of a file that the plan doesn't hold, or of a listing."""
        if isinstance(record, ListingRecord):
            self._note_listing(record)
        elif self._is_of_the_job(record.src_path, planned_dst_path(record)):
            pair = (record.src_path, planned_dst_path(record))
            if isinstance(record, Receipt) and record.is_proof:
                self._proven[pair] = record  # the last counts
            self._listed[pair] = None

    def _note_listing(self, record: ListingRecord) -> None:
        route = self._plan.routes[0]
        for path in paths_in(record, self._plan):
            number = self._plan.find_path(0, path)
            if number is not None:
                self._ledger.note_named(number)
            else:
                self._listed[route.source.url_of(path), route.destination.url_of(path)] = None

    def _is_of_the_job(self, source: str, destination: str) -> bool:
        if not self._plan.is_tree:
            return (source, destination) in self._failed
        route = self._plan.routes[0]
        path = path_in(route.source, source)
        return bool(path) and path == path_in(route.destination, destination)

    def settle(self, *, accept_gone: bool) -> None:
        """Add the files that are gone to the plan.

        Proven files are done if the destination still holds them. The others are failures. With
        ``accept_gone`` the files of a tree are left out instead.
        """
        if not self._plan.is_tree:
            self._settle_named()
        elif self._listed and not accept_gone:
            self._settle_tree()

    def _settle_tree(self) -> None:
        route = self._plan.routes[0]
        # A file may still exist below a folder that can't be listed.
        is_sure = not self._plan.failures
        for pair in self._listed:
            receipt = self._proven.get(pair)
            if receipt is not None:
                self._add(route, receipt)
            elif is_sure and not self._is_left_out(route, pair[0]):
                self._plan.fail(pair[0], _gone(pair[0]))

    def _is_left_out(self, route: Route, url: str) -> bool:
        """Return True if a file is there and isn't in the plan because it is left out."""
        selection, path = self._plan.selection, path_in(route.source, url)
        if selection is None or path is None:
            return False
        if selection.excludes_path(path):
            return True
        try:
            return selection.has_bounds and is_left_out(selection, entry_of(route.source, path))
        except FileError:
            return False

    def _settle_named(self) -> None:
        """Replace the failures of missing files by their proven files."""
        arrived: set[tuple[str, str | None]] = set()
        for pair, receipt in self._proven.items():
            if not isinstance(self._failed[pair], NotFoundError):
                continue
            for route in list(self._plan.routes):
                if path_in(route.source, receipt.src_path) and path_in(route.destination, pair[1]):
                    self._plan.start_route(route)
                    self._add(route, receipt)
                    arrived.add(pair)
                    break
        self._plan.failures = [
            failure
            for failure in self._plan.failures
            if (failure.path, failure.destination) not in arrived
        ]

    def _add(self, route: Route, receipt: Receipt) -> None:
        source = path_in(route.source, receipt.src_path) or ""
        destination = path_in(route.destination, planned_dst_path(receipt)) or ""
        self._ledger.add_proven(receipt, source, destination)


def _gone(path: str) -> SourceError:
    return SourceError(
        f"{quote(path)} was there at an earlier attempt, did not arrive, and is gone. Put it back; "
        "or, if it was renamed or removed on purpose, go on without it: --if-gone ignore."
    )
