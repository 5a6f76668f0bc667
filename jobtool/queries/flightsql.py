"""Arrow Flight SQL (https://arrow.apache.org/docs/format/FlightSql.html) by its ADBC driver.

``grpc+tls://USER@HOST:PORT``, or ``flightsql://``, which is the same; ``grpc://`` is without TLS.
Options are the driver's, whole names such as ``adbc.flight.sql.rpc.timeout_seconds.query``, and
``tls_root_certs``, a file of certificates.
"""

from __future__ import annotations

from typing import Any

from jobtool.errors import UsageError
from jobtool.queries.adbc import AdbcKind, AdbcSource, Convert, load
from jobtool.queries.dialect import Dialect
from jobtool.queries.pgtypes import uuid_texts
from jobtool.queries.source import QuerySource, QuerySourceType
from jobtool.queries.url import ConnectionUrl
from jobtool.redact import redact

_PORT = 31337  # what servers of Flight SQL listen on unless told otherwise
_ROOTS = "adbc.flight.sql.client_option.tls_root_certs"


def adapt(field: Any) -> tuple[Any, Convert | None]:
    """Return a field as jobtool gives it: extension types by what they are stored as."""
    import pyarrow as pa

    extension = getattr(field.type, "extension_name", None)
    if extension == "arrow.uuid":
        return pa.field(field.name, pa.string()), lambda array: uuid_texts(array.storage)
    if extension is not None:
        return pa.field(field.name, field.type.storage_type), lambda array: array.storage
    return field.remove_metadata(), None


KIND = AdbcKind(name="Flight SQL", dialect=Dialect(), adapt=adapt)


def settings(url: ConnectionUrl, password: str | None) -> tuple[str, dict[str, str]]:
    """Return the driver's address and options; raises ``UsageError``."""
    is_plain = url.scheme == "grpc" and url.driver in (None, "tcp")
    if not is_plain and url.driver not in (None, "tls"):
        raise UsageError(
            f"connection: expected grpc://, grpc+tls:// or flightsql://; found {url.scheme}+"
            f"{url.driver}://"
        )
    if not url.host:
        raise UsageError("connection: expected a host, as in grpc+tls://HOST:PORT; found none")
    host = f"[{url.host}]" if ":" in url.host else url.host
    address = f"grpc+{'tcp' if is_plain else 'tls'}://{host}:{url.port or _PORT}"
    options: dict[str, str] = {}
    if url.user is not None:
        options["username"] = url.user
    if password is not None:
        options["password"] = password
    if url.database:
        options["adbc.flight.sql.rpc.call_header.database"] = url.database
    for key, value in url.options.items():
        if key == "tls_root_certs":
            try:
                with open(value, encoding="ascii") as file:
                    options[_ROOTS] = file.read()
            except (OSError, UnicodeDecodeError) as error:
                raise UsageError(f"connection, tls_root_certs: {error}") from None
        elif key.startswith("adbc."):
            options[key] = value
        else:
            raise UsageError(
                f"connection, {url.scheme}://: there is no option {key!r}. Expected "
                "tls_root_certs, or one of the driver's that begins with adbc."
            )
    return address, options


def _open(url: ConnectionUrl, password: str | None) -> QuerySource:
    address, options = settings(url, password)
    redact.learn(password)
    driver = load("flightsql", url.scheme)
    return AdbcSource(KIND, lambda: driver.connect(address, db_kwargs=options, autocommit=True))


SOURCE_TYPE = QuerySourceType(
    open=_open,
    has_drivers=True,
    needs_password=lambda url: url.user is not None,
)
