"""Azure's credentials by providers: renewed in use, exchanged with Entra ID, or refused."""

from __future__ import annotations

import base64
import json
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from azure.storage.blob import BlobServiceClient, generate_container_sas

from jobtool.errors import CredentialsError, StoreSettingsError
from jobtool.stores.credentials.holder import CredentialHolder
from jobtool.stores.registry import StoreRegistry
from jobtool.testing.store_suite.common import write, write_in_parts
from tests.commands import assert_one_line_error, run
from tests.credentials.tokenserver import Answer as Told
from tests.credentials.tokenserver import Request, serving
from tests.faults.proxy import Answer, Fault, Forward, proxy_before
from tests.faults.proxy import Request as HttpRequest
from tests.servers.azure import ACCOUNT, KEY, AzureServer, azurite_server
from tests.stores.authority import Authority
from tests.trees import make_items

DATA = b"data"
ASSERTION = "the-token-of-the-cluster"


def sas_of(container: str, seconds: float) -> str:
    ends = datetime.now(UTC) + timedelta(seconds=seconds)
    return generate_container_sas(ACCOUNT, container, KEY, permission="racwdl", expiry=ends)


@pytest.fixture(autouse=True)
def no_credentials_of_the_developer(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("AZURE_"):
            monkeypatch.delenv(name)


def registry_of(url: str, credentials: dict[str, Any], **settings: Any) -> StoreRegistry:
    return StoreRegistry(
        {"az": {"account_url": f"{url}/{ACCOUNT}", **settings}}, credentials=credentials
    )


def test_sas_tokens_are_renewed_while_a_store_is_in_use(
    azurite: AzureServer, tmp_path: Path
) -> None:
    container, renewed = azurite.new_container(), []
    path = tmp_path / "sas"

    def mint() -> None:
        (tmp_path / "new").write_text(f"?{sas_of(container, 4)}\n")
        (tmp_path / "new").rename(path)

    registry = registry_of(azurite.url, {"provider": "file", "path": str(path)})
    registry.on_renewal = lambda holder: renewed.append(holder.last.expires_at)
    mint()
    store = registry.open(f"az://{container}", "destination")
    deadline, count = time.monotonic() + 30, 0
    while len(renewed) < 2:
        assert time.monotonic() < deadline
        write(store, f"file{count}", DATA)  # by both clients of the store
        mint()
        write_in_parts(store, f"parts{count}", [DATA])
        count += 1
        time.sleep(0.2)
        mint()
    assert renewed == sorted(renewed)
    assert len(list(store.list())) == 2 * count


def test_a_refused_token_is_replaced_once_and_the_request_repeated(
    azurite: AzureServer, tmp_path: Path
) -> None:
    container, path = azurite.new_container(), tmp_path / "sas"
    sent: list[str] = []

    def refuse(request: HttpRequest, forward: Forward) -> Answer:
        sent.append(request.query["sig"][0])
        if not sent[1:]:
            path.write_text(sas_of(container, 7200))
        code = ("x-ms-error-code", "AuthenticationFailed")
        return Answer(403, [code, ("x-ms-request-id", "1")], b"")

    path.write_text(sas_of(container, 3600))
    with proxy_before(azurite.url, Fault(lambda request: request.is_put, refuse, times=3)) as proxy:
        table = {"provider": "file", "path": str(path)}
        store = registry_of(proxy.endpoint_url, table).open(f"az://{container}", "destination")
        with pytest.raises(CredentialsError) as raised:
            write(store, "file", DATA)
        assert len(set(sent)) == 2
        assert not any(signature in str(raised.value) for signature in sent)
        assert write(store, "file", DATA).verified_by == "stored-md5"
    assert len(sent) == 3  # the last one was repeated, and not refused any more


class Entra:
    """Issues tokens of Entra ID to an application that has a cluster's token."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder, "entra")
        self.asked: list[str] = []
        self.url = ""

    def answer(self, request: Request) -> Told:
        if request.path.endswith("/openid-configuration"):
            return 200, {
                "issuer": f"{self.url}/tenant/v2.0",
                "authorization_endpoint": f"{self.url}/tenant/authorize",
                "token_endpoint": f"{self.url}/tenant/token",
            }
        self.asked.append(request.form["client_assertion"])
        if self.asked[-1] != ASSERTION:
            return 401, {"error": "invalid_client", "error_description": "AADSTS700024: ended"}
        assert request.form["client_id"] == "application"
        assert request.form["scope"] == "https://storage.azure.com/.default"
        return 200, {"access_token": self.token(), "expires_in": 3600, "token_type": "Bearer"}

    def token(self) -> str:
        """A token that Azurite takes: it doesn't look at the signature."""
        now = int(time.time())
        claims = {
            "aud": "https://storage.azure.com",
            "iss": "https://sts.windows.net/tenant/",
            "iat": now,
            "nbf": now,
            "exp": now + 3600,
        }
        parts = [json.dumps(part).encode() for part in ({"alg": "RS256", "typ": "JWT"}, claims)]
        words = [base64.urlsafe_b64encode(part).decode().rstrip("=") for part in (*parts, b"sig")]
        return ".".join(words)


def test_a_workload_identity_is_exchanged_for_a_token_that_the_store_sends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entra = Entra(tmp_path)
    (tmp_path / "assertion").write_text(f"{ASSERTION}\n")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(entra.authority.path))
    monkeypatch.setenv("AZURE_CLIENT_ID", "application")
    with (
        serving(entra.answer, entra.authority.own_context()) as entra.url,
        azurite_server(tmp_path, certificate=tmp_path / "own.chain") as azurite,
    ):
        BlobServiceClient(
            azurite.account_url,
            credential={"account_name": ACCOUNT, "account_key": KEY},
            connection_verify=str(entra.authority.path),
        ).create_container("plates")
        table = {
            "provider": "azure-workload-identity",
            "tenant_id": "tenant",
            "identity_file": str(tmp_path / "assertion"),
            "authority_host": entra.url,
        }
        registry = registry_of(azurite.url, table)
        store = registry.open("az://plates", "destination")
        assert write(store, "file", DATA).verified_by == "stored-md5"
        write_in_parts(store, "parts", [DATA])
        assert len(list(store.list())) == 2
        assert entra.asked == [ASSERTION]
        (holder,) = registry.credential_holders()
        assert isinstance(holder, CredentialHolder)
        assert holder.last.shown == "bearer-token"
        (tmp_path / "assertion").write_text("an-old-token-of-the-cluster")
        with pytest.raises(CredentialsError, match="AADSTS700024") as raised:
            holder.renew(holder.generation)
        assert "an-old-token" not in str(raised.value)


