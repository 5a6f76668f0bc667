"""How a job file writes a job's steps: the line ``steps`` and the lines ``step.NAME``."""

from __future__ import annotations

import re
from collections.abc import Sequence

from jobtool.errors import JobFileError
from jobtool.jobs.job import COPY, JobStatus, StepState

STATE_PREFIX = "step."

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,40}")
_STATE = re.compile(r"([a-z]+) attempts=([0-9]{1,9})")


def require_chain(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names of a chain of steps; raises ``JobFileError`` unless they make one.

    Each is named once, and ``copy`` is among them: a job whose data nobody has copied must not
    become a success.
    """
    for name in names:
        if not _NAME.fullmatch(name):
            raise JobFileError(
                "expected names of steps (a small letter, then small letters, digits, '_' or '-'), "
                f"with commas between them; found {name[:40]!r}"
            )
        if names.count(name) > 1:
            raise JobFileError(f"expected each step once; found {name!r} twice")
    if COPY not in names:
        raise JobFileError(
            f"expected {COPY!r} among the steps; found {', '.join(names) or 'none'}. Add it where "
            "the data is to be copied."
        )
    return tuple(names)


def decode_words(text: str) -> tuple[str, ...]:
    """Return the words of a list with commas between them."""
    return tuple(word.strip() for word in text.split(","))


def encode_words(words: Sequence[str]) -> str:
    """Write what ``decode_words`` reads."""
    return ", ".join(words)


def decode_state(text: str) -> StepState:
    """Return how far a step is; raises ``JobFileError``."""
    found = _STATE.fullmatch(text)
    if found is None or found.group(1) not in list(JobStatus):
        raise JobFileError(
            f"expected one of {', '.join(JobStatus)} and 'attempts=N'; found {text[:40]!r}"
        )
    return StepState(status=JobStatus(found.group(1)), attempts=int(found.group(2)))


def encode_state(state: StepState) -> str:
    """Write what ``decode_state`` reads."""
    return f"{state.status} attempts={state.attempts}"
