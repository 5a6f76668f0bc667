"""What a site's own provider must not do, and services that a job doesn't use."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
import pytest

from jobtool.stores.credentials.holder import CredentialHolder
from jobtool.stores.credentials.holders import Holders
from jobtool.stores.credentials.provider import AwsKeys, CredentialScope, ProviderError
from jobtool.stores.storetype import Role, Setup

SCOPE = CredentialScope(job="j", url="s3://in/a", permission="READ")
NAIVE = AwsKeys(access_key="A", secret_key="b", expires_at=datetime(2999, 1, 1))


class Site(msgspec.Struct, frozen=True):
    """A provider of a site, which gives whatever it was made with."""

    answer: Any = None
    name = "site"
    can_renew = True
    is_per_purpose = False

    def fetch(self, scope: CredentialScope) -> Any:
        if self.answer is None:
            raise ProviderError("log in again")
        return self.answer


@pytest.mark.parametrize(
    ("answer", "told"),
    [({"token": "x"}, "gave dict; expected"), ((), "gave tuple"), (NAIVE, "without a time zone")],
)
def test_another_answer_is_a_providers_error(answer: object, told: str) -> None:
    with pytest.raises(ProviderError, match=told):
        CredentialHolder(Site(answer), SCOPE).current()


def test_a_login_that_has_ended_stops_only_jobs_of_its_service() -> None:
    holders = Holders(Setup(), ("s3",), (AwsKeys,))
    for role in ("source", "destination"):
        holders.holder(role, Site(), "s3://in")  # type: ignore[arg-type]
    there = CredentialScope(job="j", url="/there", permission="READWRITE")
    elsewhere: dict[Role, CredentialScope] = {"source": there, "destination": there}
    holders.begin_job(elsewhere)
    with pytest.raises(ProviderError, match="log in again"):
        holders.begin_job({**elsewhere, "source": SCOPE})
