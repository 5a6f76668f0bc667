"""Tokens in files and in the output of commands, in the forms of Azure's and Google's tools."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from jobtool.errors import CredentialsError
from jobtool.stores.credentials.documents import FileProvider, decode_document
from jobtool.stores.credentials.provider import (
    BearerToken,
    Credentials,
    CredentialScope,
    SasToken,
)

ENDS = datetime(2026, 11, 20, 14, 31, tzinfo=UTC)
SAS = "se=2026-11-20T14%3A31%3A00Z&sp=r&sv=2021-08-06&sr=c&sig=c2lnbmF0dXJl%3D"
TOKEN = "the-token-itself"
LOCAL = ENDS.astimezone().replace(tzinfo=None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            json.dumps({"accessToken": TOKEN, "expiresOn": "old", "expires_on": ENDS.timestamp()}),
            BearerToken(token=TOKEN, expires_at=ENDS),
        ),
        (
            json.dumps({"accessToken": TOKEN, "expiresOn": f"{LOCAL}.000000"}),
            BearerToken(token=TOKEN, expires_at=ENDS),
        ),
        (
            json.dumps({"credential": {"access_token": TOKEN, "token_expiry": f"{ENDS:%FT%TZ}"}}),
            BearerToken(token=TOKEN, expires_at=ENDS),
        ),
        (
            json.dumps({"access_token": TOKEN, "expires_in": 60, "token_type": "Bearer"}),
            BearerToken(token=TOKEN, expires_at=ENDS.replace(minute=32)),
        ),
        (json.dumps({"access_token": TOKEN}), BearerToken(token=TOKEN)),
        (f"{SAS}\n", SasToken(token=SAS, expires_at=ENDS)),
        (f"?{SAS}", SasToken(token=SAS, expires_at=ENDS)),
        (json.dumps(SAS), SasToken(token=SAS, expires_at=ENDS)),
        ("si=policy&sig=c2ln", SasToken(token="si=policy&sig=c2ln")),
    ],
)
def test_a_token_and_its_end(text: str, expected: Credentials, tmp_path: Path) -> None:
    assert decode_document(text, whose="it", made_at=ENDS) == expected
    (tmp_path / "file").write_text(text)
    os.utime(tmp_path / "file", (ENDS.timestamp(), ENDS.timestamp()))
    scope = CredentialScope(job="", url="az://a", permission="READ")
    assert FileProvider(path=str(tmp_path / "file")).fetch(scope) == expected
    for secret in filter(None, expected.secrets):
        assert secret not in repr(expected)
        assert secret not in expected.shown


@pytest.mark.parametrize(
    "text",
    [
        "sig= and words",
        f"{SAS}\n{SAS}",
        "se=nonsense&sig=x",
        json.dumps({"access_token": 7}),
        json.dumps({"access_token": ""}),
        json.dumps({"access_token": f"{TOKEN}\nmore"}),
        json.dumps({"access_token": TOKEN, "expires_on": "soon"}),
        json.dumps({"access_token": TOKEN, "expires_on": 1e300}),
        json.dumps({"access_token": TOKEN, "expires_in": [7]}),
        json.dumps({"access_token": TOKEN, "expires_in": 1e300}),
        json.dumps({"access_token": TOKEN, "token_expiry": "soon"}),
        json.dumps({"credential": TOKEN}),
    ],
)
def test_what_is_no_token_is_not_repeated(text: str) -> None:
    with pytest.raises(CredentialsError, match="found something else") as raised:
        decode_document(text, whose="it")
    assert TOKEN not in str(raised.value)
    assert "sig=" not in str(raised.value)
