"""The table ``[notify]``: what is refused, what has to be trusted, what never shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobtool.errors import JoblistError
from jobtool.jobs.settings import Settings, decode, encode
from tests.commands import assert_one_line_error, run
from tests.notify.places import make_joblist, occasions, recorded, recorder

MAIL = '[notify.mail]\nto = ["me@example.org"]\n'


def read(notify: str) -> Settings:
    return decode(f"format = 1\n{notify}\n", path="joblist.toml")


@pytest.mark.parametrize(
    ("notify", "expected"),
    [
        ('[notify]\non = ["finished"]', "Did you mean 'finish'"),
        ('[notify]\nonn = ["finish"]', "Did you mean 'on'"),
        ("[notify]\nstall_minutes = 0", "stall_minutes"),
        ('[notify]\ndaily_at = "8:00"', "HH:MM"),
        ('[notify]\ndaily_at = "24:00"', "HH:MM"),
        ('[notify]\ncommand = ""', "a program and its arguments"),
        ("[notify]\ncommand = []", "a program and its arguments"),
        ('[notify]\ncommand = "a \'b"', "command: "),
        ("[notify.mail]\nto = []", "at least one address"),
        ('[notify.mail]\nto = ["-oQ/tmp"]', "an address"),
        ('[notify.mail]\nto = ["a@b.org\\nBcc: c@d.org"]', "an address"),
        (f'{MAIL}from = "a b"', "from: expected an address"),
        (f'{MAIL}frm = "a"', "Did you mean 'from'"),
        (f'{MAIL}smtp = "a b"', "HOST or HOST:PORT"),
        (f'{MAIL}smtp = "host:0"', "HOST or HOST:PORT"),
        (f'{MAIL}smtp = "host"\nuser = "me"', "password_env or password_file"),
        (f'{MAIL}user = "me"\npassword_env = "P"', "smtp"),
        (f'{MAIL}smtp = "host"\nuser = "me"\npassword_file = "p"', "an absolute path"),
        (f'{MAIL}smtp = "h"\nuser = "m"\npassword_env = "P"\nsecurity = "none"', "without encrypt"),
        (f'{MAIL}password = "hunter22"', "looks like a secret"),
        (f'{MAIL}security = "startls"', "Did you mean 'starttls'"),
        ("[notify.webhook]", "one of url, url_env and url_file; found none"),
        ('[notify.webhook]\nurl_env = "A"\nurl_file = "/b"', "found several"),
        ('[notify.webhook]\nurl = "ftp://host/"', "expected a URL"),
        ('[notify.webhook]\nurl_env = "https://host/x"', "the name of a variable"),
        ('[notify.webhook]\nurl = "https://hooks.slack.com/services/x"', "url_file"),
        ('[notify.webhook]\nurl = "https://chat.here/x"\nformat = "slack"', "url_file"),
        ('[notify.webhook]\nurl = "https://me:pw@host/x"', "looks like a secret"),
        ('[notify.webhook]\nurl = "https://host/x?token=12"', "looks like a secret"),
        ("[notify]\ncommand = \"curl -H 'Authorization: Bearer abc' x\"", "looks like a secret"),
    ],
)
def test_what_makes_no_sense_or_is_a_secret_is_refused(notify: str, expected: str) -> None:
    with pytest.raises(JoblistError, match=r"joblist\.toml") as caught:
        read(notify)
    assert expected in str(caught.value)
    for secret in ("hunter22", "services/x", "me:pw", "token=12"):
        assert secret not in str(caught.value)


def test_settings_survive_being_written() -> None:
    settings = read(
        '[notify]\non = ["daily"]\ncommand = ["a", "b c"]\n'
        f'{MAIL}from = "it@example.org"\nsmtp = "[::1]:2525"\nuser = "me"\npassword_env = "PW"\n'
        '[notify.webhook]\nurl_file = "/secrets/url"\nformat = "teams"'
    )
    assert decode(encode(settings), path="again") == settings
    assert settings.notify.mail is not None
    assert settings.notify.mail.server == ("::1", 2525)
    assert "notify" not in encode(Settings())


@pytest.mark.parametrize(
    ("mail", "server"),
    [
        ('smtp = "host"', ("host", 587)),
        ('smtp = "host"\nsecurity = "tls"', ("host", 465)),
        ('smtp = "host"\nsecurity = "none"', ("host", 25)),
        ('smtp = "[::1]"', ("::1", 587)),
    ],
)
def test_a_server_has_the_port_of_its_security(mail: str, server: tuple[str, int]) -> None:
    found = read(MAIL + mail).notify.mail
    assert found is not None
    assert found.server == server


@pytest.mark.parametrize("tool", ["transfer-worker", "jobtool notify"])
def test_what_others_could_have_written_tells_nobody(tmp_path: Path, tool: str) -> None:
    joblist = make_joblist(tmp_path, f'[notify]\ncommand = "{recorder(tmp_path)}"')
    (joblist / "joblist.toml").chmod(0o666)
    words = (*tool.split(), joblist)
    assert_one_line_error(run(*words), 2, "metrics or notices", "--trust")
    assert recorded(tmp_path) == []
    assert run(*words, "--trust").exit_code == 0
    assert occasions(tmp_path) == (["finish"] if tool == "transfer-worker" else [])


def test_nobody_to_tell_is_said(tmp_path: Path) -> None:
    joblist = make_joblist(tmp_path, "")
    assert_one_line_error(run("jobtool", "notify", joblist, "--test"), 2, "found nobody to tell")
