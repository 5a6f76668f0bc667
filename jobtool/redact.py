"""The last line of defence for secrets: all text is redacted here before it is shown or logged.

No text should contain a secret in the first place. But jobtool passes on messages of other
libraries, and can't know all of them.
"""

from __future__ import annotations

import re
import sys
import threading
import traceback
from collections.abc import Mapping
from types import TracebackType

REPLACEMENT = "[redacted]"

#: Shorter ones are too likely to be a part of something else.
_SHORTEST = 8

#: Words in the names of settings that are secrets, and whole names that are.
_SECRET_WORDS = ("secret", "token", "password", "passwd", "passphrase", "access_key", "account_key")
_SECRET_NAMES = frozenset({"key", "sas", "connection_string", "private_key", "pkey", "credential"})

#: What ``token`` names for gcsfs that isn't one: ways to log in.
_NO_TOKENS = frozenset({"anon", "cloud", "google_default", "cache", "browser"})

#: Secrets recognised by their context: signatures, tokens, passwords in URLs.
_PATTERNS = re.compile(
    r"""
    (?P<key>
        X-Amz-(?:Signature|Security-Token|Credential)["']?\s*[=:]\s*["']?
      | Authorization["']?\s*[=:]\s*["']?(?:AWS4-HMAC-SHA256|Bearer|Basic)?\s* |
      (?:aws_)?(?:secret_access_key|session_token|secretaccesskey|sessiontoken)["']?\s*[=:]\s*["']?
      | ://[^/@\s:]*:(?=[^/@\s]+@)
    )
    [^\s"'&,@]+
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
            text = _PATTERNS.sub(lambda match: match["key"] + REPLACEMENT, text)
        return text


def sounds_secret(key: str) -> bool:
    """Return True if the name of a setting has a word that names of secrets have."""
    return any(word in key.lower() for word in _SECRET_WORDS)


def is_secret(key: str, value: object) -> bool:
    """Return True if a storage option, as fsspec's filesystems name them, is a secret.

    A token that is a file of a service account isn't. A table is one if anything in it is.
    """
    if isinstance(value, Mapping):
        return any(is_secret(str(name), each) for name, each in value.items())
    if key.lower() == "token" and isinstance(value, str):
        is_file = value.startswith(("/", "~", "./", "../")) or value.endswith(".json")
        return not (is_file or value in _NO_TOKENS)
    return isinstance(value, str) and (key.lower() in _SECRET_NAMES or sounds_secret(key))


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
