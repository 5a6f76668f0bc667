"""The result of comparing one file with its receipt."""

from __future__ import annotations

from typing import Literal

import msgspec

from jobtool.audit.events import Discrepancy
from jobtool.errors import JobtoolError, NotFoundError, reason_of


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The result for one file; ``what`` is None if it matches its receipt.

    ``was_doubted_by_time`` is True if the file was read only because its time differs.
    ``compared`` says with what a file was compared that was read and whose receipt has no MD5.
    """

    url: str
    what: Discrepancy | None = None
    detail: str = ""
    was_doubted_by_time: bool = False
    compared: Literal["checksum", "source"] | None = None


def failure(url: str, error: JobtoolError) -> Verdict:
    """Return the verdict that follows from a store's error: missing, or unreadable."""
    if isinstance(error, NotFoundError):
        return Verdict(url=url, what="missing")
    return unreadable(url, error)


def unreadable(url: str, error: Exception) -> Verdict:
    """Return the verdict for what can't be read."""
    return Verdict(url=url, what="unreadable", detail=reason_of(error))
