"""The log of a job, which follows its header in the job file: a pure codec.

Each line is ``time event key=value …``. People may write lines of their own, which are skipped.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime

import msgspec

from jobtool.errors import JobFileError
from jobtool.jobs.stamps import stamp_of, time_of
from jobtool.names import quote, split_name

#: A longer line is refused in a header and skipped in a log.
MAX_LINE_BYTES = 65536

#: How much of a log is read, from its end. A worker doesn't write as much in years.
MAX_LOG_BYTES = 4 * 1024 * 1024

_STAMPED_LINE = re.compile(rb"^[ \t]*\d{4}-\d\d-\d\dT[^\n]{0,%d}$" % MAX_LINE_BYTES, re.MULTILINE)
_MOST_LOG_DIGITS = 18


class LogRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a job's log: a time, an event word, and ``key=value`` pairs."""

    time: datetime
    event: str
    values: Mapping[str, str]


def encode_record(record: LogRecord) -> bytes:
    """Return the text of one log line, with its newline."""
    pairs = "".join(f" {key}={quote(value, word=True)}" for key, value in record.values.items())
    return f"{stamp_of(record.time)} {record.event}{pairs}\n".encode()


def decode_log(log: bytes) -> Iterator[LogRecord]:
    """Yield the records of a log. Free text and torn lines are skipped.

    Only the last ``MAX_LOG_BYTES`` of a log are read. Lines of more than ``MAX_LINE_BYTES`` are
    skipped.
    """
    for line in _stamped_lines(log):
        record = _record(*line)
        if record is not None:
            yield record


def last_records(log: bytes, events: Collection[str]) -> dict[str, LogRecord]:
    """Return the last record of each of these events that the log has, the latest one first."""
    found: dict[str, LogRecord] = {}
    for line in reversed(list(_stamped_lines(log))):
        event = line[1]
        if event in events and event not in found and (record := _record(*line)) is not None:
            found[event] = record
    return found


def _stamped_lines(log: bytes) -> Iterator[tuple[str, str, str]]:
    """Yield the time, the event and the rest of each line that begins like a record."""
    for found in _STAMPED_LINE.finditer(log, max(len(log) - MAX_LOG_BYTES, 0)):
        stamp, _, rest = found.group().decode("utf-8", "surrogateescape").strip().partition(" ")
        event, _, rest = rest.partition(" ")
        yield stamp, event, rest


def _record(stamp: str, event: str, rest: str) -> LogRecord | None:
    try:
        return LogRecord(time=time_of(stamp), event=event, values=dict(_pairs(rest)))
    except (ValueError, JobFileError):
        return None


def number_of(text: str) -> int | None:
    """Return the number in a value of a log; None if jobtool wouldn't write such a number."""
    is_number = text.isascii() and text.isdigit() and len(text) <= _MOST_LOG_DIGITS
    return int(text) if is_number else None


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    if '"' not in text:  # the usual case: no name is quoted
        for word in text.split(" "):
            key, equals, value = word.partition("=")
            if word and not equals:
                raise JobFileError(f"expected key=value; found {word!r}")
            if word:
                yield key, value
        return
    while text := text.lstrip(" "):
        key, equals, rest = text.partition("=")
        if not equals or " " in key:
            raise JobFileError(f"expected key=value; found {text!r}")
        value, text = split_name(rest, stop=" ")
        yield key, value
