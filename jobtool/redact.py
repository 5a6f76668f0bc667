"""The last line of defence for secrets: all text is redacted here before it is shown or logged.

No text should contain a secret in the first place. But jobtool passes on messages of other
libraries, and can't know all of them.
"""

from __future__ import annotations

import re
import sys
import threading
import traceback
from types import TracebackType

REPLACEMENT = "[redacted]"

#: Shorter ones are too likely to be a part of something else.
_SHORTEST = 8

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
