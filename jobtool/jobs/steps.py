"""The steps in a job file: the line ``steps`` and the lines ``step.NAME``."""

from __future__ import annotations

import re
from collections.abc import Sequence

from jobtool.errors import JobFileError
from jobtool.jobs.job import COPY, JobStatus, StepState

STATE_PREFIX = "step."

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,40}")
_STATE = re.compile(r"([a-z]+) attempts=([0-9]{1,9})")


def require_chain(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names of a chain of steps; raise ``JobFileError`` if they don't make a chain.

    Each step is named once, and ``copy`` is among them: a job whose data wasn't copied must not
    become a success.
    """
    for name in names:
        if not _NAME.fullmatch(name):
            raise JobFileError(
                "expected names of steps (a lowercase letter, then lowercase letters, digits, '_' "
                f"or '-'), separated by commas; found {name[:40]!r}"
            )
        if names.count(name) > 1:
            raise JobFileError(f"expected each step once; found {name!r} twice")
    if COPY not in names:
        raise JobFileError(
            f"expected {COPY!r} among the steps; found {', '.join(names) or 'none'}. Add it at the "
            "place where the data is to be copied."
        )
    return tuple(names)


def decode_words(text: str) -> tuple[str, ...]:
    """Return the words of a comma-separated list."""
    return tuple(word.strip() for word in text.split(","))


def encode_words(words: Sequence[str]) -> str:
    """Return a list of words as ``decode_words`` reads it."""
    return ", ".join(words)


def decode_state(text: str) -> StepState:
    """Return the state of a step; raise ``JobFileError`` if the text isn't one."""
    found = _STATE.fullmatch(text)
    if found is None or found.group(1) not in list(JobStatus):
        raise JobFileError(
            f"expected one of {', '.join(JobStatus)} and 'attempts=N'; found {text[:40]!r}"
        )
    return StepState(status=JobStatus(found.group(1)), attempts=int(found.group(2)))


def encode_state(state: StepState) -> str:
    """Return the text of a state as ``decode_state`` reads it."""
    return f"{state.status} attempts={state.attempts}"
