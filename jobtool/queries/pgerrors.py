"""PostgreSQL's errors, by whichever driver they come."""

from __future__ import annotations

from jobtool.errors import (
    CredentialsError,
    JobtoolError,
    QueryRefusedError,
    UnreachableError,
    UsageError,
)
from jobtool.queries.adbcerrors import Phase, made, message_of, translate

#: Parts of libpq's and the server's messages about a connection, which have no SQLSTATE. A server
#: may say them in another language: then the connection counts as one that may work later.
_AT_CONNECT: tuple[tuple[type[JobtoolError], tuple[str, ...]], ...] = (
    (UsageError, ("invalid connection option", "invalid URI", "invalid sslmode", "invalid port")),
    (UsageError, ("definition of service", "server does not support SSL", "invalid integer")),
    (UnreachableError, ("starting up", "shutting down", "recovery", "too many", "slots are")),
    (QueryRefusedError, ("permission denied for database",)),
    (CredentialsError, ("authentication failed", "no password supplied", "no pg_hba.conf entry")),
    (CredentialsError, ("GSSAPI", "certificate", "is not permitted to log in", "private key")),
)


def translate_postgres(database: str, error: Exception, phase: Phase) -> JobtoolError:
    """Return one of jobtool's errors for a driver's."""
    if phase != "connect" or getattr(error, "sqlstate", None):
        return translate(database, error, phase)
    said = message_of(error)
    for kind, parts in _AT_CONNECT:
        if any(part in said for part in parts):
            return made(kind, database, error)
    if "does not exist" in said and "database " in said:
        return QueryRefusedError(f"{database} refuses the connection: {said}")
    if "does not exist" in said and "role " in said:
        return made(CredentialsError, database, error)
    return made(UnreachableError, database, error)
