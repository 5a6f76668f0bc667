"""What somebody may have meant by a word that nobody knows."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

_CUTOFF = 0.6


def closest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that is most like another; None if none is."""
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=_CUTOFF)
    return found[0] if found else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `` Did you mean 'threads'?``, or nothing if no known word is like it."""
    found = closest(word, known)
    return f" Did you mean {found!r}?" if found else ""


def hint_of(message: str, known: Iterable[str]) -> str:
    """Return the same for the unknown field that a message of msgspec names, if it does."""
    match = re.search(r"unknown field `([^`]*)`", message)
    return did_you_mean(match.group(1), known) if match else ""
