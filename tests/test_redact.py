"""What looks like a secret, or is known to be one, isn't shown."""

from __future__ import annotations

import subprocess
import sys

import pytest
from rich.pretty import pretty_repr

from jobtool.redact import REPLACEMENT, Redactor, Unshown


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("https://host/key?X-Amz-Signature=5f2a&X-Amz-Date=1", "5f2a"),
        ("x-amz-security-token: IQoJb3Jp", "IQoJb3Jp"),
        ("Authorization: AWS4-HMAC-SHA256 Credential=AKIA1/2026", "AKIA1"),
        ("'Authorization': 'Bearer abc.def'", "abc.def"),
        ("aws_secret_access_key = wJalrXUtn", "wJalrXUtn"),
        ('{"SecretAccessKey": "wJalrXUtn"}', "wJalrXUtn"),
        ("http://user:pass-word@proxy:3128/", "pass-word"),
        ("http://user:a&b;c-word@proxy:3128/", "c-word"),
        ("https://a.blob.core.windows.net/c?sv=2022&sig=5f%2Ba%3D", "5f%2Ba%3D"),
        ("sv=2022;sig=5f2a/b==", "5f2a/b=="),
        ("SharedAccessSignature=sv=2022&sig=5f2a", "5f2a"),
        ("AccountName=acct;AccountKey=abc/def==;EndpointSuffix=x", "abc/def=="),
        ("Authorization: SharedKey acct:abc/def=", "abc/def="),
        ("'Authorization': 'Negotiate YIIabc'", "YIIabc"),
        ("Authorization: Token abcdef", "abcdef"),
        ("https://storage.googleapis.com/b/o?X-Goog-Signature=5f2a&x=1", "5f2a"),
        ("https://nn:9870/webhdfs/v1/x?op=OPEN&delegation=HAAE", "HAAE"),
        ("https://host/x?user=me&password=hunter2", "hunter2"),
    ],
)
def test_what_is_secret_by_its_place_is_replaced(text: str, secret: str) -> None:
    shown = Redactor()(text)
    assert secret not in shown
    assert REPLACEMENT in shown


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-20T10:00:00Z claimed worker=node017:4711 rank=0 claim=0a1b attempt=1",
        "http://127.0.0.1:18080/bucket/key@2",
        "s3://bucket/a:b@c",
        "/data/design=3/sig=4/file",
        "the folder is out of date; sign in again",
        "Uploading files from '/a/b' to S3...",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert Redactor()(text) == text


def test_what_was_learnt_is_replaced_the_longest_first() -> None:
    redact = Redactor()
    redact.learn("secret-key", "secret-key-and-more", None, "", "short")
    assert redact("a secret-key-and-more b secret-key c short") == (
        f"a {REPLACEMENT} b {REPLACEMENT} c short"
    )


def test_a_struct_with_secrets_shows_only_what_may_be_shown() -> None:
    class Login(Unshown, frozen=True, kw_only=True):
        user: str
        password: str

        shown_fields = ("user",)

    made = Login(user="lab", password="of-the-login")
    for shown in (str(made), repr([made]), pretty_repr(made)):
        assert "of-the-login" not in shown
        assert "lab" in shown


def test_a_traceback_of_a_bug_shows_no_secret() -> None:
    code = """
import threading
from jobtool.redact import redact, redact_tracebacks
redact_tracebacks()
redact.learn("a-secret-of-mine")
thread = threading.Thread(target=lambda: int("a-secret-of-mine"))
thread.start(); thread.join()
raise RuntimeError("it was " + "a-secret-" + "of-mine")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.count("Traceback") == 2
    assert f"it was {REPLACEMENT}" in done.stderr
    assert "a-secret-of-mine" not in done.stderr.replace('learn("a-secret-of-mine")', "")
