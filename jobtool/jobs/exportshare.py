"""The share of an export that a job does: a range of the rows of a query, or the manifest."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Literal

import msgspec

from jobtool.errors import JobFileError

#: The job that writes the manifest, once all others are done.
MANIFEST_JOB = "manifest"

#: The line that names the share, and what the other lines of a share begin with.
KEY = "export"
PREFIX = "export."

_ROWS = re.compile(r"rows ([0-9]{1,9})/([0-9]{1,9})")


class ExportShare(msgspec.Struct, frozen=True, kw_only=True):
    """A range of rows, with its ``number`` from 1 among ``count``, or the manifest.

    ``lower`` (inclusive) and ``upper`` (exclusive) bound the column by which the query is split, as
    ``jobtool.export.ranges`` writes values; None is no bound. ``has_nulls`` says that the rows
    without a value of it belong to the range. ``rows`` is the number of rows that were counted
    beforehand, None if they weren't.
    """

    kind: Literal["rows", "manifest"]
    number: int = 1
    count: int = 1
    lower: str | None = None
    upper: str | None = None
    has_nulls: bool = False
    rows: int | None = None

    def lines(self) -> Iterator[tuple[str, str]]:
        """Yield the share's lines in a job file, as keys and values."""
        yield KEY, "manifest" if self.kind == "manifest" else f"rows {self.number}/{self.count}"
        if self.lower is not None:
            yield f"{PREFIX}from", self.lower
        if self.upper is not None:
            yield f"{PREFIX}below", self.upper
        if self.has_nulls:
            yield f"{PREFIX}nulls", "true"
        if self.rows is not None:
            yield f"{PREFIX}rows", str(self.rows)

    @classmethod
    def read(cls, lines: Mapping[str, str]) -> ExportShare | None:
        """Return the share of these lines of a job file; None without any.

        Raises ``JobFileError``.
        """
        if not lines:
            return None
        found = lines.get(KEY, "")
        unknown = set(lines) - {KEY, *(PREFIX + end for end in ("from", "below", "nulls", "rows"))}
        if unknown:
            raise JobFileError(f"{min(unknown)}: there is no such line. Correct or remove it.")
        if found == "manifest" and len(lines) == 1:
            return cls(kind="manifest")
        match = _ROWS.fullmatch(found)
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise JobFileError(
                f"{KEY}: expected 'rows N/COUNT' or 'manifest' alone; found {found[:40]!r}"
            )
        rows = lines.get(f"{PREFIX}rows")
        if rows is not None and not (rows.isascii() and rows.isdigit() and len(rows) <= 18):
            raise JobFileError(f"{PREFIX}rows: expected a number of rows; found {rows[:40]!r}")
        nulls = lines.get(f"{PREFIX}nulls", "false")
        if nulls not in ("true", "false"):
            raise JobFileError(f"{PREFIX}nulls: expected true or false; found {nulls[:40]!r}")
        return cls(
            kind="rows",
            number=int(match[1]),
            count=int(match[2]),
            lower=lines.get(f"{PREFIX}from"),
            upper=lines.get(f"{PREFIX}below"),
            has_nulls=nulls == "true",
            rows=None if rows is None else int(rows),
        )
