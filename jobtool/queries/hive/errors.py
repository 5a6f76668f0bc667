"""What goes wrong with Impala, Hive and Spark, as jobtool's errors.

The servers answer with a message, mostly a Java exception with its stack, and a code of SQL's
standard (SQLSTATE), which Impala doesn't use.
"""

from __future__ import annotations

import re

from jobtool.errors import (
    CredentialsError,
    JobtoolError,
    QueryFailedError,
    QueryInterruptedError,
    QueryRefusedError,
    StoreSettingsError,
    UnreachableError,
)
from jobtool.names import in_one_line
from jobtool.redact import redact

_MOST = 400

#: Where a message ends for people: Java's stack, Spark's copy of the query, its plan.
_END = re.compile(r"\n\s*at [\w.$]+|\n\s*== SQL|\n\s*Caused by|\n\s*Driver stack|(?<=\d);\s*\n")
_NOISE = re.compile(
    r"Error running query: (?:\[[\w.]+\] )?"
    r"|Error while (?:compiling|processing) statement: (?:FAILED: )?"
    r"|Job aborted due to stage failure: .*?\(TID \d+\)(?: \([^)]*\))?: "
    r"|\b(?:[A-Za-z_]\w*\.)+[A-Z]\w*(?:Exception|Error)\w*: "
    r"|^(?:Analysis|Parse|Authorization)Exception: ",
    re.DOTALL,
)
#: Values of the user's data, which must not decide.
_QUOTED = re.compile(r"'[^'\n]*'|\"[^\"\n]*\"|`[^`\n]*`")

_LOGIN = re.compile(
    r"GSS initiate failed|Error validating the login|ticket.{0,20}expired|No valid credentials"
    r"|Unauthenticated|Not authorized to connect|Failed to validate proxy privilege",
    re.IGNORECASE,
)
_TROUBLE = re.compile(
    r"Invalid (?:or unknown )?(?:Session ?Handle|Operation ?Handle|(?:session|query) (?:id|handle))"
    r"|Memory limit exceeded|MEM_LIMIT|OutOfMemory|Java heap space|GC overhead limit"
    r"|meta ?store|unreachable|Rejected query|Admission for query|ExecutorLost|Lost executor"
    r"|Container killed|has been shut ?down|SparkContext was|Connection (?:refused|reset)"
    r"|No space left|Scratch space limit",
    re.IGNORECASE,
)
_NO_SESSION = re.compile(
    r"Invalid (?:or unknown )?session ?(?:handle|id)|session.{0,60}expired", re.IGNORECASE
)
_ENDED = re.compile(r"cancel+ed|expired|timed? ?out|was killed|terminated", re.IGNORECASE)
_REFUSED = re.compile(
    r"(?:Analysis|Parse|Semantic|AccessControl|Authorization|NoSuchDatabase|NoSuchTable"
    r"|InvalidTable)\w*Exception|Permission denied|does not have privileges|Insufficient privil"
    r"|PARSE_SYNTAX_ERROR|Syntax error|cannot be found|does not exist|not found",
    re.IGNORECASE,
)
_CERTIFICATE = re.compile(r"CERTIFICATE_VERIFY_FAILED|certificate verify failed", re.IGNORECASE)

#: Classes of SQLSTATE: ISO/IEC 9075-2, table 38, and ODBC's HY008 (cancelled).
_DATA, _SYNTAX = "22", ("42", "3D", "3F")
_INTERRUPTED = ("57", "53")
_CANCELLED = "HY008"


def cleaned(message: str | None) -> str:
    """Return what a server says, on one line and without Java's part of it."""
    text = _END.split(message or "", maxsplit=1)[0]
    return redact(in_one_line(_NOISE.sub("", text), most=_MOST)) or "no message"


def of_query(message: str | None, state: str | None) -> JobtoolError:
    """Return the error for a query's message and its SQLSTATE."""
    said = cleaned(message)
    plain = _QUOTED.sub("", _END.split(message or "", maxsplit=1)[0])
    state = state or ""
    if _LOGIN.search(plain):
        return CredentialsError(f"the database doesn't accept the login any more: {said}")
    if state.startswith(_DATA):
        return QueryFailedError(f"the query failed: {said}")
    if _TROUBLE.search(plain) or state == _CANCELLED or state.startswith(_INTERRUPTED):
        return QueryInterruptedError(f"the database ended the query: {said}")
    if state.startswith(_SYNTAX) or _REFUSED.search(plain):
        return QueryRefusedError(f"the database refuses the query: {said}")
    if _ENDED.search(plain):
        return QueryInterruptedError(f"the database ended the query: {said}")
    return QueryFailedError(f"the query failed: {said}")


def ends_session(message: str | None) -> bool:
    """Return whether a server says that it doesn't know the session, or not any more."""
    return bool(_NO_SESSION.search(_QUOTED.sub("", message or "")))


def of_connecting(error: Exception, server: str, mechanism: str) -> JobtoolError:
    """Return the error for an attempt to connect that failed."""
    text = f"{error} {getattr(error, 'inner', None) or ''}"
    said = redact(in_one_line(str(error) or type(error).__name__, most=_MOST))
    code = getattr(error, "code", None)
    if _CERTIFICATE.search(text):
        return StoreSettingsError(
            f"{server}: this machine doesn't trust the server's certificate. Name the file of its "
            f"authority by ca_cert in the connection ({said})"
        )
    refused = "Bad status: 3" in text or "Bad status: 4" in text or _LOGIN.search(text)
    kerberos = type(error).__name__ == "GSSError" or mechanism == "GSSAPI"
    if kerberos and (refused or type(error).__name__ == "GSSError" or "SASL" in text):
        return CredentialsError(
            f"{server}: Kerberos doesn't let you in: {said}. Get a ticket by kinit (klist shows "
            "whether there is one); kerberos_service_name and krb_host must name the server's."
        )
    if refused or code in (401, 403):
        return CredentialsError(
            f"{server} doesn't accept the login by {mechanism}: {said}. Check the user in the "
            "connection, and the password in JOBTOOL_QUERY_PASSWORD"
        )
    if code in (404, 405):
        return StoreSettingsError(f"{server}: {said}. Check http_path in the connection.")
    return UnreachableError(
        f"can't connect to {server}: {said}. If it runs, check auth_mechanism ({mechanism}), "
        "use_ssl and use_http_transport in the connection: they must be the server's."
    )


def of_lost(error: Exception, server: str) -> JobtoolError:
    """Return the error for a connection that was lost after the session was opened."""
    said = redact(in_one_line(str(error) or type(error).__name__, most=_MOST))
    if getattr(error, "code", None) in (401, 403):
        return CredentialsError(f"{server} doesn't accept the login any more: {said}")
    return QueryInterruptedError(f"the connection to {server} was lost: {said}")
