"""The one message for a job that isn't in a joblist."""

from __future__ import annotations

from collections.abc import Collection

from jobtool.errors import UsageError
from jobtool.names import quote, shell_word
from jobtool.suggest import closest

#: In a list of more jobs a misspelt name is compared with none of them, which would take seconds.
_MOST_COMPARED = 20_000

#: Shorter texts are in many names.
_SHORTEST = 3


def unknown_job(name: str, known: Collection[str], *, joblist: str) -> UsageError:
    """Return the error for a job that isn't among the ``known`` ones of the joblist at a path."""
    return UsageError(
        f"expected the name of a job of {quote(joblist)}; found {quote(name)}."
        f"{_did_you_mean(name, known)} {where_the_names_are(joblist)}"
    )


def where_the_names_are(joblist: str) -> str:
    """Return the sentence that tells how to see the names of a joblist's jobs."""
    return f"To see the names: jobtool summarise {shell_word(joblist)} --jobs"


def _did_you_mean(name: str, known: Collection[str]) -> str:
    """Return the question for the only job whose name has ``name`` in it, else the closest."""
    holding = [each for each in known if name in each] if len(name) >= _SHORTEST else []
    if len(holding) == 1:
        return f" Did you mean {quote(holding[0])}?"
    meant = closest(name, known) if len(known) <= _MOST_COMPARED else None
    return f" Did you mean {quote(meant)}?" if meant else ""
