"""What an error code of a store means: what it is about, whether it may pass, what to say.

Each store has one table of these for its codes (``stores/s3/codes.py`` for the answers of S3, one
for the errors of the operating system). The reference of errors in the docs is written from them.
"""

from __future__ import annotations

from dataclasses import dataclass

from jobtool.errors import JobtoolError, Scope


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A row of a table.

    ``code`` is as the store says it (``AccessDenied``, ``503``, ``ENOSPC``). ``error`` is the class
    that is raised, and tells scope and whether another try may help. ``meaning`` is what to say of
    it and what to do, a phrase without a full stop.
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
        """What a worker ends with that can't go on for this."""
        return self.error.exit_code
