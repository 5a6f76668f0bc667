"""The errors of HDFS: the Java exceptions that its servers name, and failures to reach them."""

from __future__ import annotations

import re

from jobtool.errors import (
    CredentialsError,
    FileError,
    JobtoolError,
    NotFoundError,
    RefusedError,
    ServerError,
    StoreError,
    StoreUnavailableError,
    UnreachableError,
)
from jobtool.names import quote
from jobtool.stores.verdict import Verdict


class ExistsError(FileError):
    """A file exists and must not be replaced."""


class InTheWayError(FileError):
    """A file is in the place of a folder, or the other way round."""


class UnsupportedError(FileError):
    """HDFS can't do this with these files, or has no such call."""


def _rows(error: type[JobtoolError], meaning: str, *codes: str) -> list[Verdict]:
    return [Verdict(code=code, error=error, meaning=meaning) for code in codes]


#: By the names of Java's classes, without their packages.
VERDICTS = {
    verdict.code: verdict
    for verdict in (
        *_rows(NotFoundError, "there is nothing there", "FileNotFoundException"),
        *_rows(
            RefusedError,
            "access is denied. Check the permissions, and who HADOOP_USER_NAME or the ticket says "
            "you are",
            "AccessControlException",
        ),
        *_rows(ExistsError, "it exists already", "FileAlreadyExistsException"),
        *_rows(
            InTheWayError,
            "a file is in the place of a folder, or the other way round",
            "ParentNotDirectoryException",
            "PathIsNotEmptyDirectoryException",
            "PathIsNotDirectoryException",
        ),
        *_rows(
            FileError,
            "HDFS can't hold this name",
            "InvalidPathException",
            "FSLimitException$PathComponentTooLongException",
            "PathComponentTooLongException",
        ),
        *_rows(
            StoreUnavailableError,
            "the folder has as many entries as HDFS allows",
            "FSLimitException$MaxDirectoryItemsExceededException",
            "MaxDirectoryItemsExceededException",
        ),
        *_rows(
            StoreUnavailableError,
            "a quota is used up. Free some space, or have it raised",
            "NSQuotaExceededException",
            "DSQuotaExceededException",
            "QuotaByStorageTypeExceededException",
            "QuotaExceededException",
        ),
        *_rows(
            UnreachableError,
            "the NameNode is in safe mode, so nothing can be written",
            "SafeModeException",
        ),
        *_rows(UnreachableError, "no NameNode is active", "StandbyException"),
        *_rows(
            CredentialsError,
            "the credentials aren't accepted",
            "AuthenticationException",
            "AuthorizationException",
            "KerberosAuthException",
            "SaslException",
            "SecretManager$InvalidToken",
            "InvalidToken",
            "SecurityException",
        ),
        *_rows(
            StoreError,
            "the file is being written by another client, or was until a moment ago",
            "AlreadyBeingCreatedException",
            "LeaseExpiredException",
            "RecoveryInProgressException",
            "NotReplicatedYetException",
            "RetriableException",
            "BlockMissingException",
        ),
        *_rows(
            UnsupportedError,
            "HDFS can't do this here",
            "UnsupportedOperationException",
            "HadoopIllegalArgumentException",
            "IllegalArgumentException",
            "RpcNoSuchMethodException",
        ),
        *_rows(
            ServerError, "the server fails", "NullPointerException", "RuntimeException", "Error"
        ),
        *_rows(StoreError, "the request fails", "IOException", "RemoteException"),
    )
}

#: Exceptions whose class says less than their message.
_BY_MESSAGE = (
    (re.compile(r"is not a directory"), VERDICTS["ParentNotDirectoryException"]),
    (re.compile(r"must both be directories"), VERDICTS["ParentNotDirectoryException"]),
    (
        re.compile(r"could only be (written|replicated) to"),
        Verdict(
            code="IOException",
            error=ServerError,
            meaning="no DataNode takes the bytes. Are they full or down?",
        ),
    ),
    (
        re.compile(r"block size .* is less than|replication factor .* (exceeds|is less)"),
        Verdict(
            code="IOException",
            error=StoreUnavailableError,
            meaning="a setting in joblist.toml doesn't fit this cluster",
        ),
    ),
)

_UNKNOWN = Verdict(code="", error=StoreError, meaning="the request fails")


def judge(java_class: str, message: str, url: str, server: str) -> JobtoolError:
    """Return the error for an exception that a server names. ``url`` is the path's."""
    name = java_class.rpartition(".")[2]
    for pattern, fitting in _BY_MESSAGE:
        if pattern.search(message):
            verdict = fitting
            break
    else:
        verdict = VERDICTS.get(name) or VERDICTS.get(name.rpartition("$")[2]) or _UNKNOWN
    # Messages about credentials may repeat them.
    says = "" if verdict.error is CredentialsError else brief(message)
    return verdict.error(
        f"{quote(url)}: {verdict.meaning} ({server} answers {name}{says and ': ' + says})"
    )


def unreachable(server: str, reason: str) -> UnreachableError:
    """Return the error for a server that doesn't answer, or not as HDFS does."""
    return UnreachableError(f"can't reach {server}: {reason}. Is the address right, and is it up?")


def brief(text: str) -> str:
    """Return the first line of a server's message, without its stack, in at most 300 characters."""
    first = re.split(r"\\?[\r\n]|\\n|\n?\\?t?\tat ", text, maxsplit=1)[0]
    return quote(" ".join(first.split())[:300])
