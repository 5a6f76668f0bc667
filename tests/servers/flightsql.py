"""A small Flight SQL server on loopback: pyarrow's Flight, with DuckDB behind it.

It knows what a client needs to run a query: ``CommandStatementQuery`` for GetFlightInfo, a ticket
for DoGet, statements that are prepared for their schemas, and a login with a password. Messages are
those of FlightSql.proto (https://arrow.apache.org/docs/format/FlightSql.html), which are read here
byte by byte.
"""

from __future__ import annotations

import base64
import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.flight as flight

LOGIN, PASSWORD, TOKEN = "reader", "password-of-flight", "token-of-tests"


def _field(message: bytes, wanted: int) -> bytes:
    """Return a field of bytes of a protobuf message whose fields are all of bytes."""
    at = 0
    while at < len(message):
        number, at = message[at] >> 3, at + 1
        size = shift = 0
        while True:
            byte, at = message[at], at + 1
            size |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        if number == wanted:
            return message[at : at + size]
        at += size
    return b""


def _message(**fields: bytes) -> bytes:
    """Return a protobuf message of fields of bytes: ``f1``, ``f2`` and so on."""
    message = b""
    for name, value in fields.items():
        message += bytes([int(name[1:]) << 3 | 2])
        size = len(value)
        while size > 0x7F:
            message += bytes([size & 0x7F | 0x80])
            size >>= 7
        message += bytes([size]) + value
    return message


class _Login(flight.ServerMiddleware):
    def sending_headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {TOKEN}"}


class _Logins(flight.ServerMiddlewareFactory):
    def start_call(self, info: Any, headers: dict[str, list[str]]) -> Any:
        basic = base64.b64encode(f"{LOGIN}:{PASSWORD}".encode()).decode().rstrip("=")
        given = {each.rstrip("=") for each in headers.get("authorization", [])}
        if given & {f"Basic {basic}", f"Bearer {TOKEN}"}:
            return _Login()
        raise flight.FlightUnauthenticatedError("no valid login")


class _NoHandshake(flight.ServerAuthHandler):
    def authenticate(self, outgoing: Any, incoming: Any) -> None:
        pass

    def is_valid(self, token: bytes) -> bytes:
        return b""


class _Server(flight.FlightServerBase):
    def _relation(self, query: str) -> Any:
        try:
            found = duckdb.connect().sql(query)
            return found.limit(0).to_arrow_table().schema, found
        except duckdb.Error as error:
            raise pa.ArrowInvalid(str(error)) from None

    def _query(self, descriptor: Any) -> str:
        command = _field(descriptor.command, 2)
        return _field(command, 1).decode()

    def get_flight_info(self, context: Any, descriptor: Any) -> Any:
        query = self._query(descriptor)
        schema, _ = self._relation(query)
        endpoint = flight.FlightEndpoint(query.encode(), [])
        return flight.FlightInfo(schema, descriptor, [endpoint], -1, -1)

    def do_action(self, context: Any, action: Any) -> Iterator[bytes]:
        if action.type == "CreatePreparedStatement":
            query = _field(_field(action.body.to_pybytes(), 2), 1)
            schema, _ = self._relation(query.decode())
            made = _message(f1=query, f2=schema.serialize().to_pybytes())
            kind = b"type.googleapis.com/arrow.flight.protocol.sql."
            yield _message(f1=kind + b"ActionCreatePreparedStatementResult", f2=made)

    def do_get(self, context: Any, ticket: Any) -> Any:
        schema, found = self._relation(ticket.ticket.decode())
        rows = found.to_arrow_reader(1000)

        def batches() -> Iterator[pa.RecordBatch]:
            for batch in rows:
                if context.is_cancelled():
                    return
                yield batch

        return flight.GeneratorStream(schema, batches())


@contextlib.contextmanager
def flight_server() -> Iterator[int]:
    """Run the server in this process; yield its port."""
    server = _Server(
        "grpc://127.0.0.1:0", auth_handler=_NoHandshake(), middleware={"login": _Logins()}
    )
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    try:
        yield server.port
    finally:
        server.shutdown()
        thread.join(10)
