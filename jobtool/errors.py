"""One tree of errors: each knows its scope, its exit code and whether another try may help.

``scope`` says what an error is about, and so what may go on: the other files of the job (``file``),
the other jobs (``job``), or nothing (``store``). Some answers don't tell: a store says "denied" for
one key and for all keys alike. Those are ``uncertain``, and the engine decides on evidence.

A message names the thing, what was expected, what was found and what to do. It never holds a
credential. Commands print it as one line and exit with ``exit_code``; library users catch
``JobtoolError`` or one of its branches.

Exit codes: 1 a job or a file is in error · 2 wrong usage or configuration · 3 stopped early, work
is left · 4 environment problem: credentials, storage or network.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar


class Scope(StrEnum):
    """What an error is about."""

    FILE = "file"
    JOB = "job"
    STORE = "store"
    UNCERTAIN = "uncertain"


class JobtoolError(Exception):
    """The root of every error that jobtool raises on purpose."""

    scope: ClassVar[Scope] = Scope.JOB
    exit_code: ClassVar[int] = 1
    retryable: ClassVar[bool] = False


class UsageError(JobtoolError):
    """The command line or a configuration file asks for something that makes no sense."""

    exit_code = 2


class JoblistError(UsageError):
    """A folder is no joblist, or its joblist.toml can't be used."""


class LayoutError(UsageError):
    """A layout is malformed, or the source tree doesn't fit it."""


class JobFileError(JobtoolError):
    """A job file can't be read as one; the job is invalid and never claimed."""


class FileError(JobtoolError):
    """One file can't be transferred, and another try would end the same."""

    scope = Scope.FILE


class SourceError(FileError):
    """A source file or folder is missing or can't be read."""


class NotFoundError(SourceError):
    """There is nothing at a path."""


class SourceChangedError(SourceError):
    """A source file isn't the one that was listed: it was changed meanwhile."""

    retryable = True


class SourceDigestError(SourceError):
    """What was read has another digest than the source's own metadata says."""

    retryable = True


class DigestMismatchError(FileError):
    """The destination doesn't hold what was sent; what was written has been removed."""

    retryable = True


class StoreError(FileError):
    """A store failed in a way that may pass: a reset connection, a 500, a stale handle."""

    retryable = True


class RefusedError(FileError):
    """A store refuses access (403, EACCES, EPERM): to this one file, or to every file."""

    scope = Scope.UNCERTAIN


class ServerError(StoreError):
    """A server fails to answer a request for one file (500, 502, 504): for this one, or for all."""

    scope = Scope.UNCERTAIN


class StoppedError(JobtoolError):
    """The work was asked to stop; what is under way is left for the next worker."""

    exit_code = 3


class ClaimLostError(JobtoolError):
    """Another worker may have the job now: nothing must be written any more."""


class MembershipLostError(ClaimLostError):
    """The joblist's other workers may have taken this one for dead."""

    exit_code = 3


class InfrastructureError(JobtoolError):
    """Credentials, storage or network failed, not the job: the job is handed back."""

    scope = Scope.STORE
    exit_code = 4


class CredentialsError(InfrastructureError):
    """There are no credentials, or the store doesn't accept them."""


class StoreUnavailableError(InfrastructureError):
    """A store is missing, full or read-only."""


class StoreSettingsError(StoreUnavailableError):
    """The settings of a store make no sense: of its endpoint, its region, a proxy, a file."""

    exit_code = 2


class JoblistUnavailableError(InfrastructureError):
    """The joblist can't be read or written: it or its filesystem is gone, full or read-only."""


class UnreachableError(StoreUnavailableError):
    """A store doesn't answer, or only with server errors; it may come back."""

    retryable = True


class ExhaustedError(InfrastructureError):
    """Memory or open files have run out for this process or machine; that may pass."""

    retryable = True


def reason_of(error: Exception) -> str:
    """Return why an operation failed, without the path that a message already names."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
