"""Where an export may write: places that are apart, and a destination without other data."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable

from jobtool.errors import (
    FileError,
    InfrastructureError,
    JobtoolError,
    NotFoundError,
    SourceError,
    UsageError,
)
from jobtool.export.chunknames import MANIFEST, SUCCESS
from jobtool.names import quote
from jobtool.stores.location import inside, is_local
from jobtool.stores.store import Store

#: Endings of files that programs read as the rows of a folder.
_ENDINGS = (".parquet", ".csv", ".csv.gz", ".csv.zst")

#: How many files are named.
_NAMED = 3

#: For how long a destination may take to list its first level.
_LOOK_SECONDS = 20.0


def require_apart(joblist_path: str, destination: str, staging: str | None) -> None:
    """Raise ``UsageError`` if readers of the destination would find files that aren't its rows."""
    target = _real(destination)
    if inside(target, _real(joblist_path)) is not None:
        raise UsageError(
            f"expected the joblist outside of the destination {quote(destination)}; found "
            f"{quote(joblist_path)}. Readers of the rows would read tables of the joblist. Choose "
            "another folder for the joblist."
        )
    if inside(_real(joblist_path), target) is not None:
        raise UsageError(
            f"expected the destination outside of the joblist {quote(joblist_path)}; found "
            f"{quote(destination)}. Choose another destination."
        )
    if staging is not None and inside(target, _real(staging)) is not None:
        raise UsageError(
            f"expected the staging folder outside of the destination {quote(destination)}; found "
            f"{quote(staging)}. Readers of the rows would read unfinished chunks. Choose another "
            "staging folder."
        )


def require_no_data(destination: str, open_store: Callable[[], Store]) -> str | None:
    """Raise ``UsageError`` if the destination holds data files, which readers would mix with rows.

    Only the names of its first level are looked at. Return None, or why that wasn't possible: the
    machine that makes a joblist needn't reach the destination.
    """
    if is_local(destination) and os.path.lexists(destination) and not os.path.isdir(destination):
        raise UsageError(
            f"expected a folder as the destination {quote(destination)}; found a file. Choose "
            "another destination."
        )
    found = _found(open_store)
    if not isinstance(found, list):
        return found
    if found:
        shown = ", ".join(map(quote, found[:_NAMED]))
        more = f" and {len(found) - _NAMED:,} more" if len(found) > _NAMED else ""
        raise UsageError(
            f"expected no data in the destination {quote(destination)}; found {shown}{more}. "
            "Readers would mix them with the exported rows. Choose another destination, or add "
            "--existing-data ignore."
        )
    return None


def _found(open_store: Callable[[], Store]) -> list[str] | str:
    """Return the names of data files, or why they can't be listed."""
    answers: queue.SimpleQueue[list[str] | JobtoolError] = queue.SimpleQueue()

    def look() -> None:
        try:
            names = (getattr(child, "name", "") for child in open_store().children(""))
            answers.put([name for name in names if _is_data(name)])
        except NotFoundError:
            answers.put([])
        except JobtoolError as error:
            answers.put(error)
        except Exception as error:  # of a package's store
            answers.put(SourceError(f"{type(error).__name__}: {error}"))

    # Clients of stores wait in libraries for minutes.
    threading.Thread(target=look, name="jobtool-look", daemon=True).start()
    try:
        answer = answers.get(timeout=_LOOK_SECONDS)
    except queue.Empty:
        return f"no answer in {_LOOK_SECONDS:.0f} s"
    if isinstance(answer, (FileError, InfrastructureError)):
        return str(answer)
    if isinstance(answer, JobtoolError):
        raise answer
    return answer


def _is_data(name: str) -> bool:
    return name in (MANIFEST, SUCCESS) or (
        not name.startswith((".", "_")) and name.endswith(_ENDINGS)
    )


def _real(place: str) -> str:
    return os.path.realpath(place) if is_local(place) else place.rstrip("/")
