"""Providers of AWS's own kinds, asked of moto's STS and of a server that answers as AWS does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest

from jobtool.errors import InfrastructureError
from jobtool.stores.credentials.aws import session_name
from jobtool.stores.credentials.provider import (
    AwsKeys,
    CredentialProvider,
    CredentialScope,
    Permission,
)
from jobtool.stores.credentials.settings import make_provider
from jobtool.stores.registry import StoreRegistry
from tests.credentials.authority import ACCOUNT, EXPIRATION, TOKEN, Authority
from tests.faults.proxy import Fault, Request, proxy_before, reset
from tests.servers.s3 import REGION, S3Server

KEY = "AKIAOFTHECHAIN"
SECRET = "secret-of-the-chain"
ROLE = "arn:aws:iam::123456789012:role/uploader"
LONG_AGO = "2001-01-01T00:00:00Z"


def scope(
    url: str = "s3://bucket/cpg0016/plate", permission: Permission = "READWRITE"
) -> CredentialScope:
    return CredentialScope(job="source_8__J1__A1170383 ✓", url=url, permission=permission)


def fetch(provider: CredentialProvider, wanted: CredentialScope | None = None) -> AwsKeys:
    found = provider.fetch(wanted or scope())
    assert found is not None
    return found


def refusal_of(provider: CredentialProvider, wanted: CredentialScope | None = None) -> str:
    """The message of a provider without credentials: one line, without a cause behind it."""
    with pytest.raises(InfrastructureError) as caught:
        provider.fetch(wanted or scope())
    text = str(caught.value)
    assert len(text.splitlines()) == 1
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert SECRET not in text
    return text


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys in the environment, to sign requests for credentials."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)


@pytest.fixture
def authority() -> Authority:
    return Authority()


@pytest.fixture
def endpoint_url(authority: Authority, rclone_s3: S3Server) -> Iterator[str]:
    with ExitStack() as stack:
        proxy = stack.enter_context(proxy_before(rclone_s3.endpoint_url, *authority.faults()))
        yield proxy.endpoint_url


def write_files(
    folder: Path, monkeypatch: pytest.MonkeyPatch, *, config: str = "", credentials: str = ""
) -> None:
    for name, text, variable in (
        ("config", config, "AWS_CONFIG_FILE"),
        ("credentials", credentials, "AWS_SHARED_CREDENTIALS_FILE"),
    ):
        (folder / name).write_text(text)
        monkeypatch.setenv(variable, str(folder / name))


# The chain and its profiles


def test_the_chain_is_walked_anew_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "[default]\naws_access_key_id = {}\naws_secret_access_key = x\naws_session_token = t\n"
    provider = make_provider({})
    for key in ("FIRST", "SECOND"):
        write_files(tmp_path, monkeypatch, credentials=text.format(key))
        assert fetch(provider) == AwsKeys(access_key=key, secret_key="x", session_token="t")


@pytest.mark.parametrize(
    "variables",
    [{"AWS_PROFILE": "lab"}, {"AWS_DEFAULT_PROFILE": "lab", "AWS_PROFILE": "other"}],
)
@pytest.mark.parametrize("settings", [{}, {"provider": "assume-role", "role_arn": ROLE}])
def test_the_command_that_logs_in_names_the_profile_that_was_used(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    settings: dict[str, str],
) -> None:
    write_files(
        tmp_path,
        monkeypatch,
        config=f"[profile lab]\nregion = {REGION}\nsso_session = lab\nsso_role_name = uploader\n"
        f"sso_account_id = 123456789012\n[sso-session lab]\nsso_region = {REGION}\n"
        "sso_start_url = https://lab.example/start\n[profile other]\n",
    )
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert "Log in: aws sso login --profile lab. (" in refusal_of(make_provider(settings))


def test_a_setting_that_is_no_number_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(
        tmp_path, monkeypatch, config="[profile lab]\nmetadata_service_num_attempts = few\n"
    )
    told = refusal_of(make_provider({"provider": "profile", "profile": "lab"}))
    assert "AWS profile lab" in told
    assert "metadata_service_num_attempts: expected a whole number; found few" in told


@pytest.mark.parametrize("through_a_role", [False, True])
def test_a_command_of_a_profile_that_is_not_there_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, through_a_role: bool
) -> None:
    config = f"[profile lab]\nregion = {REGION}\ncredential_process = /nonexistent/x {SECRET}\n"
    config += f"[profile role]\nrole_arn = {ROLE}\nsource_profile = lab\n"
    write_files(tmp_path, monkeypatch, config=config)
    profile = "role" if through_a_role else "lab"
    told = refusal_of(make_provider({"provider": "profile", "profile": profile}))
    for expected in ("AWS profile lab", str(tmp_path / "config"), "credential_process"):
        assert expected in told
    assert "at /nonexistent/x; found none" in told


@pytest.mark.parametrize(
    ("settings", "profile"),
    [
        ({"provider": "profile", "profile": "upload"}, None),
        ({"provider": "default", "profile": "upload"}, None),
        ({}, "upload"),
    ],
)
def test_a_profile_is_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], profile: str | None
) -> None:
    text = "[{}]\naws_access_key_id = {}\naws_secret_access_key = x\n"
    both = text.format("default", "OTHER") + text.format("upload", KEY)
    write_files(tmp_path, monkeypatch, credentials=both)
    provider = make_provider(settings, profile=profile)
    assert fetch(provider).access_key == KEY
    assert provider.name == "profile"


def test_a_profiles_own_process_is_run_and_its_end_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = tmp_path / "document.json"
    keys = {"Version": 1, "AccessKeyId": KEY, "SecretAccessKey": SECRET, "SessionToken": "t"}
    document.write_text(json.dumps({**keys, "Expiration": EXPIRATION}))
    write_files(
        tmp_path, monkeypatch, config=f"[profile lab]\ncredential_process = cat {document}\n"
    )
    found = fetch(make_provider({"provider": "profile", "profile": "lab"}))
    assert found.expires_at == datetime.fromisoformat(EXPIRATION)
    assert found.session_token == "t"


def test_a_profiles_own_process_that_fails_is_not_quoted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "mint"
    script.write_text(f"#!/bin/sh\necho {SECRET} >&2\nexit 1\n")
    script.chmod(0o700)
    write_files(tmp_path, monkeypatch, config=f"[profile lab]\ncredential_process = {script}\n")
    told = refusal_of(make_provider({"provider": "profile", "profile": "lab"}))
    assert "custom-process failed" in told


@pytest.mark.parametrize("text", [SECRET, f"{{'SecretAccessKey': '{SECRET}'", '{"Version": 1}'])
def test_what_a_profiles_own_process_prints_that_is_no_document_is_not_quoted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    document = tmp_path / "document"
    document.write_text(text)
    write_files(
        tmp_path, monkeypatch, config=f"[profile lab]\ncredential_process = cat {document}\n"
    )
    assert "can't get" in refusal_of(make_provider({"provider": "profile", "profile": "lab"}))


def test_a_profile_that_is_not_there_is_named_wherever_its_name_is_from(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert "profile nobody in" in refusal_of(make_provider({}, profile="nobody"))
    monkeypatch.setenv("AWS_PROFILE", "nemo")
    assert "profile nemo in" in refusal_of(make_provider({}))


def test_a_config_file_that_cannot_be_read_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(tmp_path, monkeypatch, config=f"[default\naws_secret_access_key = {SECRET}\n")
    refusal = refusal_of(make_provider({}))
    assert str(tmp_path / "config") in refusal
    assert "aws configure list" in refusal


def test_without_any_credentials_it_is_told_where_they_may_come_from() -> None:
    assert "found none. Set AWS_ACCESS_KEY_ID" in refusal_of(make_provider({}))


@pytest.mark.usefixtures("keys")
def test_what_has_expired_in_the_environment_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)
    monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", LONG_AGO)
    assert "still expired" in refusal_of(make_provider({}))


# The environment


@pytest.mark.usefixtures("keys")
def test_the_environment_is_read_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(
        tmp_path,
        monkeypatch,
        credentials="[default]\naws_access_key_id = OTHER\naws_secret_access_key = x\n",
    )
    provider = make_provider({"provider": "environment"})
    assert fetch(provider) == AwsKeys(access_key=KEY, secret_key=SECRET)
    assert not provider.can_renew
    monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)
    monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", EXPIRATION)
    assert fetch(provider).session_token == TOKEN
    assert fetch(provider).expires_at == datetime.fromisoformat(EXPIRATION)
    monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", "soon")
    assert fetch(provider).expires_at is None
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert "found no AWS_SECRET_ACCESS_KEY." in refusal_of(provider)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    assert "found no AWS_ACCESS_KEY_ID." in refusal_of(provider)


@pytest.mark.usefixtures("keys")
@pytest.mark.parametrize("provider", ["environment", "default"])
@pytest.mark.parametrize(
    "name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"]
)
def test_a_line_end_in_the_environment_is_told_and_not_what_is_around_it(
    monkeypatch: pytest.MonkeyPatch, provider: str, name: str
) -> None:
    monkeypatch.setenv(name, f"{SECRET}\nmore")
    assert "white space" in refusal_of(make_provider({"provider": provider}))


# STS


@pytest.mark.usefixtures("keys")
@pytest.mark.parametrize("seconds", [None, 900])
def test_a_role_is_assumed_in_a_session_of_the_jobs_name(
    moto_s3: S3Server, seconds: int | None
) -> None:
    settings: dict[str, Any] = {"role_arn": ROLE, "endpoint_url": moto_s3.endpoint_url}
    if seconds is not None:
        settings["duration_seconds"] = str(seconds)  # as --set gives it
    found = fetch(make_provider({"provider": "assume-role", "external_id": "us", **settings}))
    assert found.access_key != KEY
    assert found.session_token
    assert found.expires_at is not None
    assert found.expires_at < datetime.now(UTC) + timedelta(seconds=seconds or 3600)
    identity = boto3.client(
        "sts",
        endpoint_url=moto_s3.endpoint_url,
        region_name=REGION,
        aws_access_key_id=found.access_key,
        aws_secret_access_key=found.secret_key,
        aws_session_token=found.session_token,
    ).get_caller_identity()
    session = "assumed-role/uploader/jobtool-source_8__J1__A1170383--"
    assert identity["Arn"].endswith(session)


@pytest.mark.usefixtures("keys")
def test_sts_is_asked_for_just_what_is_set(authority: Authority, endpoint_url: str) -> None:
    common = {"provider": "assume-role", "role_arn": ROLE, "endpoint_url": endpoint_url}
    assert fetch(make_provider(common)).session_token == f"{TOKEN}-1"
    fetch(make_provider({**common, "external_id": "us", "duration_seconds": 900}))
    names = {"Action", "Version", "RoleArn", "RoleSessionName", "account"}
    assert set(authority.asked[0]) == names
    assert set(authority.asked[1]) == {*names, "ExternalId", "DurationSeconds"}
    assert authority.asked[1]["ExternalId"] == "us"


def test_a_web_identity_needs_its_file_and_no_keys(tmp_path: Path, moto_s3: S3Server) -> None:
    path = tmp_path / "identity"
    settings = {
        "provider": "web-identity",
        "role_arn": ROLE,
        "identity_file": str(path),
        "endpoint_url": moto_s3.endpoint_url,
        "region": REGION,
    }
    provider = make_provider(settings)
    assert f"{path}: No such file" in refusal_of(provider)
    path.write_text("an-identity-token\n")
    assert fetch(provider).session_token
    path.write_bytes(b"\xff\xfe")
    assert "not text" in refusal_of(provider)
    path.write_text("")
    assert "WebIdentityToken" in refusal_of(provider)


def test_a_web_identitys_token_is_read_anew_each_time(
    tmp_path: Path, authority: Authority, endpoint_url: str
) -> None:
    path = tmp_path / "identity"
    settings = {"role_arn": ROLE, "identity_file": str(path), "region": REGION}
    provider = make_provider({"provider": "web-identity", "endpoint_url": endpoint_url, **settings})
    for token in ("first-token", "second-token"):
        path.write_text(f"{token}\n")
        fetch(provider)
        assert authority.asked[-1]["WebIdentityToken"] == token


@pytest.mark.usefixtures("keys")
@pytest.mark.parametrize("provider", ["assume-role", "access-grants"])
def test_a_refusal_is_told_in_one_line_without_what_was_signed(
    authority: Authority, endpoint_url: str, provider: str
) -> None:
    own = {"role_arn": ROLE} if provider == "assume-role" else {"account_id": ACCOUNT}
    made = make_provider({"provider": provider, "endpoint_url": endpoint_url, **own})
    authority.refusal = (403, "AccessDenied", "You are not allowed to.")
    assert refusal_of(made).endswith("AccessDenied: You are not allowed to.")
    authority.refusal = (403, "SignatureDoesNotMatch", f"It doesn't match.\n\ntoken:{SECRET}")
    assert refusal_of(made).endswith("SignatureDoesNotMatch: It doesn't match.")


@pytest.mark.usefixtures("keys")
def test_an_endpoint_that_is_down_is_named() -> None:
    down = "http://127.0.0.1:9"
    made = make_provider({"provider": "assume-role", "role_arn": ROLE, "endpoint_url": down})
    assert down in refusal_of(made)


def test_without_a_region_one_is_asked_for(monkeypatch: pytest.MonkeyPatch, keys: None) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    made = make_provider({"provider": "access-grants", "account_id": ACCOUNT})
    assert "region" in refusal_of(made)


@pytest.mark.parametrize(
    ("job", "session"),
    [
        ("source_8__J1__A1170383", "jobtool-source_8__J1__A1170383"),
        ("a/b c\n✓", "jobtool-a-b-c--"),
        ("user@host,x=1+2.3", "jobtool-user@host,x=1+2.3"),
        ("x" * 100, "jobtool-" + "x" * 56),
        ("", "jobtool-"),
    ],
)
def test_sessions_are_named_as_sts_allows(job: str, session: str) -> None:
    assert session_name(job) == session


# Access Grants


@pytest.mark.usefixtures("keys")
@pytest.mark.parametrize("permission", ["READ", "READWRITE"])
def test_access_is_asked_for_what_is_below_the_jobs_url(
    authority: Authority, endpoint_url: str, permission: Permission
) -> None:
    settings = {"account_id": ACCOUNT, "endpoint_url": endpoint_url, "duration_seconds": "3600"}
    provider = make_provider({"provider": "access-grants", **settings})
    found = fetch(provider, scope(permission=permission))
    assert found.session_token == f"{TOKEN}-1"
    assert found.expires_at == datetime.fromisoformat(EXPIRATION)
    assert authority.asked == [
        {
            "target": "s3://bucket/cpg0016/plate/*",
            "permission": permission,
            "durationSeconds": "3600",
            "account": ACCOUNT,
        }
    ]
    assert provider.is_per_purpose


@pytest.mark.usefixtures("keys")
def test_a_permission_that_is_set_is_asked_for(authority: Authority, endpoint_url: str) -> None:
    settings = {"account_id": ACCOUNT, "endpoint_url": endpoint_url, "permission": "READWRITE"}
    fetch(make_provider({"provider": "access-grants", **settings}), scope(permission="READ"))
    assert authority.asked[0]["permission"] == "READWRITE"


@pytest.mark.parametrize("url", ["", "s3:/", "/data/copies"])
def test_files_that_no_prefix_is_around_cannot_be_granted(url: str) -> None:
    provider = make_provider({"provider": "access-grants", "account_id": ACCOUNT})
    assert "no common s3:// prefix" in refusal_of(provider, scope(url))


@pytest.mark.usefixtures("keys")
def test_a_job_is_reached_by_a_grant_of_its_own_and_a_folder_needs_none(
    authority: Authority, endpoint_url: str
) -> None:
    stores = StoreRegistry(
        {"s3": {"endpoint_url": endpoint_url, "region": REGION}},
        credentials={
            "provider": "access-grants",
            "account_id": ACCOUNT,
            "endpoint_url": endpoint_url,
        },
    )
    for url in ("s3://bucket/a", "s3://bucket/a", "/data/copies", "s3://bucket/b"):
        stores.reach_job({"destination": scope(url)})
        stores.open(url, "destination")
    assert [asked["target"] for asked in authority.asked] == ["s3://bucket/a/*", "s3://bucket/b/*"]
    stores.begin_job({"destination": scope("/data/copies")})
    assert len(authority.asked) == 2
    stores.begin_job({"destination": scope("s3://bucket/b")})
    assert len(authority.asked) == 3


# No credentials


def test_nobody_reads_a_public_bucket(moto_s3: S3Server) -> None:
    name = moto_s3.new_bucket()
    for number in range(3):
        moto_s3.client.put_object(
            Bucket=name, Key=f"a/{number}\x01", Body=b"boto3", ACL="public-read"
        )
        moto_s3.client.put_object(
            Bucket=name, Key=f"a/{number}", Body=b"obstore", ACL="public-read"
        )
    seen: list[str | None] = []

    def look(request: Request) -> bool:
        seen.append(request.headers.get("authorization"))
        return False

    with proxy_before(moto_s3.endpoint_url, Fault(look, reset)) as proxy:
        stores = StoreRegistry(
            {"s3": {"endpoint_url": proxy.endpoint_url, "region": REGION}},
            credentials={"source": {"provider": "anonymous"}},
        )
        store = stores.open(f"s3://{name}/a", "source")
        found = {bytes(store.read(entry, 0, entry.size).data) for entry in store.list()}
    assert found == {b"boto3", b"obstore"}
    assert len(seen) == 7
    assert set(seen) == {None}
