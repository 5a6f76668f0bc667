"""HDFS by HTTP (WebHDFS). Source: Hadoop, "WebHDFS REST API".

The NameNode answers what is about names, and redirects what is about bytes to a DataNode. A
password or token is only in the query of a URL, so no message shows one.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote as percent_encode
from urllib.parse import urlencode, urlsplit

import urllib3
from urllib3.exceptions import HTTPError, NewConnectionError, ReadTimeoutError

from jobtool.errors import (
    CredentialsError,
    JobtoolError,
    NotFoundError,
    ServerError,
    StoreError,
    StoreSettingsError,
    UnreachableError,
)
from jobtool.names import quote
from jobtool.redact import Unshown
from jobtool.stores.hdfs.body import Body
from jobtool.stores.hdfs.client import Checksummed, Status, Usage
from jobtool.stores.hdfs.errors import InTheWayError, brief, judge, unreachable

_API = "/webhdfs/v1"
_CONNECT_SECONDS, _READ_SECONDS = 20.0, 120.0

#: NameNodes refuse requests with longer headers than 64 KiB.
_CONCAT_CHARACTERS = 16 * 1024

_HOSTS = 64

#: How long a DataNode may take to make a file after the beginning of a request.
_LOOKS, _LOOK_SECONDS = 100, 0.05


class WebSetup(Unshown, frozen=True, kw_only=True):
    """How files are written, and who says so.

    ``token`` is a delegation token, as text. ``ca_bundle`` is a file of certificates to trust.
    """

    user: str = ""
    token: str = ""
    replication: int | None = None
    block_bytes: int | None = None
    ca_bundle: str | None = None
    connections: int = 16

    shown_fields = ("user", "replication", "block_bytes", "ca_bundle", "connections")


def user_name() -> str:
    """Return the name of this process's user in a cluster without Kerberos."""
    user = os.environ.get("HADOOP_USER_NAME", "")
    if not user:
        try:
            user = getpass.getuser()
        except (KeyError, OSError):  # a number without a name, as in containers
            user = str(os.getuid())
    return user


