"""SQLAlchemy's errors: by the database's own code where there is one, else by PEP 249's classes."""

from __future__ import annotations

from jobtool.errors import (
    CredentialsError,
    JobtoolError,
    QueryFailedError,
    QueryInterruptedError,
    QueryRefusedError,
    UnreachableError,
)
from jobtool.queries.adbcerrors import Phase, made
from jobtool.queries.adbcerrors import translate as by_sqlstate
from jobtool.queries.pgerrors import translate_postgres

#: MySQL's error numbers (https://dev.mysql.com/doc/mysql-errors/8.4/en/).
_BY_NUMBER: dict[int, type[JobtoolError]] = {
    **dict.fromkeys((1044, 1045, 1698, 1862, 1820), CredentialsError),
    **dict.fromkeys((1046, 1049, 1054, 1064, 1142, 1143, 1146, 1305), QueryRefusedError),
    **dict.fromkeys((1040, 2002, 2003, 2005), UnreachableError),
    **dict.fromkeys((1053, 1205, 1213, 1317, 2006, 2013, 3024), QueryInterruptedError),
}

#: Parts of SQLite's messages about what may pass.
_MAY_PASS = ("database is locked", "database table is locked", "interrupted", "disk I/O error")


def translate(database: str, error: Exception, phase: Phase) -> JobtoolError:
    """Return one of jobtool's errors for one of SQLAlchemy's, or of the driver's under it."""
    cause = getattr(error, "orig", None)
    if not isinstance(cause, Exception):
        cause = error
    if database == "postgresql" and phase == "connect":
        return translate_postgres("PostgreSQL", cause, phase)
    state = _sqlstate(cause)
    if state is not None:
        return by_sqlstate(database, _WithState(cause, state), phase)
    first = cause.args[0] if cause.args else None
    if isinstance(first, int) and first in _BY_NUMBER:
        return made(_in_phase(_BY_NUMBER[first], phase), database, cause)
    return made(_in_phase(_by_class(error, cause, phase), phase), database, cause)


class _WithState(Exception):  # noqa: N818 - it carries a driver's message to a table
    def __init__(self, cause: Exception, sqlstate: str) -> None:
        super().__init__(str(cause))
        self.sqlstate = sqlstate


def _sqlstate(cause: Exception) -> str | None:
    """Return the SQLSTATE that psycopg, psycopg2, MySQL Connector or pyodbc gives."""
    found = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
    if found is None and len(cause.args) > 1 and isinstance(cause.args[0], str):
        found = cause.args[0]
    is_state = isinstance(found, str) and len(found) == 5 and found.isalnum() and found != "HY000"
    return str(found) if is_state else None


def _by_class(error: Exception, cause: Exception, phase: Phase) -> type[JobtoolError]:
    names = {kind.__name__ for kind in (*type(error).__mro__, *type(cause).__mro__)}
    said = str(cause)
    if getattr(error, "connection_invalidated", False) or any(part in said for part in _MAY_PASS):
        return QueryInterruptedError
    if names & {"ProgrammingError", "NotSupportedError"}:
        return QueryRefusedError
    if names & {"DataError", "IntegrityError"}:
        return QueryFailedError
    if "InterfaceError" in names or isinstance(cause, (OSError, TimeoutError)):
        return QueryInterruptedError
    if "OperationalError" in names and phase == "start":
        return QueryRefusedError  # SQLite: no such table
    return UnreachableError if phase == "connect" else QueryFailedError


def _in_phase(kind: type[JobtoolError], phase: Phase) -> type[JobtoolError]:
    """Return the same kind of error for a connection, or for rows that are being read."""
    if phase == "connect" and kind in (QueryInterruptedError, QueryFailedError):
        return UnreachableError
    if phase == "rows" and kind is UnreachableError:
        return QueryInterruptedError
    return kind
