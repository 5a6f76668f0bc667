"""Errors of ADBC drivers: by SQLSTATE where there is one, else by ADBC's own code and the phase."""

from __future__ import annotations

import re
from typing import Literal

from jobtool.errors import (
    CredentialsError,
    JobtoolError,
    QueryFailedError,
    QueryInterruptedError,
    QueryRefusedError,
    UnreachableError,
)
from jobtool.names import in_one_line
from jobtool.redact import redact

#: ``connect``; ``prepare``, in which the database only reads the query; ``start``, in which it may
#: compute; ``rows``, while they are fetched.
Phase = Literal["connect", "prepare", "start", "rows"]

_MOST_CHARACTERS = 1000

#: ADBC's status and the driver's name, and what libpq's driver was doing when PostgreSQL said no.
_ADDED_BY_DRIVER = re.compile(r"\A[A-Z_]+: (\[\w+\] )?(.*?: (?=ERROR: ))?", re.DOTALL)
_CARET = re.compile(r"^ *\^ *$", re.MULTILINE)

#: By the first characters of a SQLSTATE, the longest first. The classes are those of PostgreSQL
#: (https://www.postgresql.org/docs/current/errcodes-appendix.html) and of the standard.
_BY_SQLSTATE: dict[str, type[JobtoolError]] = {
    "08": UnreachableError,
    "0A": QueryRefusedError,  # a feature that the database doesn't have
    "22": QueryFailedError,
    "25006": QueryRefusedError,  # the query writes
    "28": CredentialsError,
    "3D": QueryRefusedError,
    "3F": QueryRefusedError,
    "40": QueryInterruptedError,
    "42": QueryRefusedError,
    "53": QueryInterruptedError,  # out of memory, disk, connections
    "55": QueryInterruptedError,  # an object is in use
    "57": QueryInterruptedError,  # cancelled, or the server shuts down
    "58": QueryInterruptedError,  # the server's own input and output
}

#: By ADBC's status codes (adbc.h).
_BY_STATUS: dict[str, type[JobtoolError]] = {
    "NOT_IMPLEMENTED": QueryRefusedError,
    "NOT_FOUND": QueryRefusedError,
    "ALREADY_EXISTS": QueryRefusedError,
    "INVALID_ARGUMENT": QueryRefusedError,
    "INVALID_DATA": QueryFailedError,
    "INTEGRITY": QueryFailedError,
    "CANCELLED": QueryInterruptedError,
    "TIMEOUT": QueryInterruptedError,
    "IO": QueryInterruptedError,
    "UNAUTHENTICATED": CredentialsError,
    "UNAUTHORIZED": QueryRefusedError,
}


def translate(database: str, error: Exception, phase: Phase) -> JobtoolError:
    """Return one of jobtool's errors for one of an ADBC driver."""
    state = getattr(error, "sqlstate", None) or ""
    status = getattr(getattr(error, "status_code", None), "name", "")
    found = next(
        (_BY_SQLSTATE[state[:length]] for length in (5, 2) if state[:length] in _BY_SQLSTATE), None
    )
    if found is None:
        found = _BY_STATUS.get(status)
    if found is None:
        found = QueryRefusedError if phase == "prepare" else QueryFailedError
    is_lost = phase != "rows" and status in ("IO", "TIMEOUT") and not state
    if is_lost or (phase == "connect" and found in (QueryInterruptedError, QueryFailedError)):
        found = UnreachableError
    elif phase == "connect" and status == "UNAUTHORIZED":
        found = CredentialsError
    elif phase == "rows" and found is UnreachableError:
        found = QueryInterruptedError
    return made(found, database, error)


def made(kind: type[JobtoolError], database: str, error: Exception) -> JobtoolError:
    """Return an error of that kind with the database's message."""
    said = message_of(error)
    if kind is QueryRefusedError:
        return kind(f"{database} refuses the query: {said}")
    if kind is QueryInterruptedError:
        return kind(f"{database}: the query has ended before its last row: {said}")
    if kind is UnreachableError:
        return kind(f"{database} can't be reached: {said}")
    if kind is CredentialsError:
        return kind(f"{database} doesn't accept the login: {said}")
    return kind(f"{database}: {said}")


def message_of(error: Exception) -> str:
    """Return the database's own message on one line, without what drivers add to it."""
    text = str(error)
    for addition in ("\nQuery was: ", "\nquery: ", ". SQLSTATE: ", "\n. SQLSTATE: "):
        text = text.partition(addition)[0]
    text = _CARET.sub("", _ADDED_BY_DRIVER.sub("", text))
    return redact(in_one_line(text, most=_MOST_CHARACTERS))
