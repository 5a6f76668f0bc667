"""How people are told: by mail servers, sendmail, webhooks and commands that really run."""

from __future__ import annotations

import json
import os
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest

from tests.commands import Done, run, unused_port
from tests.doctor.examined import examined
from tests.notify.places import (
    PASSWORD,
    USER,
    certificate,
    mail_server,
    make_joblist,
    recorded,
    recorder,
    text_of,
    web_server,
)


def send_test(joblist: Path, **env: str) -> Done:
    return run("jobtool", "notify", joblist, "--test", env=env)


def test_mail_by_a_server_with_encryption_and_a_login(tmp_path: Path) -> None:
    folder = certificate(tmp_path)
    with mail_server(folder, takes_login=True) as mails:
        joblist = make_joblist(
            tmp_path,
            '[notify.mail]\nto = ["me@example.org", "him@example.org"]\nfrom = "it@example.org"\n'
            f'smtp = "{mails.address}"\nuser = "{USER}"\npassword_env = "MAIL_PASSWORD"',
        )
        env = {"MAIL_PASSWORD": PASSWORD, "SSL_CERT_FILE": str(folder / "server.pem")}
        done = send_test(joblist, **env)
        assert (done.exit_code, done.stderr) == (0, ""), done
        assert "Told by mail (me@example.org, him@example.org): a test for list." in done.stdout
        (mail,) = mails.kept
        assert mails.was_encrypted == [True]
        assert mails.recipients == ["me@example.org", "him@example.org"]
        assert (mail["From"], mail["Subject"]) == ("it@example.org", "jobtool: a test for list")
        assert mail["Auto-Submitted"] == "auto-generated"
        assert parsedate_to_datetime(mail["Date"]).tzinfo is not None
        assert "3 jobs: 3 todo." in text_of(mail)
        assert str(joblist) in text_of(mail)

        untrusted = send_test(joblist, MAIL_PASSWORD=PASSWORD)
        assert untrusted.exit_code == 4
        assert "no encrypted connection" in untrusted.stdout
        wrong = send_test(joblist, **{**env, "MAIL_PASSWORD": "another-one"})
        assert wrong.exit_code == 4
        assert "answered 535" in wrong.stdout
        none = send_test(joblist)
        assert "expected the variable MAIL_PASSWORD" in none.stdout
        assert len(mails.kept) == 1, "no login, no mail; no encryption, no login"
        for shown in (done, untrusted, wrong, none):
            assert PASSWORD not in shown.stdout
            assert "another-one" not in shown.stdout


def test_a_server_that_refuses_for_good_is_asked_once(tmp_path: Path) -> None:
    with mail_server() as mails:
        joblist = make_joblist(
            tmp_path,
            f'[notify.mail]\nto = ["me"]\nsmtp = "{mails.address}"\nsecurity = "none"',
        )
        mails.refusal = "554 we want none of this"
        done = send_test(joblist)
        assert (done.exit_code, mails.tries) == (4, 1)
        assert "answered 554 we want none of this" in done.stdout
        mails.refusal = "450 later, please"
        again = run("jobtool", "notify", joblist, "--test", "--json")
        (told,) = [json.loads(line) for line in again.lines]
        assert (told["event"], told["occasion"], mails.tries) == ("notice-failed", "test", 4)


