"""Files and commands that give credentials, as JSON or in AWS's own form."""

from __future__ import annotations

import json
import os
import signal
import stat
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from jobtool.errors import UsageError
from jobtool.stores.credentials.provider import AwsKeys, CredentialScope, ProviderError
from jobtool.stores.credentials.settings import make_provider
from jobtool.stores.registry import StoreRegistry
from tests.servers.s3 import ACCESS_KEY, REGION, SECRET_KEY, S3Server

KEY = "AKIAOFADOCUMENT"
SECRET = "secret-of-a-document"
TOKEN = "token-of-a-document"
SECRETS = (SECRET, TOKEN)
PURPOSE = CredentialScope(job="J1/A {url}", url="s3://bucket/{job} $(x)", permission="READWRITE")
FIELDS = {
    "AccessKeyId": KEY,
    "SecretAccessKey": SECRET,
    "SessionToken": TOKEN,
    "Expiration": "2999-11-20T14:31:00Z",
}
WHOLE = AwsKeys(
    access_key=KEY,
    secret_key=SECRET,
    session_token=TOKEN,
    expires_at=datetime(2999, 11, 20, 14, 31, tzinfo=UTC),
)
DOCUMENTS = {
    "credential_process": {"Version": 1, **FIELDS},
    "aws sts assume-role": {
        "Credentials": FIELDS,
        "AssumedRoleUser": {"AssumedRoleId": "x", "Arn": "arn:aws:sts::1:assumed-role/r/s"},
    },
    "aws s3control get-data-access": {
        "Credentials": FIELDS,
        "MatchedGrantTarget": "s3://bucket/plate/*",
        "Grantee": {"GranteeType": "IAM"},
    },
}
NO_DOCUMENTS = {
    "nothing": "",
    "no JSON": f"{{'SecretAccessKey': '{SECRET}'",
    "a list": json.dumps([FIELDS]),
    "a string": json.dumps(SECRET),
    "no secret": json.dumps({"AccessKeyId": KEY, "SessionToken": TOKEN}),
    "no key": json.dumps({"SecretAccessKey": SECRET}),
    "an empty secret": json.dumps({**FIELDS, "SecretAccessKey": ""}),
    "a number for a secret": json.dumps({**FIELDS, "SecretAccessKey": 7}),
    "no time": json.dumps({**FIELDS, "Expiration": SECRET}),
    "a string for the table": json.dumps({"Credentials": SECRET}),
    "a token of two lines": json.dumps({**FIELDS, "SessionToken": f"{TOKEN}\nmore"}),
    "a secret with a blank": json.dumps({**FIELDS, "SecretAccessKey": f"{SECRET} "}),
    "a secret of two lines": json.dumps({**FIELDS, "SecretAccessKey": f"{SECRET}\nmore"}),
    "a token that is no ASCII": json.dumps({**FIELDS, "SessionToken": f"{TOKEN}ß"}),
    "depth": '{"Credentials":' * 100_000,
}


def command(folder: Path, script: str) -> str:
    """Make a shell script; return its path."""
    path = folder / "mint.sh"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(stat.S_IRWXU)
    return str(path)


def refusal_of(**settings: object) -> str:
    """The message of a provider without credentials: one line, without a secret."""
    with pytest.raises(ProviderError) as caught:
        make_provider(settings).fetch(PURPOSE)
    text = str(caught.value)
    assert not any(secret in text for secret in SECRETS)
    assert caught.value.__cause__ is None
    assert len(text.splitlines()) == 1
    return text


@pytest.mark.parametrize("form", DOCUMENTS)
def test_each_form_of_json_is_read_from_a_command_and_a_file(form: str, folder: Path) -> None:
    path = folder / "document.json"
    path.write_text(json.dumps(DOCUMENTS[form], indent=2))
    by_file = make_provider({"provider": "file", "path": str(path)})
    by_command = make_provider({"provider": "process", "command": ["cat", str(path)]})
    assert by_file.fetch(PURPOSE) == by_command.fetch(PURPOSE) == WHOLE