class WebClient:
    """A cluster's client. ``servers`` are the NameNodes' URLs; one of them is active."""

    def __init__(self, servers: Sequence[str], setup: WebSetup, *, root: str = "") -> None:
        self.servers = [server.rstrip("/") for server in servers]
        self._setup = setup
        self._root = root or self.servers[0]
        self._active = 0
        try:
            self._pool = urllib3.PoolManager(
                num_pools=_HOSTS,
                maxsize=setup.connections,
                retries=False,
                timeout=urllib3.Timeout(connect=_CONNECT_SECONDS, read=_READ_SECONDS),
                ca_certs=setup.ca_bundle,
                cert_reqs="CERT_REQUIRED",
            )
        except OSError as error:
            raise StoreSettingsError(f"ca_bundle {quote(str(setup.ca_bundle))}: {error}") from None

    def status(self, path: str) -> Status | None:
        """Return what is at a path, or None if nothing is."""
        try:
            found = self._json("GET", path, "GETFILESTATUS")
        except (NotFoundError, InTheWayError):
            return None
        return self._status(self._field(path, found, "FileStatus"))

    def list(self, path: str) -> Iterator[Status]:
        """Yield what is in a folder, a page at a time."""
        after: dict[str, object] = {}
        while True:
            found = self._json("GET", path, "LISTSTATUS_BATCH", **after)
            listing = self._field(path, found, "DirectoryListing")
            page = self._field(path, listing, "partialListing", "FileStatuses", "FileStatus")
            for each in page:
                yield self._status(each)
            if not self._field(path, listing, "remainingEntries"):
                return
            if not page or after.get("startafter") == page[-1]["pathSuffix"]:
                raise StoreError(f"{quote(self._root + path)}: the listing doesn't go on")
            after = {"startafter": page[-1]["pathSuffix"]}

    def read(self, path: str, offset: int, length: int) -> bytes | None:
        """Return bytes of a file; None if it is shorter."""
        if not length:
            return b""
        answer = self._moved("GET", path, "OPEN", offset=offset, length=length)
        return answer.data if len(answer.data) == length else None

    def create(
        self, path: str, chunks: Iterable[bytes | memoryview], *, mode: int, parents: bool
    ) -> None:
        """Write a file and replace the one that is there."""
        options = {
            "overwrite": "true",
            "permission": f"{mode:o}",
            "createparent": "true" if parents else "false",
            "replication": self._setup.replication,
            "blocksize": self._setup.block_bytes,
        }
        body = Body(chunks)
        try:
            self._moved("PUT", path, "CREATE", body=body, **options)
        except BaseException:
            if body.has_failed:
                self._await(path)
            raise

    def _await(self, path: str) -> None:
        """Wait until a DataNode has made a file, so that the caller can remove it."""
        with contextlib.suppress(JobtoolError):
            for _ in range(_LOOKS):
                if self.status(path) is not None:
                    return
                time.sleep(_LOOK_SECONDS)

    def rename(self, path: str, target: str, *, replace: bool) -> None:
        """Rename a file in one step."""
        options = "OVERWRITE" if replace else "NONE"
        self._asked("PUT", path, "RENAME", destination=target, renameoptions=options)

    def set_time(self, path: str, mtime_ms: int) -> None:
        """Set a file's time, 1970 or later."""
        self._asked("PUT", path, "SETTIMES", modificationtime=mtime_ms, accesstime=-1)

    def set_mode(self, path: str, mode: int) -> None:
        """Set a file's permissions."""
        self._asked("PUT", path, "SETPERMISSION", permission=f"{mode:o}")

    def delete(self, path: str, *, recursive: bool = False) -> None:
        """Remove a file or folder, if it is there."""
        self._asked("DELETE", path, "DELETE", recursive="true" if recursive else "false")

    def usage(self, path: str) -> Usage:
        """Return a folder's own quotas, and how much of them is used."""
        answer = self._json("GET", path, "GETCONTENTSUMMARY")
        found = self._field(path, answer, "ContentSummary")
        try:
            return Usage(
                names=found["fileCount"] + found["directoryCount"],
                names_quota=found["quota"],
                space_bytes=found["spaceConsumed"],
                space_quota_bytes=found["spaceQuota"],
            )
        except (KeyError, TypeError):
            raise unreachable(
                self.servers[self._active], "its answer isn't one of WebHDFS"
            ) from None

    def make_folder(self, path: str) -> None:
        """Make a folder and those above it."""
        self._asked("PUT", path, "MKDIRS", permission="755")

    def checksum(self, path: str) -> Checksummed:
        """Return HDFS's checksum of a file."""
        try:
            found = self._parsed(path, self._moved("GET", path, "GETFILECHECKSUM"))["FileChecksum"]
            algorithm, text, size = found["algorithm"], found["bytes"], 2 * found["length"]
            # 4 bytes of the size of a chunk, 8 of the number in a block, 16 of the MD5. Padding.
            value = text[24:56] if algorithm.startswith("MD5-of-") else text[:size]
        except (AttributeError, KeyError, TypeError):
            raise unreachable(
                self.servers[self._active], "its answer isn't one of WebHDFS"
            ) from None
        return Checksummed(algorithm=algorithm, value=value)

    def concat(self, path: str, others: Sequence[str]) -> None:
        """Move the blocks of other files to the end of a file, some files at each request.

        If that breaks off, the file has the first of them.
        """
        batch: list[str] = []
        for other in others:
            if batch and sum(map(len, map(percent_encode, (*batch, other)))) > _CONCAT_CHARACTERS:
                self._asked("POST", path, "CONCAT", sources=",".join(batch))
                batch = []
            batch.append(other)
        if batch:
            self._asked("POST", path, "CONCAT", sources=",".join(batch))

    def _json(self, method: str, path: str, op: str, **query: object) -> Any:
        return self._parsed(path, self._asked(method, path, op, **query))

    def _asked(self, method: str, path: str, op: str, **query: object) -> urllib3.BaseHTTPResponse:
        """Ask the active NameNode, or the next one if that isn't it. Follow no redirect."""
        failure: JobtoolError | None = None
        for turn in range(len(self.servers)):
            number = (self._active + turn) % len(self.servers)
            url = f"{self.servers[number]}{_API}{percent_encode(path)}?{self._query(op, query)}"
            try:
                answer = self._sent(method, url, self.servers[number])
                self._check(answer, path, self.servers[number])
            except UnreachableError as error:
                failure = failure or error
                continue
            self._active = number
            return answer
        assert failure is not None
        raise failure

    def _moved(
        self, method: str, path: str, op: str, body: Iterable[bytes] | None = None, **query: object
    ) -> urllib3.BaseHTTPResponse:
        """Ask the NameNode, then the DataNode that it names."""
        answer = self._asked(method, path, op, **query)
        place = answer.headers.get("Location")
        if answer.status not in (302, 303, 307) or place is None:
            if body is None:
                return answer
            raise unreachable(self.servers[self._active], "it takes bytes without a DataNode")
        parts = urlsplit(place)
        # A NameNode's Location is in Unicode's form NFC, and the name perhaps isn't.
        place = parts._replace(path=_API + percent_encode(path)).geturl()
        server = f"DataNode {parts.scheme}://{parts.netloc}"
        try:
            answer = self._sent(method, place, server, body)
        except UnreachableError as error:  # other files may be at other DataNodes
            raise ServerError(f"{quote(self._root + path)}: {error}") from None
        self._check(answer, path, server)
        return answer

    def _query(self, op: str, query: Mapping[str, object]) -> str:
        who = (
            {"delegation": self._setup.token}
            if self._setup.token
            else {"user.name": self._setup.user}
        )
        given = {key: value for key, value in query.items() if value is not None}
        return urlencode({"op": op, **who, **given})

    def _sent(
        self, method: str, url: str, server: str, body: Iterable[bytes] | None = None
    ) -> urllib3.BaseHTTPResponse:
        headers = {"Content-Type": "application/octet-stream"} if body is not None else {}
        try:
            return self._pool.request(method, url, body=body, headers=headers, redirect=False)
        except NewConnectionError as error:
            raise unreachable(server, _without_query(error)) from None
        except ReadTimeoutError:
            raise unreachable(server, f"no answer in {_READ_SECONDS:.0f} s") from None
        except (HTTPError, OSError) as error:
            raise unreachable(server, _without_query(error)) from None

    def _check(self, answer: urllib3.BaseHTTPResponse, path: str, server: str) -> None:
        """Raise the error of an answer that isn't a success or a redirect."""
        if answer.status < 400:
            return
        url = self._root + path
        try:
            told = json.loads(answer.data)["RemoteException"]
            java_class = str(told.get("javaClassName") or told["exception"])
            message = str(told.get("message", ""))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise self._odd(answer, url, server) from None
        raise judge(java_class, message, url, server)

    @staticmethod
    def _odd(answer: urllib3.BaseHTTPResponse, url: str, server: str) -> JobtoolError:
        if answer.status == 401:
            return CredentialsError(
                f"{quote(url)}: {server} wants a login (401), such as Kerberos. Get a delegation "
                "token, and put it into the environment variable HADOOP_TOKEN."
            )
        if answer.status in (502, 503, 504):
            return unreachable(server, f"it answers {answer.status}")
        if answer.status >= 500:
            return ServerError(f"{quote(url)}: {server} answers {answer.status}")
        return unreachable(server, f"it answers {answer.status}, which isn't WebHDFS")

    def _parsed(self, path: str, answer: urllib3.BaseHTTPResponse) -> Any:
        try:
            return json.loads(answer.data)
        except ValueError:
            server = self.servers[self._active]
            raise unreachable(server, "its answer isn't one of WebHDFS") from None

    def _field(self, path: str, found: Any, *names: str) -> Any:
        for name in names:
            try:
                found = found[name]
            except (KeyError, TypeError):
                raise unreachable(
                    self.servers[self._active],
                    f"its answer about {quote(path)} lacks {name}, so it isn't WebHDFS",
                ) from None
        return found

    def _status(self, found: Any) -> Status:
        try:
            return Status(
                name=found["pathSuffix"],
                size=found["length"],
                mtime_ms=found["modificationTime"],
                is_folder=found["type"] == "DIRECTORY",
                mode=int(found["permission"], 8) & 0o777,
                block_bytes=found.get("blockSize", 0),
                is_encrypted=bool(found.get("encBit", False)),
                number=found.get("fileId"),
            )
        except (KeyError, TypeError, ValueError):
            raise unreachable(
                self.servers[self._active], "its answer isn't one of WebHDFS"
            ) from None


def _without_query(error: Exception) -> str:
    """Return why a connection fails. URLs in it lose their query, which may hold a token."""
    reason = getattr(error, "reason", None) or error
    text = re.sub(r"\?\S*", "", str(reason))
    text = re.sub(r"<[^>]*>: |\w*Connection\w*\(host='[^']*', port=\d+\): ", "", text)
    return brief(text)