def test_mail_by_sendmail_is_a_whole_message_for_its_addresses(tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    sendmail = tools / "sendmail"
    sendmail.write_text(
        f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/words; cat > {tmp_path}/mail\n'
    )
    sendmail.chmod(0o755)
    joblist = make_joblist(tmp_path, '[notify.mail]\nto = ["me@example.org", "root"]')
    assert send_test(joblist, PATH=f"{tools}:{os.environ['PATH']}").exit_code == 0
    assert (tmp_path / "words").read_text().split() == ["-i", "--", "me@example.org", "root"]
    mail = (tmp_path / "mail").read_text()
    assert "To: me@example.org, root\n" in mail
    assert "\r" not in mail
    sendmail.write_text("#!/bin/sh\nexit 75\n")
    done = send_test(joblist, PATH=f"{tools}:{os.environ['PATH']}")
    assert done.exit_code == 4
    assert "ended with exit code 75" in done.stdout


@pytest.mark.parametrize("form", ["json", "slack", "teams"])
def test_a_webhook_gets_what_its_service_reads_and_its_url_shows_nowhere(
    tmp_path: Path, form: str
) -> None:
    with web_server() as posts:
        secret = tmp_path / "url"
        secret.write_text(posts.url + "\n")
        joblist = make_joblist(
            tmp_path, f'[notify.webhook]\nurl_file = "{secret}"\nformat = "{form}"'
        )
        posts.answers = [503]
        assert send_test(joblist).exit_code == 0
        assert len(posts.paths) == 2, "once more after a failure that may pass"
        (body,) = posts.bodies
        assert shown_by(form, body).startswith("a test for list")
        assert "3 jobs: 3 todo." in shown_by(form, body)
        for status, tries in ((404, 1), (302, 1)):
            posts.answers, before = [status], len(posts.paths)
            done = send_test(joblist)
            assert (done.exit_code, len(posts.paths) - before) == (4, tries)
            assert f"answered {status}" in done.stdout
            assert "the-secret" not in done.stdout + done.stderr
            assert "T00" not in done.stdout
    secret.write_text("no url, but-a-secret")
    done = send_test(joblist)
    assert "expected a URL" in done.stdout
    assert "but-a-secret" not in done.stdout


def shown_by(form: str, body: dict[str, Any]) -> str:
    """The text that people see."""
    if form == "json":
        return str(body["text"])
    if form == "slack":
        assert body.keys() == {"text"}
        return str(body["text"]).removeprefix("*").replace("*\n", "\n", 1)
    (card,) = body["attachments"]
    assert card["contentType"] == "application/vnd.microsoft.card.adaptive"
    blocks = card["content"]["body"]
    return "\n".join(run["text"] for block in blocks for run in block["inlines"])


def test_names_are_text_for_chats(tmp_path: Path) -> None:
    hostile = tmp_path / "<!channel> & [x](y)"
    hostile.mkdir()
    with web_server() as posts:
        joblist = make_joblist(hostile, '[notify.webhook]\nurl_env = "HOOK"\nformat = "slack"')
        assert send_test(joblist, HOOK=posts.url).exit_code == 0
        (body,) = posts.bodies
    assert "<" not in body["text"]
    assert "&lt;!channel&gt; &amp; [x]" in body["text"]


def test_a_command_gets_json_and_is_ended_if_it_hangs_or_fails(tmp_path: Path) -> None:
    joblist = make_joblist(tmp_path, f'[notify]\ncommand = ["{recorder(tmp_path)}", "two words"]')
    assert send_test(joblist).exit_code == 0
    (told,) = recorded(tmp_path)
    assert (told["event"], told["occasion"], told["todo"]) == ("notice", "test", 3)
    assert told["path"] == str(joblist)
    (tmp_path / "recorder").write_text("#!/bin/sh\nexit 3\n")
    done = send_test(joblist)
    assert done.exit_code == 4
    assert "ended with exit code 3" in done.stdout
    (tmp_path / "recorder").unlink()
    assert "can't run" in send_test(joblist).stdout


def test_doctor_looks_and_sends_nothing(tmp_path: Path) -> None:
    with mail_server() as mails, web_server() as posts:
        joblist = make_joblist(
            tmp_path,
            f'[notify]\ncommand = "{recorder(tmp_path)}"\n'
            f'[notify.mail]\nto = ["me"]\nsmtp = "{mails.address}"\nsecurity = "none"\n'
            '[notify.webhook]\nurl_env = "HOOK"\nformat = "slack"',
        )
        found = examined(run("jobtool", "doctor", joblist, "--json", env={"HOOK": posts.url}))
        for way in ("mail", "webhook", "command"):
            assert found.one("notices", way)["verdict"] == "pass"
        assert (mails.kept, posts.paths, recorded(tmp_path)) == ([], [], [])
    (tmp_path / "recorder").unlink()
    env = {"HOOK": f"http://127.0.0.1:{unused_port()}/x"}
    found = examined(run("jobtool", "doctor", joblist, "--json", env=env))
    assert found.done.exit_code == 0
    for way in ("mail", "webhook", "command"):
        assert found.one("notices", way)["verdict"] == "warn"
