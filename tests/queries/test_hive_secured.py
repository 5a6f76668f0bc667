"""A server with TLS that asks for passwords, and that is killed in the end."""

from __future__ import annotations

import os
import secrets
import signal
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    load_pem_private_key,
    pkcs12,
)

from jobtool.errors import (
    CredentialsError,
    QueryInterruptedError,
    StoreSettingsError,
    UnreachableError,
)
from jobtool.queries.plugins import open_source
from jobtool.queries.url import ConnectionUrl
from tests.queries.ldap import ldap_server
from tests.servers.spark import SparkServer, own_spark_server
from tests.stores.authority import Authority

pytestmark = pytest.mark.wide

PASSWORD = "Pass word-%@/:\\"  # in ASCII: Hive takes bytes for characters


@dataclass(frozen=True)
class Secured:
    server: SparkServer
    authority: Path

    def url(self, **options: str) -> str:
        asked = {
            "auth_mechanism": "LDAP",
            "use_ssl": "true",
            "ca_cert": str(self.authority),
            **options,
        }
        text = "&".join(f"{name}={value}" for name, value in asked.items() if value)
        return f"hive2://tester@127.0.0.1:{self.server.port}/default?{text}"


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    folder = tmp_path_factory.mktemp("secured")
    authority = Authority(folder, "authority")
    authority.context_for("127.0.0.1")
    chain = (folder / "leaf.chain").read_bytes()
    key: Any = load_pem_private_key(chain, None)
    secret = secrets.token_hex(8)
    (folder / "keys").write_bytes(
        pkcs12.serialize_key_and_certificates(
            b"spark",
            key,
            x509.load_pem_x509_certificate(chain),
            [x509.load_pem_x509_certificate(authority.path.read_bytes())],
            BestAvailableEncryption(secret.encode()),
        )
    )
    with ldap_server("uid=tester,dc=tests", PASSWORD) as directory:
        settings = {
            "use.SSL": "true",
            "keystore.path": str(folder / "keys"),
            "keystore.password": secret,
            "authentication": "LDAP",
            "authentication.ldap.url": directory,
            "authentication.ldap.baseDN": "dc=tests",
        }
        with own_spark_server(folder / "spark", settings) as server:
            yield Secured(server, authority.path)


def opened(url: str) -> Any:
    return open_source(ConnectionUrl.parse(url))


def test_a_password_opens_a_session_over_tls(
    secured: Secured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOBTOOL_QUERY_PASSWORD", PASSWORD)
    for url in (secured.url(), secured.url(auth_mechanism="plain")):
        source = opened(url)
        assert source.ask("SELECT 1 AS a").to_pylist() == [{"a": 1}]
        source.close()
    source = opened(secured.url(ca_cert="", verify_cert="false"))
    source.close()


def test_a_wrong_password_says_where_the_right_one_belongs(
    secured: Secured, monkeypatch: pytest.MonkeyPatch
) -> None:
    for password in ("wrong-password", None):
        if password is None:
            monkeypatch.delenv("JOBTOOL_QUERY_PASSWORD", raising=False)
        else:
            monkeypatch.setenv("JOBTOOL_QUERY_PASSWORD", password)
        with pytest.raises(CredentialsError, match="JOBTOOL_QUERY_PASSWORD") as caught:
            opened(secured.url())
        assert "wrong-password" not in str(caught.value)


def test_an_unknown_certificate_gets_no_password(
    secured: Secured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOBTOOL_QUERY_PASSWORD", PASSWORD)
    with pytest.raises(StoreSettingsError, match="ca_cert"):
        opened(secured.url(ca_cert=""))
    monkeypatch.setenv("SSL_CERT_FILE", str(secured.authority))
    assert ssl.get_default_verify_paths().cafile == str(secured.authority)
    opened(secured.url(ca_cert="")).close()


def test_a_connection_without_tls_names_what_may_be_wrong(
    secured: Secured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOBTOOL_QUERY_PASSWORD", PASSWORD)
    with pytest.raises(UnreachableError, match="use_ssl"):
        opened(secured.url(use_ssl="", ca_cert="", timeout="20"))


def test_a_killed_server_interrupts_the_query_and_then_is_unreachable(
    secured: Secured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOBTOOL_QUERY_PASSWORD", PASSWORD)
    source = opened(secured.url())
    stream = source.stream("SELECT id FROM range(0, 1000000, 1, 100)", rows=1000)
    rows = iter(stream)
    assert next(rows).num_rows == 1000
    os.killpg(secured.server.process, signal.SIGKILL)
    with pytest.raises(QueryInterruptedError, match="lost"):
        for _ in rows:
            pass
    with pytest.raises(UnreachableError):
        source.ask("SELECT 1")
    stream.cancel()
    stream.close()
    source.close()
