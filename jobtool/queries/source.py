"""The protocol of a database: what an export asks of a connection.

A package registers a ``QuerySourceType`` as an entry point of the group ``jobtool.queries``. The
entry point has the name of the URL's scheme without a driver: ``impala`` for ``impala://…``,
``postgresql`` for ``postgresql+psycopg://…``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Protocol

import msgspec

from jobtool.queries.dialect import Dialect
from jobtool.queries.url import ConnectionUrl

if TYPE_CHECKING:
    import pyarrow as pa


class RowStream(Protocol):
    """The rows of a running query, in the order in which the database gives them.

    Memory depends on the number of rows that are fetched at a time, not on the size of the result.
    Iterating raises ``QueryFailedError``, ``QueryInterruptedError``, ``UnreachableError`` and
    ``CredentialsError``.
    """

    @property
    def schema(self) -> pa.Schema:
        """The columns. They are known before the first row."""

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows, as batches of any size, each with ``schema``. Only once."""

    def cancel(self) -> None:
        """Ask the database to stop the query. Any thread may call it, at any time.

        A thread that waits for rows then gets an error, or the end. Raises nothing.
        """

    def close(self) -> None:
        """Free what the query holds, here and at the database. Raises nothing."""


class QuerySource(Protocol):
    """One connection to a database. One thread uses it at a time.

    All methods raise ``QueryRefusedError`` if the database refuses the query (syntax, a missing
    table, no permission), with its own message; ``QueryFailedError`` if the query fails in a way
    that another try repeats; ``QueryInterruptedError`` if the database ends it or the connection
    is lost while it runs; ``UnreachableError`` if the database can't be reached; and
    ``CredentialsError`` for a login that isn't accepted, or a ticket that has expired.
    """

    @property
    def dialect(self) -> Dialect:
        """How the database writes names and values."""

    def describe(self, query: str) -> pa.Schema:
        """Return the columns of a query. No row is computed if the database allows that."""

    def ask(self, query: str) -> pa.Table:
        """Return the whole result of a query that returns a few rows."""

    def stream(self, query: str, *, rows: int) -> RowStream:
        """Run a query, and fetch about ``rows`` of its rows at a time."""

    def snapshot(self) -> str | None:
        """Return what the database calls the state that queries see now; None if it has no name.

        It is only written down, for people.
        """

    def close(self) -> None:
        """End the connection, and a query that still runs. Raises nothing.

        Any thread may call it: ``stream`` may wait long for the first row, and this ends the wait.
        """


class QuerySourceType(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of database.

    ``open`` connects. It is passed the URL, and the password if one is known; it raises what
    ``QuerySource`` does, and ``UsageError`` for a part of the URL that it can't use or a package
    that isn't installed (naming the extra of jobtool that brings it). ``options`` are the names
    that the URL may have behind ``?``; a name that ends with ``*`` stands for all that begin so.
    None allows any. With ``has_drivers`` it reads the word behind ``+`` in the scheme; else a URL
    with such a word is SQLAlchemy's. ``has_host`` is False for databases in files, whose URLs have
    three slashes. ``needs_password`` returns whether a password is needed that neither the URL nor
    the environment of the database's own client gives.
    """

    open: Callable[[ConnectionUrl, str | None], QuerySource]
    options: frozenset[str] | None = None
    has_drivers: bool = False
    has_host: bool = True
    needs_password: Callable[[ConnectionUrl], bool] = lambda _: False
