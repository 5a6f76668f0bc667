"""The holders of a run: who shares one, and for which scope it fetches."""

from __future__ import annotations

import msgspec
import pytest

from jobtool.errors import CredentialsError
from jobtool.stores.credentials.holders import Holders
from jobtool.stores.credentials.provider import (
    AwsKeys,
    BearerToken,
    Credentials,
    CredentialScope,
)
from jobtool.stores.storetype import Role, Setup

SCOPES: dict[Role, CredentialScope] = {
    "source": CredentialScope(job="j", url="az://in/a", permission="READ"),
    "destination": CredentialScope(job="j", url="az://out/a", permission="READWRITE"),
}
ASKED: list[CredentialScope] = []


class Asked(msgspec.Struct, frozen=True):
    """A provider that records what it is asked for."""

    is_per_purpose: bool
    name = "asked"
    can_renew = True

    def fetch(self, scope: CredentialScope) -> Credentials | None:
        ASKED.append(scope)
        return BearerToken(token=f"token-{len(ASKED)}")


@pytest.fixture(autouse=True)
def nothing_asked() -> None:
    ASKED.clear()


def holders_of() -> Holders:
    return Holders(Setup(), ("az",), (BearerToken,))


@pytest.mark.parametrize("is_per_purpose", [False, True])
@pytest.mark.parametrize("roles", [("source",), ("destination",), ("source", "destination")])
def test_a_job_gets_credentials_for_the_roles_that_use_them(
    roles: tuple[Role, ...], is_per_purpose: bool
) -> None:
    holders = holders_of()
    for role in roles:
        holders.holder(role, Asked(is_per_purpose), SCOPES[role].url)
    assert not ASKED
    holders.begin_job(SCOPES)
    used = roles if is_per_purpose else roles[-1:]
    assert [SCOPES[role] for role in used] == ASKED
    assert len(holders.all()) == len(used)


def test_a_side_that_is_elsewhere_gets_none_of_its_own() -> None:
    holders = holders_of()
    holders.holder("source", Asked(True), "az://in/a")
    elsewhere = msgspec.structs.replace(SCOPES["source"], url="s3://in/a")
    holders.begin_job({**SCOPES, "source": elsewhere})
    holders.reach_job({**SCOPES, "source": elsewhere})
    assert not ASKED


def test_before_a_job_credentials_are_fetched_for_each_place() -> None:
    holders = holders_of()
    for url in ("az://in/a", "az://in/a/b", "az://in/c"):
        holders.holder_for("source", Asked(True), url).current()
    assert [scope.url for scope in ASKED] == ["az://in/a", "az://in/c"]


def test_another_kind_is_refused_when_it_is_given() -> None:
    holder = Holders(Setup(), ("s3",), (AwsKeys,)).holder("source", Asked(False), "s3://in")
    with pytest.raises(CredentialsError, match="asked gives a bearer token; this store takes AWS"):
        holder.current()
