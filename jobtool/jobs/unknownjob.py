"""The one message for a job that isn't in a joblist."""

from __future__ import annotations

from collections.abc import Collection

from jobtool.errors import UsageError
from jobtool.names import quote
from jobtool.suggest import closest

#: In a list of more jobs a misspelt name is compared with none of them, which would take seconds.
_MOST_COMPARED = 20_000


def unknown_job(name: str, known: Collection[str], *, joblist: str) -> UsageError:
    """Return the error for a job that isn't among the ``known`` ones of the joblist at a path."""
    meant = closest(name, known) if len(known) <= _MOST_COMPARED else None
    hint = f" Did you mean {quote(meant)}?" if meant else ""
    return UsageError(
        f"expected the name of a job of {quote(joblist)}; found {quote(name)}.{hint} "
        "jobtool summarise -v 2 names all jobs."
    )
