"""Translate the answers of FTP servers, and failures without an answer, into jobtool's errors."""

from __future__ import annotations

import ftplib
import re
import socket
import ssl

from jobtool.errors import (
    CredentialsError,
    JobtoolError,
    NotFoundError,
    RefusedError,
    ServerError,
    SourceError,
    StoreError,
    StoreUnavailableError,
    UnreachableError,
)
from jobtool.names import in_one_line, quote

#: What ftplib raises for an error answer, or for none.
CLIENT_ERRORS: tuple[type[Exception], ...] = ftplib.all_errors

_DENIED = re.compile(r"permi|denied|privileg|not allowed|forbidden|access", re.IGNORECASE)


def of_failure(error: Exception, url: str, root: str, *, connecting: bool = False) -> JobtoolError:
    """Return the error for a command at ``url`` that failed. ``root`` names the server.

    ``connecting`` says that the failure came before the first command about a file.
    """
    line = in_one_line(str(error) or type(error).__name__, most=300)
    if isinstance(error, ssl.SSLCertVerificationError):
        return StoreUnavailableError(
            f"{quote(url)}: this machine doesn't trust the certificate of {root} ({line}). Name "
            "the file of its authority by [ftps] ca_bundle in joblist.toml, or by SSL_CERT_FILE."
        )
    if isinstance(error, socket.gaierror):
        return UnreachableError(f"can't reach {root}: there is no host of this name ({line})")
    if isinstance(error, (ftplib.error_perm, ftplib.error_temp)):
        return _of_answer(line, url, root, connecting)
    if connecting and isinstance(error, (ftplib.Error, EOFError, ssl.SSLError)):
        return StoreUnavailableError(f"{root} doesn't speak FTP ({line}). Is the port right?")
    if connecting:
        return UnreachableError(f"can't reach {root}: {line}. Is the address right and up?")
    return ServerError(f"{quote(url)}: the answer broke off, or there was none ({root}: {line})")


def _of_answer(line: str, url: str, root: str, connecting: bool) -> JobtoolError:
    code = line[:3]
    said = f"{root} answers {line}"
    if code == "530":
        return CredentialsError(
            f"{quote(url)}: the server wants another login: put it into ~/.netrc ({said})"
        )
    if code.startswith("4"):
        return StoreError(f"{quote(url)}: the server can't do it now ({said})")
    if connecting:
        return StoreUnavailableError(
            f"{quote(url)}: the server refuses the connection ({said}). Is it ftps:// instead of "
            "ftp://, or the other way round?"
        )
    if code in ("550", "553") and _DENIED.search(line):
        return RefusedError(f"{quote(url)}: the server refuses access ({said})")
    if code == "550":  # RFC 959: not found, no access, and others
        return NotFoundError(f"expected something at {quote(url)}; found nothing ({said})")
    return SourceError(f"{quote(url)}: the server refuses the command ({said})")
