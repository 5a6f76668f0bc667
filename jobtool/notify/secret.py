"""Secrets that a joblist names: a variable of the environment, or a file."""

from __future__ import annotations

import os

from jobtool.errors import reason_of
from jobtool.jobs.safe_read import UnfitFileError, read_bounded
from jobtool.names import quote
from jobtool.notify.channel import NoticeError
from jobtool.redact import redact

_MOST_BYTES = 16_384


def secret_of(variable: str | None, file: str | None) -> str:
    """Return a secret; from now on it is redacted in all text.

    Of a file it is the first line. Raises ``NoticeError``, without the secret, if there is none.
    """
    if variable is not None:
        value = os.environ.get(variable, "").strip()
        if not value:
            raise NoticeError(
                f"expected the variable {variable} in the environment; found none", may_pass=False
            )
    else:
        path = file or ""
        try:
            text = read_bounded(path, _MOST_BYTES).decode()
        except (OSError, UnfitFileError, UnicodeDecodeError) as error:
            raise NoticeError(
                f"can't read {quote(path)}: {reason_of(error)}", may_pass=False
            ) from None
        value = text.strip().partition("\n")[0].strip()
        if not value:
            raise NoticeError(f"expected a line in {quote(path)}; found none", may_pass=False)
    redact.learn(value)
    return value