def test_keys_without_token_and_end_are_enough(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_text(json.dumps({"AccessKeyId": KEY, "SecretAccessKey": SECRET}))
    found = make_provider({"provider": "file", "path": str(path)}).fetch(PURPOSE)
    assert found == AwsKeys(access_key=KEY, secret_key=SECRET)


@pytest.mark.parametrize(
    "text",
    ["2999-11-20T14:31:00Z", "2999-11-20T15:31:00+01:00", "2999-11-20T14:31:00.000Z"],
)
def test_times_are_read_as_iso_8601(tmp_path: Path, text: str) -> None:
    path = tmp_path / "keys.json"
    path.write_text(json.dumps({**FIELDS, "Expiration": text}))
    assert make_provider({"provider": "file", "path": str(path)}).fetch(PURPOSE) == WHOLE


@pytest.mark.parametrize("case", NO_DOCUMENTS)
def test_what_is_no_document_is_told_without_a_word_of_it(case: str, tmp_path: Path) -> None:
    path = tmp_path / "document"
    path.write_text(NO_DOCUMENTS[case])
    assert "expected" in refusal_of(provider="file", path=str(path))
    assert "expected JSON" in refusal_of(provider="process", command=["cat", str(path)])


# Files


def test_awss_own_form_of_a_file_is_read_and_its_profile_chosen(folder: Path) -> None:
    path = folder / "credentials"
    path.write_text(
        "[default]\naws_access_key_id = OTHER\naws_secret_access_key = other\n"
        f"[upload]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n"
        f"aws_session_token = {TOKEN}\naws_expiration = 2999-11-20T14:31:00Z\n"
    )
    by_default = make_provider({"provider": "file", "path": str(path)}).fetch(PURPOSE)
    assert by_default == AwsKeys(access_key="OTHER", secret_key="other")
    upload = make_provider({"provider": "file", "path": str(path), "profile": "upload"})
    assert upload.fetch(PURPOSE) == WHOLE
    assert "[nobody]" in refusal_of(provider="file", path=str(path), profile="nobody")


@pytest.mark.parametrize(
    "text",
    [f"aws_secret_access_key = {SECRET}", f"[default]\n{SECRET}", f"[default\n{TOKEN} = {SECRET}"],
)
def test_a_broken_file_of_awss_form_is_told_without_its_lines(tmp_path: Path, text: str) -> None:
    path = tmp_path / "credentials"
    path.write_text(text)
    assert str(path) in refusal_of(provider="file", path=str(path))


def test_a_file_is_read_anew_each_time_and_below_the_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / "keys.json"
    provider = make_provider({"provider": "file", "path": "~/keys.json"})
    for key in ("FIRST", "SECOND"):
        path.write_text(json.dumps({**FIELDS, "AccessKeyId": key}))
        found = provider.fetch(PURPOSE)
        assert found is not None
        assert found.access_key == key


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    nowhere = str(tmp_path / "nowhere")
    assert f"{nowhere}: No such file" in refusal_of(provider="file", path=nowhere)
    assert "Is a directory" in refusal_of(provider="file", path=str(tmp_path))
    latin = tmp_path / "latin"
    latin.write_bytes(b"\xff" + SECRET.encode())
    assert "isn't UTF-8" in refusal_of(provider="file", path=str(latin))


@pytest.mark.parametrize("section", ["default", "minio"])
def test_a_files_section_is_no_profile_of_awss_own_files(
    tmp_path: Path, rclone_s3: S3Server, section: str
) -> None:
    path = tmp_path / "credentials"
    keys = f"aws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n"
    path.write_text(f"[{section}]\n{keys}")
    stores = StoreRegistry(
        {"s3": {"endpoint_url": rclone_s3.endpoint_url, "region": REGION}},
        credentials={"provider": "file", "path": str(path), "profile": section},
    )
    assert not list(stores.open(f"s3://{rclone_s3.new_bucket()}", "destination").list())


# Commands


def test_a_command_is_told_the_purpose_word_by_word_and_no_shell_sees_it(tmp_path: Path) -> None:
    told = tmp_path / "told"
    document = tmp_path / "document.json"
    document.write_text(json.dumps(FIELDS))
    script = command(tmp_path, f'printf "%s\\n" "$@" > {told}; cat {document}')
    words = ["{job}", "--target={url}/*", "{permission}", "{other}", "two words"]
    provider = make_provider({"provider": "process", "command": [script, *words]})
    assert provider.fetch(PURPOSE) == WHOLE
    assert told.read_text().splitlines() == [
        "J1/A {url}",
        "--target=s3://bucket/{job} $(x)/*",
        "READWRITE",
        "{other}",
        "two words",
    ]


def test_one_string_is_split_as_a_shell_would(tmp_path: Path) -> None:
    path = tmp_path / "a document.json"
    path.write_text(json.dumps(FIELDS))
    assert make_provider({"provider": "process", "command": f"cat '{path}'"}).fetch(PURPOSE)


@pytest.mark.parametrize(
    ("told", "is_per_purpose"),
    [("mint", False), ("mint {url}", True), ("mint '{\"a\": 1}'", False), ("m {job}", True)],
)
def test_credentials_are_per_purpose_if_the_command_is_told_it(
    told: str, is_per_purpose: bool
) -> None:
    provider = make_provider({"provider": "process", "command": told})
    assert provider.is_per_purpose is is_per_purpose


@pytest.mark.parametrize("told", ["", "  ", [], [""], "'", ["mint", "a\0b"]])
def test_a_command_that_is_none_is_refused_before_it_is_run(told: object) -> None:
    with pytest.raises(UsageError, match="'process'"):
        make_provider({"provider": "process", "command": told})


def test_a_command_that_fails_is_named_and_nothing_of_what_it_printed(tmp_path: Path) -> None:
    script = command(tmp_path, f"echo {SECRET}; echo {TOKEN} >&2; exit 7")
    told = refusal_of(provider="process", command=[script, SECRET])
    assert script in told
    assert "exit code 7" in told


def test_secrets_on_standard_error_go_nowhere(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    document = tmp_path / "document.json"
    document.write_text(json.dumps(FIELDS))
    script = command(tmp_path, f"echo {SECRET} >&2; cat {document}")
    assert make_provider({"provider": "process", "command": script}).fetch(PURPOSE) == WHOLE
    assert capfd.readouterr() == ("", "")


def test_a_command_that_is_not_there_is_named(tmp_path: Path) -> None:
    nowhere = str(tmp_path / "nowhere")
    told = refusal_of(provider="process", command=[nowhere, SECRET])
    assert told == f"can't run the credential command {nowhere}: No such file or directory"


def test_a_command_that_hangs_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    child = tmp_path / "child"
    script = command(tmp_path, f"sleep 1000 & echo $! > {child}; echo {SECRET}; wait")
    told = refusal_of(provider="process", command=script, timeout_seconds=0.5)
    assert "didn't end within 0.5 s" in told
    deadline = time.monotonic() + 30
    while is_running(int(child.read_text())):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_command_that_prints_without_end_is_ended() -> None:
    told = refusal_of(provider="process", command=["yes", SECRET], timeout_seconds=0.5)
    assert "didn't end" in told


def test_a_child_that_keeps_the_pipe_does_not_hold_us_up(tmp_path: Path) -> None:
    child = tmp_path / "child"
    script = command(tmp_path, f"setsid sleep 1000 & echo $! > {child}; sleep 0.2; cat /dev/null")
    try:
        told = refusal_of(provider="process", command=script, timeout_seconds=1)
        assert "didn't end" in told
    finally:
        os.kill(int(child.read_text()), signal.SIGKILL)


def is_running(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
