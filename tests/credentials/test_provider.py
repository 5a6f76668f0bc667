"""Credentials show none of their secrets, however they are printed."""

from __future__ import annotations

from datetime import UTC, datetime

from rich.pretty import pretty_repr

from jobtool.stores.credentials.provider import AwsKeys


def test_no_secret_is_in_any_form_of_credentials_for_people() -> None:
    ends = datetime(2026, 1, 2, tzinfo=UTC)
    secrets = ("the-key-id", "the-secret", "the-token")
    made = AwsKeys(
        access_key=secrets[0], secret_key=secrets[1], session_token=secrets[2], expires_at=ends
    )
    for shown in (str(made), repr([made]), f"{made}", pretty_repr(made)):
        assert not [secret for secret in secrets if secret in shown]
        assert "AwsKeys" in shown
        assert "2026" in shown
