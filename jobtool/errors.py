"""The tree of jobtool's errors.

Each has a scope, an exit code and a flag that says whether another try may help.

``scope`` is what an error is about. It decides what can continue: the other files of the job
(``file``), the other jobs (``job``), or nothing (``store``). Some answers are ambiguous: a store
answers "denied" for one key and for all keys alike. Their scope is ``uncertain``, and the engine
decides by what happens to other files.

A message names the thing, what was expected, what was found and what to do. It never holds a
credential. Commands print it as one line and exit with ``exit_code``; library users catch
``JobtoolError`` or one of its branches.

Exit codes: 1 a job or a file is in error · 2 wrong usage or configuration · 3 stopped early, work
is left · 4 environment problem: credentials, storage or network · 5 all that is left waits for
files that can't be read yet.
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
    """The command line or a configuration file asks for something invalid."""

    exit_code = 2


class JoblistError(UsageError):
    """A folder isn't a joblist, or its joblist.toml can't be used."""


class LayoutError(UsageError):
    """A layout is malformed, or the source tree doesn't fit it."""


class RouteError(UsageError):
    """A file of sites and routes is malformed, or has no way between two sites."""


class CatalogError(JobtoolError):
    """A file of a catalog isn't one, or a catalog can't be read as a whole."""


class StagingError(JobtoolError):
    """Items can't be staged, or staged files can't be freed, as they are now."""


class JobFileError(JobtoolError):
    """A job file is malformed. The job is invalid and is never claimed."""


class UnmetRequirementError(JobFileError):
    """A valid job needs something that isn't installed: a newer version, or a step's plug-in."""


class FileError(JobtoolError):
    """One file can't be transferred, and another try would fail the same way."""

    scope = Scope.FILE


class SourceError(FileError):
    """A source file or folder is missing or can't be read."""


class NotFoundError(SourceError):
    """A path doesn't exist."""


class SourceChangedError(SourceError):
    """A source file has changed since it was listed."""

    retryable = True


class SourceDigestError(SourceError):
    """The digest of the bytes read differs from the one in the source's own metadata."""

    retryable = True


class DamagedSourceError(SourceDigestError):
    """The bytes read don't have the digest that is known for them, and won't by another read."""

    retryable = False


class DigestMismatchError(FileError):
    """The destination didn't hold what was sent. What was written has been removed."""

    retryable = True


class StoreError(FileError):
    """A store failed in a way that may pass: a reset connection, a 500, a stale handle."""

    retryable = True


class NotYetError(FileError):
    """A file can't be read yet: its store was asked for it, and fetches it from an archive or tape.

    The job goes on with its other files, and is handed back until ``seconds`` from now. That isn't
    a failure of the file or of the job. ``files`` is the number of such files.
    """

    exit_code = 5

    def __init__(self, message: str, *, seconds: float, files: int = 1) -> None:
        super().__init__(message)
        self.seconds = seconds
        self.files = files


class PackageError(FileError):
    """A package's tar, index, manifest or list of members isn't one, or they don't fit together."""


class RefusedError(FileError):
    """A store refuses access (403, EACCES, EPERM): to this one file, or to every file."""

    scope = Scope.UNCERTAIN


class ServerError(StoreError):
    """A server fails (500, 502, 504) on a request for one file: for this one, or for every file."""

    scope = Scope.UNCERTAIN


class StoppedError(JobtoolError):
    """A stop was requested. Unfinished work is left for the next worker."""

    exit_code = 3


class ClaimLostError(JobtoolError):
    """Another worker may have claimed the job: this worker must not write any more."""


class MembershipLostError(ClaimLostError):
    """The joblist's other workers may have declared this one dead."""

    exit_code = 3


class InfrastructureError(JobtoolError):
    """An environment problem, not a fault of the job. The job is handed back."""

    scope = Scope.STORE
    exit_code = 4


class CredentialsError(InfrastructureError):
    """There are no credentials, or the store doesn't accept them."""


class StoreUnavailableError(InfrastructureError):
    """A store is missing, full or read-only."""


class StoreSettingsError(StoreUnavailableError):
    """A setting of a store is invalid: its endpoint, its region, a proxy, a file."""

    exit_code = 2


class JoblistUnavailableError(InfrastructureError):
    """The joblist can't be read or written: it or its filesystem is gone, full or read-only."""


class UnreachableError(StoreUnavailableError):
    """A store doesn't answer, or answers only with server errors. It may come back."""

    retryable = True


class QueryRefusedError(InfrastructureError):
    """A database refuses a query: its syntax, a missing table, no permission.

    It refuses the query of each job of the joblist alike.
    """

    exit_code = 2


class QueryFailedError(JobtoolError):
    """A query failed on its data, and would fail the same way again: a cast, a division by zero."""


class QueryInterruptedError(JobtoolError):
    """A database ended a query, or the connection was lost while rows were read. This may pass."""

    retryable = True


class ExhaustedError(InfrastructureError):
    """The process or machine has run out of memory or open files. This may pass."""

    retryable = True


def reason_of(error: Exception) -> str:
    """Return why an operation failed, without the path that a message already names."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
