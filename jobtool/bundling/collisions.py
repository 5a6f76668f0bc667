"""Looking for packages of the same names at the destinations, made by another joblist."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from jobtool.bundling.events import DestinationUnseen
from jobtool.errors import JoblistError, JobtoolError, NotFoundError, SourceError
from jobtool.events import Emit
from jobtool.names import quote
from jobtool.packages.manifest import manifest_name, tar_name
from jobtool.stores.store import Entry, Store

#: For how long a destination may take to answer.
_LOOK_SECONDS = 20.0


def require_free(
    packages: Sequence[str], places: Iterable[str], open_store: Callable[[str], Store], emit: Emit
) -> None:
    """Raise ``JoblistError`` if a place has a package of one of these names already.

    A place that can't be looked at is told by an event: its copy looks again.
    """
    for url in places:
        try:
            taken = _first_taken(partial(open_store, url), packages)
        except SourceError as error:
            emit(DestinationUnseen(destination=url, reason=str(error)))
            continue
        if taken is not None:
            raise JoblistError(
                f"{quote(url)} has {quote(taken)} already, a package of another joblist. Give the "
                "packages of this one another name: --name for a new joblist, or 'name' in "
                "[packages] of its joblist.toml."
            )


def _first_taken(open_store: Callable[[], Store], packages: Iterable[str]) -> str | None:
    """Return the name of the first tar or manifest of ``packages`` that a store has; None for none.

    Raises ``SourceError`` with the reason if that isn't known: a machine that makes packages
    needn't reach each destination.
    """
    answers: queue.SimpleQueue[str | Exception | None] = queue.SimpleQueue()
    names = [name for package in packages for name in (tar_name(package), manifest_name(package))]

    def look() -> None:
        try:
            store = open_store()
            answers.put(next((name for name in names if _is_there(store, name)), None))
        except Exception as error:  # of a package's store, too
            answers.put(error)

    # Clients of stores wait in libraries for minutes.
    threading.Thread(target=look, name="jobtool-look", daemon=True).start()
    try:
        answer = answers.get(timeout=_LOOK_SECONDS)
    except queue.Empty:
        raise SourceError(f"no answer in {_LOOK_SECONDS:.0f} s") from None
    if isinstance(answer, JobtoolError):
        raise SourceError(str(answer)) from None
    if isinstance(answer, Exception):
        raise SourceError(f"{type(answer).__name__}: {answer}") from None
    return answer


def _is_there(store: Store, name: str) -> bool:
    try:
        return isinstance(store.stat(name, file_only=True), Entry)
    except NotFoundError:
        return False
