"""The attempts at a job, read from its log."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec

from jobtool.jobs.joblog import LogRecord, number_of
from jobtool.jobs.stamps import stamp_of

#: A job with more attempts shows the last ones.
MOST_ATTEMPTS = 1000

#: Called with a start and an end in seconds since 1970, and the bytes that moved between them.
AddBytes = Callable[[float, float, int], None]


class Outcome(StrEnum):
    """How an attempt ended. ``unfinished``: its log has no end, since it goes on or was killed."""

    SUCCESS = "success"
    ERROR = "error"
    HANDED_BACK = "handed-back"
    UNFINISHED = "unfinished"


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt at a job. ``ended`` is the time of its last line; ``bytes`` are what it added."""

    number: int | None
    worker: str
    started: datetime
    ended: datetime
    outcome: Outcome
    bytes: int

    @property
    def seconds(self) -> float:
        """How long it lasted; 0 if clocks disagree."""
        return max((self.ended - self.started).total_seconds(), 0)

    def json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "attempt": self.number,
            "worker": self.worker,
            "started": stamp_of(self.started),
            "ended": stamp_of(self.ended),
            "outcome": self.outcome.value,
            "bytes": self.bytes,
        }


def attempts_of(records: Iterable[LogRecord], add_bytes: AddBytes | None = None) -> list[Attempt]:
    """Return the attempts that a log tells of, the oldest first.

    What lines say of bytes includes what earlier attempts sent, so only increases are added.
    """
    found: list[Attempt] = []
    opened: LogRecord | None = None
    last: datetime | None = None
    told, told_at, before = 0, 0.0, 0

    def close(outcome: Outcome) -> None:
        if opened is not None and last is not None:
            found.append(
                Attempt(
                    number=number_of(opened.values.get("attempt", "")),
                    worker=opened.values.get("worker", ""),
                    started=opened.time,
                    ended=last,
                    outcome=outcome,
                    bytes=max(told - before, 0),
                )
            )
            del found[:-MOST_ATTEMPTS]

    for record in records:
        if record.event == "claimed":
            close(Outcome.UNFINISHED)
            opened, last = record, record.time
            before, told_at = told, record.time.timestamp()
            continue
        if opened is None or record.event in ("retry", "repair", "update"):
            continue
        last = record.time
        done = number_of(record.values.get("bytes", "").partition("/")[0])
        if done is not None and record.event in _TELLING:
            if add_bytes is not None:
                add_bytes(told_at, record.time.timestamp(), done - told)
            told, told_at = done, record.time.timestamp()
        if record.event in _ENDS:
            close(Outcome(record.event))
            opened = last = None
    close(Outcome.UNFINISHED)
    return found


_ENDS = frozenset(outcome.value for outcome in Outcome if outcome is not Outcome.UNFINISHED)
_TELLING = _ENDS | {"progress"}
