"""Providers that read credentials from a document: a file, or a command's output."""

from __future__ import annotations

import configparser
import json
import os
import re
import selectors
import shlex
import signal
import subprocess
import time
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec

from jobtool.names import quote
from jobtool.stores.credentials.aws import credentials_of
from jobtool.stores.credentials.provider import Credentials, CredentialScope, ProviderError
from jobtool.stores.credentials.tokens import bearer_in, is_sas, sas_in

#: The maximum size of a document in bytes. Reading stops there.
_MAX_BYTES = 1024 * 1024

_PLACEHOLDER = re.compile(r"\{(job|url|permission)\}")


class FileProvider(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file that another program renews: as the output of ``process``, or AWS's credentials file.

    It is read again at each refresh. ``profile`` names the section of AWS's credentials file.
    """

    path: str
    profile: str = "default"
    name = "file"
    can_renew = True
    is_per_purpose = False

    def fetch(self, scope: CredentialScope) -> Credentials:
        """Read the file."""
        path = os.path.expanduser(self.path)
        shown = quote(self.path)
        try:
            with open(path, "rb") as file:
                text = file.read(_MAX_BYTES).decode()
                made_at = datetime.fromtimestamp(os.fstat(file.fileno()).st_mtime, UTC)
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it isn't UTF-8"
            raise ProviderError(f"can't read credentials from {shown}: {reason}") from None
        if text.lstrip().startswith("{") or is_sas(text):
            return decode_document(text, whose=shown, made_at=made_at)
        return self._from_ini(text, shown)

    def _from_ini(self, text: str, shown: str) -> Credentials:
        parser = configparser.RawConfigParser()
        try:
            parser.read_string(text)
            section = parser[self.profile]
            return credentials_of(
                section.get("aws_access_key_id"),
                section.get("aws_secret_access_key"),
                section.get("aws_session_token"),
                section.get("aws_expiration", section.get("expiration")),
            )
        except (configparser.Error, KeyError, ValueError):
            # The parser's message may contain the line that it couldn't read.
            raise ProviderError(
                f"expected credentials in {shown}, as JSON, as a SAS token, or in section "
                f"[{quote(self.profile)}] with aws_access_key_id and aws_secret_access_key; found "
                "none"
            ) from None


class ProcessProvider(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A command that prints the JSON of ``credential_process``, STS or Access Grants, or a token.

    ``command`` is a list of words, or a string that is split as a shell would. No shell runs it.
    ``{job}``, ``{url}`` and ``{permission}`` in a word stand for the credential scope. The command
    runs in its own session, so that Ctrl-C, which lets the worker finish its files, doesn't end it.
    """

    command: str | list[str]
    timeout_seconds: Annotated[float, msgspec.Meta(gt=0)] = 60.0
    name = "process"
    can_renew = True

    def __post_init__(self) -> None:
        words = self._words()
        if not words or not words[0]:
            raise ValueError("`command` names no program")
        if any("\0" in word for word in words):
            raise ValueError("`command` holds a NUL character")

    @property
    def is_per_purpose(self) -> bool:
        """Whether the command is passed the credential scope."""
        return any(_PLACEHOLDER.search(word) for word in self._words())

    def fetch(self, scope: CredentialScope) -> Credentials:
        """Run the command and read its output."""
        values = {"job": scope.job, "url": scope.url, "permission": scope.permission}
        words = [_PLACEHOLDER.sub(lambda match: values[match[1]], word) for word in self._words()]
        shown = quote(words[0])  # other words may hold secrets
        try:
            exit_code, printed = _run(words, self.timeout_seconds)
        except subprocess.TimeoutExpired:
            raise ProviderError(
                f"the credential command {shown} didn't end within {self.timeout_seconds:g} s"
            ) from None
        except OSError as error:
            raise ProviderError(
                f"can't run the credential command {shown}: {error.strerror or error}"
            ) from None
        if exit_code != 0:
            # Its output isn't repeated: it may hold a secret.
            raise ProviderError(
                f"the credential command {shown} ended with exit code {exit_code}. "
                "Run it by hand to see what it says."
            )
        return decode_document(printed.decode("utf-8", "replace"), whose=shown)

    def _words(self) -> list[str]:
        if not isinstance(self.command, str):
            return self.command
        return shlex.split(self.command)


def decode_document(text: str, *, whose: str, made_at: datetime | None = None) -> Credentials:
    """Read credentials from a text. Raise ``ProviderError``, which repeats none of the text.

    It is one of these:

    - the JSON of AWS's ``credential_process``, or the one under ``Credentials`` of ``aws sts …``
      and ``aws s3control get-data-access``. Both have ``AccessKeyId``, ``SecretAccessKey``,
      ``SessionToken`` and ``Expiration``. Source: AWS CLI, "Sourcing credentials with an external
      process".
    - JSON with a bearer token; see ``tokens.bearer_in``. ``made_at`` is when it was made: by
      default, now.
    - a SAS token, whose field ``se`` says when it ends.
    """
    try:
        if not text.lstrip().startswith("{") and is_sas(text):
            return sas_in(text)
        document: Any = json.loads(text)
        bearer = bearer_in(document, made_at or datetime.now(UTC))
        if bearer is not None:
            return bearer
        found = document.get("Credentials", document)
        return credentials_of(
            found.get("AccessKeyId"),
            found.get("SecretAccessKey"),
            found.get("SessionToken"),
            found.get("Expiration"),
        )
    except (ValueError, AttributeError, TypeError, RecursionError):
        raise ProviderError(
            "expected JSON with AccessKeyId, SecretAccessKey and, if it is temporary, SessionToken "
            "and Expiration, JSON with access_token or accessToken, or a SAS token, from "
            f"{whose}; found something else"
        ) from None


def _run(words: list[str], timeout_seconds: float) -> tuple[int, bytes]:
    """Run a command. Return its exit code and the first megabyte of its output.

    Its standard error is discarded. Raises ``OSError``, and ``subprocess.TimeoutExpired`` after
    killing the command and the processes that it started.
    """
    deadline = time.monotonic() + timeout_seconds
    with subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        try:
            printed = _read(process, deadline)
            return process.wait(max(deadline - time.monotonic(), 0)), printed
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def _read(process: subprocess.Popen[bytes], deadline: float) -> bytes:
    # Not communicate(): it keeps the whole output, however large.
    assert process.stdout is not None
    printed = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                raise subprocess.TimeoutExpired(process.args, left)
            if selector.select(left):
                chunk = os.read(process.stdout.fileno(), 65536)
                if not chunk:
                    return printed
                printed += chunk[: _MAX_BYTES - len(printed)]
