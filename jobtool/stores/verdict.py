"""The meaning of a store's error code: its scope, whether it may pass, its message.

Each store has one table of verdicts (``stores/s3/codes.py`` for the answers of S3,
``stores/local/errors.py`` for the errors of the operating system). docs/reference/errors.md is
generated from them.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from jobtool.errors import JobtoolError, Scope


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """A row of a table.

    ``code`` is the store's own (``AccessDenied``, ``503``, ``ENOSPC``). ``error`` is the class to
    raise, which has the scope and whether another try may help. ``meaning`` says what is wrong and
    what to do, in a phrase without a full stop.
    """

    code: str
    error: type[JobtoolError]
    meaning: str

    @property
    def scope(self) -> Scope:
        """What the error is about."""
        return self.error.scope

    @property
    def may_pass(self) -> bool:
        """Whether another try may help."""
        return self.error.retryable

    @property
    def exit_code(self) -> int:
        """The exit code of a worker that can't continue because of this error."""
        return self.error.exit_code


def table_of(meanings: Mapping[type[JobtoolError], Mapping[str, str]]) -> dict[str, Verdict]:
    """Return a table by code, sorted, from the meanings of codes by the error to raise."""
    rows = (
        Verdict(code=code, error=error, meaning=meaning)
        for error, group in meanings.items()
        for code, meaning in group.items()
    )
    return {row.code: row for row in sorted(rows, key=lambda row: row.code)}


def verdict_in(
    codes: Mapping[str, Verdict], statuses: Mapping[str, Verdict], code: str, status: str
) -> Verdict:
    """Return what an answer means: by its code if known, else by its HTTP status.

    ``statuses`` holds ``5xx`` at least, and perhaps other groups of statuses like it.
    """
    for known in (codes.get(code), statuses.get(status)):
        if known is not None:
            return known
    return statuses.get(f"{status[:1]}xx", statuses["5xx"])
