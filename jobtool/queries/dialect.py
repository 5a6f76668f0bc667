"""How a database writes names and values in SQL."""

from __future__ import annotations

import datetime
import decimal
import math

import msgspec

#: A value that bounds a range of rows.
Value = int | float | decimal.Decimal | str | datetime.date | datetime.datetime


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """A dialect of SQL. The default is that of the standard.

    ``quote_mark`` stands around identifiers and is doubled inside. With ``escapes_backslash`` a
    backslash in a text must be doubled. ``text_prefix``, ``date_prefix`` and ``timestamp_prefix``
    stand before texts, and before texts that are dates and times. ``zoned_prefix`` stands before
    times in UTC that end with ``+00:00``: PostgreSQL ignores a zone after ``TIMESTAMP``.
    ``alias_word`` stands before the name of a query in ``FROM``.
    """

    quote_mark: str = '"'
    escapes_backslash: bool = False
    date_prefix: str = "DATE "
    timestamp_prefix: str = "TIMESTAMP "
    zoned_prefix: str = "TIMESTAMP WITH TIME ZONE "
    text_prefix: str = ""
    alias_word: str = "AS "

    def name(self, identifier: str) -> str:
        """Return an identifier as it stands in a query."""
        mark = self.quote_mark
        return mark + identifier.replace(mark, mark + mark) + mark

    def value(self, value: Value) -> str:
        """Return a value as it stands in a query; raise ``ValueError`` for one that can't."""
        if isinstance(value, bool):
            raise ValueError("expected a number, a text, a date or a time; found a truth value")  # noqa: TRY004
        if isinstance(value, float | decimal.Decimal) and not math.isfinite(value):
            raise ValueError(f"expected a finite number; found {value}")
        if isinstance(value, int | decimal.Decimal):
            return str(value) if isinstance(value, int) else format(value, "f")
        if isinstance(value, float):
            return repr(value)
        if isinstance(value, datetime.datetime):
            if value.utcoffset() is not None:
                value = value.astimezone(datetime.UTC)
                return self.zoned_prefix + self._text(value.isoformat(sep=" "))
            return self.timestamp_prefix + self._text(value.isoformat(sep=" "))
        if isinstance(value, datetime.date):
            return self.date_prefix + self._text(value.isoformat())
        return self.text_prefix + self._text(value)

    def rows_of(self, query: str, columns: str = "*") -> str:
        """Return a query for ``columns`` of another query's rows."""
        named = self.alias_word + self.name("jobtool_rows")
        return f"SELECT {columns} FROM (\n{stripped(query)}\n) {named}"

    def _text(self, text: str) -> str:
        if "\0" in text:
            raise ValueError("expected a text without NUL characters")
        if self.escapes_backslash:
            text = text.replace("\\", "\\\\").replace("'", "\\'")
        else:
            text = text.replace("'", "''")
        return f"'{text}'"


def stripped(query: str) -> str:
    """Return a query without a semicolon at its end, which can't stand in another query."""
    return query.strip().rstrip(";").rstrip()
