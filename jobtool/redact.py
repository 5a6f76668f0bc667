"""The last line of defence for secrets: all text is redacted here before it is shown or logged.

No text should contain a secret in the first place. But jobtool passes on messages of other
libraries, and can't know all of them.
"""

from __future__ import annotations

import os
import re
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import ClassVar

import msgspec

REPLACEMENT = "[redacted]"

#: Shorter ones are too likely to be a part of something else.
_SHORTEST = 8

#: Words in the names of settings that are secrets, and whole names that are.
_SECRET_WORDS = ("secret", "token", "password", "passwd", "passphrase", "access_key", "account_key")
_SECRET_NAMES = frozenset(
    "api_key apikey auth authorization connection_string credential creds key pkey private_key pwd "
    "sas tok".split()
)

#: What ``token`` names for gcsfs that isn't one: ways to log in.
LOGIN_WORDS = frozenset({"anon", "cloud", "google_default", "cache", "browser"})

#: Secrets recognised by their context: signatures, tokens, passwords in URLs.
_PATTERNS = re.compile(
    r"""
    (?P<key>
        X-Amz-(?:Signature|Security-Token|Credential)["']?\s*[=:]\s*["']?
      | (?:^|[?&;"'\s])(?:sig|delegation|password)= | X-Goog-Signature= | AccountKey=
      | Authorization["']?\s*[=:]\s*["']?
        (?:(?:AWS4-HMAC-SHA256|Bearer|Basic|SharedKey|Negotiate|Token)\s)?\s*
      | (?:aws_)?(?:secret_access_key|session_token|secretaccesskey|sessiontoken)
        ["']?\s*[=:]\s*["']?
    )
    [^\s"'&,@]+
  | (?P<url>://[^/@\s:]*:)[^/@\s]+(?=@)
    """,
    re.VERBOSE | re.IGNORECASE,
)


class Redactor:
    """Replaces known secrets, and what looks like one, in texts. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._secrets: tuple[str, ...] = ()

    def learn(self, *secrets: str | None) -> None:
        """Add secrets. The longest are replaced first."""
        with self._lock:
            known = {*self._secrets, *(text for text in secrets if text and len(text) >= _SHORTEST)}
            if len(known) > len(self._secrets):
                self._secrets = tuple(sorted(known, key=len, reverse=True))

    def __call__(self, text: str) -> str:
        """Return the text without secrets."""
        for secret in self._secrets:
            if secret in text:
                text = text.replace(secret, REPLACEMENT)
        if "=" in text or ":" in text:
            text = _PATTERNS.sub(lambda match: (match["key"] or match["url"]) + REPLACEMENT, text)
        return text


def sounds_secret(key: str) -> bool:
    """Return True if the name of a setting has a word that names of secrets have."""
    return any(word in key.lower() for word in _SECRET_WORDS)


def is_secret(key: str, value: object) -> bool:
    """Return True if a storage option, as fsspec's filesystems name them, is or holds a secret."""
    return next(secrets_in(key, value), None) is not None


def secrets_in(key: str, value: object) -> Iterator[str]:
    """Yield the secrets in a storage option, as fsspec's filesystems name them.

    The name tells, whatever the type of the value; a switch or an empty value is none, and neither
    is a token that is a file of a service account. In tables and lists each part is looked at; in
    a table under the name of a secret, all parts are secrets if none has such a name itself.
    """
    is_named = key.lower() in _SECRET_NAMES or sounds_secret(key)
    if isinstance(value, Mapping):
        found = [text for name, each in value.items() for text in secrets_in(str(name), each)]
        if is_named and not found:
            found = [text for each in value.values() for text in secrets_in(key, each)]
        yield from found
    elif isinstance(value, (list, tuple, set, frozenset)):
        for each in value:
            yield from secrets_in(key, each)
    elif is_named and not _is_no_secret(key, value):
        yield value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def without_secrets(options: Mapping[str, object]) -> dict[str, object]:
    """Return storage options without those that are secrets, at any depth of tables."""
    kept: dict[str, object] = {}
    for key, value in options.items():
        if not is_secret(key, value):
            kept[key] = value
        elif isinstance(value, Mapping) and (rest := without_secrets(value)):
            kept[key] = rest
    return kept


def _is_no_secret(key: str, value: object) -> bool:
    """Return True for a switch, nothing, and a ``token`` that is a file or a way to log in."""
    if value in (None, "", b"") or isinstance(value, bool):
        return True
    if key.lower() != "token" or not isinstance(value, (str, os.PathLike)):
        return False
    text = str(value)
    is_file = text.startswith(("/", "~", "./", "../")) or text.endswith(".json")
    return is_file or text in LOGIN_WORDS or isinstance(value, os.PathLike)


class Unshown(msgspec.Struct, frozen=True, kw_only=True):
    """A struct that may hold secrets. Only ``shown_fields`` are in its ``repr`` and in rich's."""

    shown_fields: ClassVar[tuple[str, ...]] = ()

    def __repr__(self) -> str:
        """Return the fields that may be shown."""
        shown = ", ".join(f"{name}={value!r}" for name, value in self.__rich_repr__())
        return f"{type(self).__name__}({shown})"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        """Return the fields that may be shown, for the package rich."""
        return [(name, getattr(self, name)) for name in self.shown_fields]


#: One for the process: a secret must not be shown anywhere.
redact = Redactor()


def redact_tracebacks() -> None:
    """Redact the tracebacks of uncaught exceptions as well."""

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        sys.stderr.write(redact("".join(traceback.format_exception(kind, error, trace))))

    def thread_hook(arguments: threading.ExceptHookArgs) -> None:
        if arguments.exc_value is not None:
            hook(arguments.exc_type, arguments.exc_value, arguments.exc_traceback)

    sys.excepthook = hook
    threading.excepthook = thread_hook
