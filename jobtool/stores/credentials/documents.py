"""Providers that read credentials from a document: a file, or what a command prints."""

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
from typing import Annotated, Any

import msgspec

from jobtool.names import quote
from jobtool.stores.credentials.aws import credentials_of
from jobtool.stores.credentials.provider import Credentials, CredentialScope, ProviderError

#: No document of credentials is larger; reading stops there.
_MAX_BYTES = 1024 * 1024

_PLACEHOLDER = re.compile(r"\{(job|url|permission)\}")


class FileProvider(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file that somebody else renews: JSON as of ``process``, or AWS's credentials file.

    It is read again at each refresh. Of AWS's own kind of file ``profile`` names the section.
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
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is no UTF-8"
            raise ProviderError(f"can't read credentials from {shown}: {reason}") from None
        if text.lstrip().startswith("{"):
            return decode_document(text, whose=shown)
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
            # What the parser says may hold the line that it couldn't read.
            raise ProviderError(
                f"expected credentials in {shown}, as JSON or in section [{quote(self.profile)}] "
                "with aws_access_key_id and aws_secret_access_key; found none"
            ) from None


class ProcessProvider(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A command that prints JSON: of ``credential_process``, of STS or of Access Grants.

    ``command`` is a list of words, or one string that is split as a shell would; no shell runs it.
    ``{job}``, ``{url}`` and ``{permission}`` in a word stand for the purpose. The command gets a
    session of its own, so that Ctrl-C, which lets the worker finish its files, doesn't end it.
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
        """Whether the command is told the purpose."""
        return any(_PLACEHOLDER.search(word) for word in self._words())

    def fetch(self, scope: CredentialScope) -> Credentials:
        """Run the command and read what it prints."""
        values = {"job": scope.job, "url": scope.url, "permission": scope.permission}
        words = [_PLACEHOLDER.sub(lambda match: values[match[1]], word) for word in self._words()]
        shown = quote(words[0])  # the rest may hold what isn't for logs
        try:
            exit_code, printed = _run(words, self.timeout_seconds)
        except subprocess.TimeoutExpired:
            raise ProviderError(
                f"the credential command {shown} hasn't ended within {self.timeout_seconds:g} s"
            ) from None
        except OSError as error:
            raise ProviderError(
                f"can't run the credential command {shown}: {error.strerror or error}"
            ) from None
        if exit_code != 0:
            # What it says isn't repeated: nobody knows what is in that.
            raise ProviderError(
                f"the credential command {shown} ended with exit code {exit_code}. "
                "Run it by hand to see what it says."
            )
        return decode_document(printed.decode("utf-8", "replace"), whose=shown)

    def _words(self) -> list[str]:
        if not isinstance(self.command, str):
            return self.command
        return shlex.split(self.command)


def decode_document(text: str, *, whose: str) -> Credentials:
    """Read credentials from JSON; raises ``ProviderError``, which holds none of the text.

    Either the object of ``credential_process`` or, under ``Credentials``, of ``aws sts …`` and
    ``aws s3control get-data-access``; both have ``AccessKeyId``, ``SecretAccessKey``,
    ``SessionToken`` and ``Expiration``. Source: AWS CLI, "Sourcing credentials with an external
    process".
    """
    try:
        document: Any = json.loads(text)
        found = document.get("Credentials", document)
        return credentials_of(
            found.get("AccessKeyId"),
            found.get("SecretAccessKey"),
            found.get("SessionToken"),
            found.get("Expiration"),
        )
    except (ValueError, AttributeError, RecursionError):
        raise ProviderError(
            "expected JSON with AccessKeyId, SecretAccessKey and, if it is temporary, SessionToken "
            f"and Expiration from {whose}; found something else"
        ) from None


def _run(words: list[str], timeout_seconds: float) -> tuple[int, bytes]:
    """Run a command; return its exit code and the first megabyte that it prints.

    What it says on its standard error goes nowhere. Raises ``subprocess.TimeoutExpired`` after it
    was killed with all that it has started, and ``OSError``.
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
    # Not communicate(): it keeps all that is printed, however much that is.
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
