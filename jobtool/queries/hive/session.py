"""A session at a server that speaks HiveServer2's protocol."""

from __future__ import annotations

import contextlib
import getpass
import logging
import socket
from collections.abc import Callable, Iterator
from typing import Any

from jobtool.errors import QueryFailedError, QueryRefusedError, UsageError
from jobtool.queries.hive import errors
from jobtool.queries.hive.login import Login

#: How long another connection may take to cancel a query.
_CANCEL_SECONDS = 15.0

#: The kernel asks a silent peer after this time, so often and so many times.
_KEEPALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 8}

#: How long a server may take to answer a login, if the connection doesn't say. One that expects
#: another mechanism may wait for ever.
_LOGIN_SECONDS = 120.0

_SILENT = logging.NullHandler()

#: A text in the protocol has a length of 32 bits with a sign.
_LONGEST_TEXT_BYTES = 2**31 - 1


class Session:
    """A connection and its session. It connects again if the connection was lost.

    ``opened`` is called for each new session, to prepare it.
    """

    def __init__(self, login: Login, opened: Callable[[], None]) -> None:
        self._login = login
        self._opened = opened
        self._service: Any = None
        self._handle: Any = None

    @property
    def is_open(self) -> bool:
        """Whether the session is there, as far as this end knows."""
        return self._service is not None

    def open(self) -> None:
        """Connect and open the session, unless it is open."""
        if self._service is not None:
            return
        login = self._login
        self._service = _connected(login)
        try:
            with self._lost_by_errors(connecting=True):
                answer = _call(
                    self._service,
                    "OpenSession",
                    client_protocol=_protocol(),
                    username=login.user or getpass.getuser(),
                    configuration=login.opening or None,
                )
            _check(answer)
            self._handle = answer.sessionHandle
            # thrift refuses texts above 16 MB until it is told otherwise.
            self._service.client._iprot.string_length_limit = _LONGEST_TEXT_BYTES
            for each in _sockets(self._service):
                each.settimeout(login.arguments["timeout"])
                _keep_alive(each)
            self._opened()
        except BaseException:
            self.close()
            raise

    def call_in_session(self, operation: str, **fields: Any) -> Any:
        """Call an operation of the session, which is opened first if need be."""
        self.open()
        return self.call(operation, sessionHandle=self._handle, **fields)

    def call(self, operation: str, **fields: Any) -> Any:
        """Call an operation of the protocol, and return its answer.

        Raises the errors of ``QuerySource``. After a lost connection the session is over.
        """
        if self._service is None:
            raise errors.of_lost(ConnectionError("it is closed"), self._login.server)
        with self._lost_by_errors():
            answer = _call(self._service, operation, **fields)
        if errors.ends_session(answer.status.errorMessage):
            self._drop()
        _check(answer)
        return answer

    def engine(self) -> str:
        """Return the server's name for itself: ``Apache Hive``, ``Spark SQL``, ``Impala``."""
        from impala.hiveserver2 import TGetInfoType

        try:
            answer = self.call_in_session("GetInfo", infoType=TGetInfoType.CLI_DBMS_NAME)
        except (QueryFailedError, QueryRefusedError):
            return ""
        return answer.infoValue.stringValue or ""

    def cancel(self, operation_handle: Any) -> bool:
        """End a query, from any thread: by a connection of its own. Return whether that was done.

        The query is closed as well. Spark cancels none that has its first rows.
        """
        try:
            with contextlib.closing(_connected(self._login, _CANCEL_SECONDS)) as service:
                for operation in ("CancelOperation", "CloseOperation"):
                    _check(_call(service, operation, operationHandle=operation_handle))
        except Exception:
            return False
        return True

    def shut_down(self) -> None:
        """End the connection under a thread that waits for an answer. Raises nothing."""
        for each in _sockets(self._service):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End the session. Raises nothing."""
        if self._service is not None:
            with contextlib.suppress(Exception):
                self.call("CloseSession", sessionHandle=self._handle)
        self._drop()

    @contextlib.contextmanager
    def _lost_by_errors(self, *, connecting: bool = False) -> Iterator[None]:
        """Give the connection up if a call doesn't return: its answer could come later."""
        try:
            yield
        except Exception as error:
            self._drop()
            login = self._login
            if connecting:
                raise errors.of_connecting(error, login.server, login.mechanism) from None
            raise errors.of_lost(error, login.server) from None
        except BaseException:
            self._drop()
            raise

    def _drop(self) -> None:
        service, self._service, self._handle = self._service, None, None
        if service is not None:
            with contextlib.suppress(Exception):
                service.close()


def _connected(login: Login, most_seconds: float = _LOGIN_SECONDS) -> Any:
    """Connect, and log in. Return impyla's service."""
    try:
        from impala.dbapi import connect
    except ImportError:
        raise UsageError(
            "impala:// and hive2:// need the package impyla: pip install 'jobtool[impala]'"
        ) from None
    # thrift logs what it raises too; without a handler, that lands on standard error.
    logging.getLogger("thrift").addHandler(_SILENT)
    arguments = dict(login.arguments)
    arguments["timeout"] = min(most_seconds, arguments["timeout"] or most_seconds)
    if arguments["use_http_transport"]:
        arguments["timeout"] = None  # impyla has none there
    try:
        return connect(**arguments, retries=1).service
    except Exception as error:
        raise errors.of_connecting(error, login.server, login.mechanism) from None


def _call(service: Any, operation: str, **fields: Any) -> Any:
    from impala import hiveserver2

    request = getattr(hiveserver2, f"T{operation}Req")(**fields)
    # Not by impyla's own methods: they hide SQLSTATE, know fewer types, and connect again by
    # themselves, to a server that then doesn't know the session.
    return getattr(service.client, operation)(request)


def _check(answer: Any) -> None:
    from impala.hiveserver2 import TStatusCode

    status = answer.status
    if status.statusCode in (TStatusCode.ERROR_STATUS, TStatusCode.INVALID_HANDLE_STATUS):
        raise errors.of_query(status.errorMessage or "Invalid OperationHandle", status.sqlState)


def _protocol() -> int:
    from impala.hiveserver2 import V6_VERSION

    return int(V6_VERSION)  # the first one with columns


def _sockets(service: Any) -> Iterator[socket.socket]:
    """Yield the socket below impyla's transports. There is none between two requests of HTTP."""
    transport = service and service.client._iprot.trans
    while transport is not None:
        request = getattr(transport, "_ImpalaHttpClient__http", None)
        handle = getattr(transport, "handle", None) or getattr(request, "sock", None)
        if isinstance(handle, socket.socket):
            yield handle
        inner = getattr(transport, "_TBufferedTransport__trans", None)
        transport = inner or getattr(transport, "_trans", None)


def _keep_alive(connection: socket.socket) -> None:
    """Have the kernel notice a network or a host that is gone, after three minutes."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE.items():
            if hasattr(socket, name):
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
