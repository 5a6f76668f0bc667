"""Flight SQL by ADBC, against a small server, and what its settings become."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobtool.errors import (
    CredentialsError,
    QueryFailedError,
    QueryInterruptedError,
    QueryRefusedError,
    UnreachableError,
    UsageError,
)
from jobtool.queries.flightsql import SOURCE_TYPE, settings
from jobtool.queries.url import ConnectionUrl
from tests.queries.sources import one_row, opened, table_of
from tests.servers.flightsql import LOGIN, PASSWORD, flight_server
from tests.servers.hdfs import free_ports


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with flight_server() as port:
        yield f"grpc://{LOGIN}@127.0.0.1:{port}"


def test_rows_keep_their_order(url: str) -> None:
    query = "SELECT i, 'row ' || i AS t, 1.5::DECIMAL(10, 2) AS d FROM range(20000) r(i) ORDER BY 1"
    with opened(url, PASSWORD) as source:
        table = table_of(source, query)
        assert source.describe(query) == table.schema
    assert table["i"].to_pylist() == list(range(20_000))


def test_errors(url: str) -> None:
    with opened(url, PASSWORD) as source:
        with pytest.raises(QueryRefusedError, match="nowhere"):
            source.describe("SELECT * FROM nowhere")
        with pytest.raises(QueryFailedError, match="Could not convert"):
            table_of(
                source,
                "SELECT (CASE i WHEN 99999 THEN 'x' ELSE '1' END)::INTEGER AS a "
                "FROM range(100000) AS r(i)",
            )
        assert one_row(source, "SELECT 1 AS a") == {"a": 1}
    with pytest.raises(CredentialsError) as caught, opened(url, "wrong-password") as source:
        source.ask("SELECT 1")
    assert "wrong-password" not in str(caught.value)
    (port,) = free_ports(1)
    with pytest.raises(UnreachableError), opened(f"grpc://127.0.0.1:{port}", None) as source:
        source.ask("SELECT 1")


def test_a_cancelled_query(url: str) -> None:
    with opened(url, PASSWORD) as source:
        stream = source.stream("SELECT * FROM range(10000000000) AS r(i)", rows=1000)
        rows = iter(stream)
        next(rows)
        threading.Thread(target=stream.cancel).start()
        with pytest.raises(QueryInterruptedError):
            for _ in rows:
                pass
        stream.close()


def test_settings(tmp_path: Path) -> None:
    roots = tmp_path / "roots.pem"
    roots.write_text("certificates")

    def of(text: str) -> tuple[str, dict[str, str]]:
        return settings(ConnectionUrl.parse(text), "secret")

    assert of("grpc://host:1")[0] == "grpc+tcp://host:1"
    assert of("flightsql://host")[0] == of("grpc+tls://host")[0] == "grpc+tls://host:31337"
    assert of("grpc+tls://[::1]:5")[0] == "grpc+tls://[::1]:5"
    address, options = of(f"grpc+tls://me@host/db?tls_root_certs={roots}&adbc.x=1")
    assert "secret" not in address
    assert options == {
        "username": "me",
        "password": "secret",
        "adbc.flight.sql.rpc.call_header.database": "db",
        "adbc.flight.sql.client_option.tls_root_certs": "certificates",
        "adbc.x": "1",
    }
    for wrong in ("grpc+x://host", "grpc://", "grpc://host?x=1", "grpc://host?tls_root_certs=/no"):
        with pytest.raises(UsageError):
            of(wrong)
    assert SOURCE_TYPE.needs_password(ConnectionUrl.parse("grpc://me@host"))