def test_what_a_workload_identity_lacks_is_named(tmp_path: Path) -> None:
    table = {"provider": "azure-workload-identity", "identity_file": str(tmp_path / "none")}
    for settings, told in (
        ({}, "expected tenant_id in [credentials], or AZURE_TENANT_ID in the environment"),
        ({"tenant_id": "t", "client_id": "c"}, "can't read the identity token in"),
    ):
        store = registry_of("https://127.0.0.1:1", {**table, **settings}).open(
            "az://plates", "source"
        )
        with pytest.raises(CredentialsError) as raised:
            list(store.list())
        assert told in str(raised.value)


def test_a_bearer_token_is_not_sent_without_tls(azurite: AzureServer, tmp_path: Path) -> None:
    (tmp_path / "token").write_text('{"accessToken": "a-token-of-az", "expires_on": 4000000000}')
    table = {"provider": "file", "path": str(tmp_path / "token")}
    store = registry_of(azurite.url, table).open("az://plates", "source")
    with pytest.raises(StoreSettingsError, match="a login needs https://"):
        list(store.list())


def test_anonymous_requests_carry_nothing(
    azurite: AzureServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_STORAGE_KEY", KEY)
    container, seen = azurite.new_container(), []
    azurite.client.get_container_client(container).set_container_access_policy({}, "container")
    with proxy_before(azurite.url) as proxy:
        proxy.faults.append(Fault(lambda request: seen.append(request.headers), proxy.stall))
        registry = registry_of(proxy.endpoint_url, {"provider": "anonymous"})
        assert list(registry.open(f"az://{container}", "source").list()) == []
    assert not any("authorization" in headers for headers in seen)
    assert seen


@pytest.mark.parametrize(
    ("destination", "provider", "told"),
    [
        (
            "az://plates",
            {"provider": "profile", "profile": "x"},
            "gives AWS keys; this store takes a bearer token or a SAS token or an account key",
        ),
        ("s3://plates", {"provider": "google-file", "path": "x"}, "gives a bearer token; this"),
        ("s3://plates", {"provider": "azure-workload-identity"}, "store takes AWS keys"),
    ],
)
def test_a_provider_for_another_service_is_refused_at_once(
    destination: str, provider: dict[str, str], told: str
) -> None:
    registry = StoreRegistry({"az": {"account": "plates"}}, credentials=provider)
    with pytest.raises(CredentialsError) as raised:
        registry.prepare({"destination": destination})
    assert told in str(raised.value)
    assert "[credentials.destination]" in str(raised.value)


def test_aws_keys_of_a_command_for_azure_are_refused(azurite: AzureServer, tmp_path: Path) -> None:
    make_items(tmp_path / "in", 1)
    keys = '{"AccessKeyId": "AKIAKEY", "SecretAccessKey": "the-secret-of-it"}'
    (tmp_path / "keys").write_text(keys)
    options = {
        "credentials.provider": "file",
        "credentials.path": tmp_path / "keys",
        "az.account_url": azurite.account_url,
    }
    told = [word for name, value in options.items() for word in ("--set", f"{name}={value}")]
    generate = ["generate-joblist", "-i", tmp_path / "in", "-o", tmp_path / "list", "-l", "tree"]
    done = run(*generate, "-d", "az://plates", *told)
    if done.exit_code == 0:
        done = run("transfer-worker", "-i", tmp_path / "list")
    assert_one_line_error(done, 4, "the credential provider file gives AWS keys; this store takes")
