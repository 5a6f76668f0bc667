"""What the destination of a plan holds already."""

from __future__ import annotations

from array import array
from collections.abc import Iterable

from jobtool.errors import CredentialsError, FileError, RefusedError
from jobtool.names import quote
from jobtool.stop import until_stopped
from jobtool.stores.store import Entry, Store, kind_of
from jobtool.transfer.plan import Plan
from jobtool.transfer.planning import look_at
from jobtool.transfer.retry import Retry

_MISSING = -1
_UNKNOWN = -2


class Existing:
    """The size of the file at the destination of each file of a plan, -1 for none, -2 for unknown.

    ``sizes`` are those where another worker has looked before; else the destination is listed, or
    looked at file by file where the job names its files.

    It is unknown where the credentials don't allow to look: at one file, or at all. Then nothing is
    said to exist, and nothing to be missing. Raises the errors of stores, and ``StoppedError``.
    """

    def __init__(
        self, plan: Plan, sizes: Iterable[int] | None = None, *, retry: Retry | None = None
    ) -> None:
        self._sizes = array("q", [_MISSING]) * len(plan)
        if sizes is not None:
            self._sizes = array("q", sizes)
            return
        retry = retry or Retry.never()
        try:
            if plan.is_tree:
                retry.call(lambda: self._list(plan, retry))
            else:
                self._look(plan, retry)
        except (CredentialsError, RefusedError):  # whoever may only write finds out when writing
            self._sizes = array("q", [_UNKNOWN]) * len(plan)

    @classmethod
    def nothing(cls, plan: Plan) -> Existing:
        """Return what is known of a destination that holds nothing."""
        return cls(plan, [_MISSING] * len(plan))

    def grow(self) -> None:
        """Take note of another file of the plan, which the destination doesn't hold."""
        self._sizes.append(_MISSING)

    def _look(self, plan: Plan, retry: Retry) -> None:
        for first, last, destination in plan.route_ranges():
            paths = (plan.item(number).destination_path for number in range(first, last))
            for number, found in enumerate(look_at(destination, paths, retry), start=first):
                if isinstance(found, Entry):
                    self._sizes[number] = found.size
                elif isinstance(found, RefusedError):
                    self._sizes[number] = _UNKNOWN
                elif found.retryable:
                    raise found
                # else it is missing, or a name that can't be there: writing will tell

    def _list(self, plan: Plan, retry: Retry) -> None:
        destination = plan.routes[0].destination
        if kind_of(destination, "") != "folder":
            return
        listing = f"listing {quote(destination.url)}"
        for entry in until_stopped(destination.list(), retry.stop, listing):
            if not isinstance(entry, Entry):
                continue  # without what is behind links: writing will tell
            known = plan.find_path(0, entry.path)
            if known is not None:
                self._sizes[known] = entry.size

    def size_of(self, number: int) -> int:
        """Return the size of what is in the place of a file of the plan; -1 and -2 as above."""
        return self._sizes[number]

    def has(self, number: int) -> bool:
        """Tell whether there is a file in the place of one of the plan."""
        return self._sizes[number] >= 0

    def may_be(self, number: int, size: int) -> bool:
        """Tell whether the destination may hold a file of this size; False if it surely doesn't."""
        return self._sizes[number] in (size, _UNKNOWN)


def holds_nothing(store: Store) -> bool:
    """Tell whether a destination holds no file yet; False where it can't be looked at.

    Raises retryable errors.
    """
    try:
        kind = kind_of(store, "")
        return kind == "missing" or (kind == "folder" and next(store.list(), None) is None)
    except (CredentialsError, FileError) as error:
        if error.retryable:
            raise
        return False
