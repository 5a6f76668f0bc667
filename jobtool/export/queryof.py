"""The SQL of one job of an export."""

from __future__ import annotations

from jobtool.errors import JobFileError
from jobtool.export.bounds import decode_value
from jobtool.export.ranges import Range, query_of
from jobtool.jobs.exportsettings import ExportSettings
from jobtool.jobs.exportshare import ExportShare
from jobtool.queries.dialect import Dialect, stripped


def query_of_share(share: ExportShare, settings: ExportSettings, dialect: Dialect) -> str:
    """Return the query for the rows of a share.

    Bounds come from a job file, which others may have edited: each becomes a literal and nothing
    else. Raises ``JobFileError`` for a bound that can't be read or written.
    """
    query = stripped(settings.query)
    if settings.split_by is None:
        if (share.count, share.lower, share.upper) != (1, None, None):
            raise JobFileError("expected the whole query, since joblist.toml has no split_by")
        if not settings.order_by:
            return query
        names = ", ".join(map(dialect.name, settings.order_by))
        return f"{dialect.rows_of(query)}\nORDER BY {names}"
    rows = Range(
        number=share.number,
        count=share.count,
        lower=None if share.lower is None else decode_value(share.lower),
        upper=None if share.upper is None else decode_value(share.upper),
        has_nulls=share.has_nulls,
    )
    try:
        return query_of(rows, query, settings.split_by, dialect, order_by=settings.order_by)
    except ValueError as error:
        raise JobFileError(f"export.from, export.below: {error}") from None
