"""What goes wrong with a request: an error answer, or a failure without an answer.

A failure is recognised by the exceptions of the client library.
"""

from __future__ import annotations

import re

import msgspec

from jobtool.errors import JobtoolError
from jobtool.stores.verdict import Verdict

#: Statuses of answers that proxies and networks give in a service's place.
OF_ANY_SERVER = frozenset({"407", "429", "502", "503", "504", "511"})


class AnswerError(Exception):
    """An error answer. ``code`` and ``message`` are empty if it has none.

    ``is_genuine`` says whether it has the marks of an answer of the service itself.
    """

    def __init__(self, *, status: int, code: str, message: str, is_genuine: bool) -> None:
        super().__init__(f"{status} {code}")
        self.status = status
        self.code = code
        self.message = message
        self.is_genuine = is_genuine


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """How to recognise a failure: by its class and, if given, its words."""

    types: tuple[type[Exception], ...]
    words: re.Pattern[str] | None = None
    verdict: Verdict

    def fits(self, error: Exception) -> bool:
        """Return True if an error is one of these."""
        if not isinstance(error, self.types):
            return False
        return self.words is None or bool(self.words.search(f"{error} {error.__cause__}"))


def failure(
    code: str,
    error: type[JobtoolError],
    meaning: str,
    *types: type[Exception],
    words: str | None = None,
) -> Failure:
    """Return a failure with its verdict. ``words`` is a regular expression."""
    return Failure(
        types=types,
        words=None if words is None else re.compile(words),
        verdict=Verdict(code=code, error=error, meaning=meaning),
    )
