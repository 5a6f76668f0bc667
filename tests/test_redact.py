"""What looks like a secret, or is known to be one, isn't shown."""

from __future__ import annotations

import subprocess
import sys

import pytest

from jobtool.redact import REPLACEMENT, Redactor


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
