"""Google's providers, with token servers on loopback, and a client that uses their tokens."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from jobtool.errors import CredentialsError
from jobtool.stores.credentials.google import GoogleChainProvider
from jobtool.stores.credentials.holder import CredentialHolder
from jobtool.stores.credentials.provider import (
    BearerToken,
    CredentialProvider,
    CredentialScope,
    ProviderError,
)
from jobtool.stores.credentials.settings import make_provider
from tests.credentials.tokenserver import Answer, Request, serving

pytest.importorskip("google.auth")

SCOPE = CredentialScope(job="job", url="gs://bucket/a", permission="READ")
SUBJECT = "the-token-of-the-cluster"
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


class Tokens:
    """Issues numbered tokens to who proves itself, by a signed assertion or a cluster's token."""

    def __init__(self) -> None:
        self.count = 0
        self.seconds = 3600

    def answer(self, request: Request) -> Answer:
        if request.path == "/token":
            head, claims, signature = request.form["assertion"].split(".")
            KEY.public_key().verify(
                decoded(signature), f"{head}.{claims}".encode(), padding.PKCS1v15(), hashes.SHA256()
            )
            told = json.loads(decoded(claims))
            if told["iss"] != "robot@project.example":
                return 400, {"error": "invalid_grant", "error_description": "unknown account"}
            assert told["scope"].endswith("/auth/devstorage.read_write")
        elif request.form["subject_token"] != SUBJECT:
            return 400, {"error": "invalid_grant", "error_description": "the token has ended"}
        self.count += 1
        return 200, {
            "access_token": f"google-token-{self.count}",
            "expires_in": self.seconds,
            "token_type": "Bearer",
            "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
        }


def decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@pytest.fixture
def tokens() -> Tokens:
    return Tokens()


@pytest.fixture
def url(tokens: Tokens) -> Iterator[str]:
    with serving(tokens.answer) as url:
        yield url


@pytest.fixture(params=["service_account", "external_account"])
def path(request: pytest.FixtureRequest, url: str, tmp_path: Path) -> Path:
    """A file of each type. Its tokens come from ``url``."""
    (tmp_path / "subject").write_text(SUBJECT)
    key = KEY.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    files: dict[str, dict[str, Any]] = {
        "service_account": {
            "client_email": "robot@project.example",
            "private_key": key.decode(),
            "token_uri": f"{url}/token",
        },
        "external_account": {
            "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/"
            "providers/q",
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "token_url": f"{url}/sts",
            "credential_source": {"file": str(tmp_path / "subject")},
        },
    }
    path = tmp_path / "google.json"
    path.write_text(json.dumps({"type": request.param, **files[request.param]}))
    return path


def holder_of(provider: CredentialProvider) -> CredentialHolder:
    return CredentialHolder(provider, SCOPE, accepts=(BearerToken,))


def test_a_file_gives_tokens_one_after_the_other(path: Path) -> None:
    holder = holder_of(make_provider({"provider": "google-file", "path": str(path)}))
    first = holder.current()
    assert isinstance(first, BearerToken)
    second = holder.renew(holder.generation)
    assert isinstance(second, BearerToken)
    assert (first.token, second.token) == ("google-token-1", "google-token-2")
    assert second.expires_at is not None


def test_the_default_chain_finds_the_file_of_the_environment(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "project")
    found = holder_of(GoogleChainProvider()).current()
    assert found == BearerToken(token="google-token-1", expires_at=found.expires_at)
    assert found.expires_at is not None


def test_without_any_login_that_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none"))
    with pytest.raises(ProviderError, match="gcloud auth application-default login"):
        holder_of(GoogleChainProvider()).current()


@pytest.mark.parametrize(
    "text", ["", "[]", '"x"', "{", '{"type": "nobody"}', '{"type": "service_account", "x": "s3cr"}']
)
def test_a_file_that_is_no_key_is_named_and_not_shown(tmp_path: Path, text: str) -> None:
    (tmp_path / "key").write_text(text)
    provider = make_provider({"provider": "google-file", "path": str(tmp_path / "key")})
    with pytest.raises(ProviderError, match="expected a key or a configuration of Google") as told:
        holder_of(provider).current()
    assert f"{tmp_path}/key" in str(told.value)
    assert "s3cr" not in str(told.value)


def test_a_refusal_is_told_without_secrets(tmp_path: Path, url: str, path: Path) -> None:
    (tmp_path / "subject").write_text("an-old-token-of-the-cluster")
    provider = make_provider({"provider": "google-file", "path": str(path)})
    path.write_text(path.read_text().replace("robot@", "other@"))
    with pytest.raises(CredentialsError, match="can't get a token from the server that") as told:
        holder_of(provider).current()
    assert "an-old-token" not in str(told.value)
    assert "PRIVATE" not in str(told.value)
