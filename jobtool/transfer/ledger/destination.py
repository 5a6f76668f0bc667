"""The sizes of files that the destination of a plan holds already."""

from __future__ import annotations

from array import array

from jobtool.errors import CredentialsError, FileError, RefusedError
from jobtool.jobs.forms import stored_path
from jobtool.names import quote
from jobtool.stop import until_stopped
from jobtool.stores.store import Entry, Store, kind_of
from jobtool.transfer.ledger.forms import OtherForms
from jobtool.transfer.look import look_at
from jobtool.transfer.plan import Item, Plan
from jobtool.transfer.retry import Retry

#: In the place of a size in bytes: no file is there, or the credentials don't allow a look.
MISSING = -1
UNKNOWN = -2


def sizes_at_destination(plan: Plan, retry: Retry, forms: OtherForms) -> array[int]:
    """Return the size of each file of a plan at its destination, or ``MISSING`` or ``UNKNOWN``.

    What is there in other forms is added to ``forms``. The destination of a tree is listed. Named
    files are looked at one by one. Raises the errors of stores, and ``StoppedError``.
    """
    sizes = array("q", [MISSING]) * len(plan)
    try:
        if plan.is_tree:
            retry.call(lambda: _list(sizes, plan, retry, forms))
        else:
            _look(sizes, plan, retry)
            _look_for_forms(plan, retry, forms)
    except (CredentialsError, RefusedError):  # perhaps only writing is allowed: the write shows
        forms.forget_found()
        return array("q", [UNKNOWN]) * len(plan)
    return sizes


def _look(sizes: array[int], plan: Plan, retry: Retry) -> None:
    for first, last, destination in plan.route_ranges():
        paths = (plan.item(number).destination_path for number in range(first, last))
        for number, found in enumerate(look_at(destination, paths, retry), start=first):
            if isinstance(found, Entry):
                sizes[number] = found.size
            elif isinstance(found, RefusedError):
                sizes[number] = UNKNOWN
            elif found.retryable:
                raise found
            # else it is missing, or its name isn't possible there: the write shows


def size_at_destination(item: Item, retry: Retry) -> int:
    """Return the size of one named file at its destination, or ``MISSING`` or ``UNKNOWN``.

    Raises the errors of stores, and ``StoppedError``.
    """
    try:
        (found,) = look_at(item.route.destination, [item.destination_path], retry)
    except CredentialsError:  # perhaps only writing is allowed: the write shows
        return UNKNOWN
    if isinstance(found, Entry):
        return found.size
    if isinstance(found, RefusedError):
        return UNKNOWN
    if found.retryable:
        raise found
    return MISSING  # or its name isn't possible there: the write shows


def _look_for_forms(plan: Plan, retry: Retry, forms: OtherForms) -> None:
    for first, last, destination in plan.route_ranges() if forms.has_any else ():
        wanted = [
            (number, form, stored_path(plan.item(number).destination_path, form))
            for number in range(first, last)
            for form in forms.to_look_for(number)
        ]
        paths = (path for _, _, path in wanted)
        for (number, form, _), found in zip(
            wanted, look_at(destination, paths, retry), strict=True
        ):
            if isinstance(found, Entry):
                forms.found(number, form, found.size)
            elif found.retryable:
                raise found


def _list(sizes: array[int], plan: Plan, retry: Retry, forms: OtherForms) -> None:
    destination = plan.routes[0].destination
    if kind_of(destination, "") != "folder":
        return
    listing = f"listing {quote(destination.url)}"
    for entry in until_stopped(destination.list(), retry.stop, listing):
        if not isinstance(entry, Entry):
            continue  # what is behind links isn't listed: the write shows
        known = plan.find_path(0, entry.path)
        if known is not None:
            sizes[known] = entry.size
        else:
            forms.found_at(entry.path, entry.size)


def holds_nothing(store: Store) -> bool:
    """Return True if a destination holds no file yet; False if it can't be looked at.

    Raises retryable errors.
    """
    try:
        kind = kind_of(store, "")
        return kind == "missing" or (kind == "folder" and next(store.list(), None) is None)
    except (CredentialsError, FileError) as error:
        if error.retryable:
            raise
        return False
