"""Names, messages and amounts as a report shows them: one line, visible, without secrets."""

from __future__ import annotations

from jobtool.names import in_one_line, quote, visible
from jobtool.redact import redact
from jobtool.units import size_text

#: A longer text is cut: a reason may be as long as a line of a log.
MOST_CHARACTERS = 300


def shown_name(name: str) -> str:
    """Return a name as job files spell it."""
    return _cut(redact(quote(name)))


def shown_text(text: str) -> str:
    """Return a message in one line; invisible characters are escapes."""
    return _cut(visible(in_one_line(redact(text))))


def shown_size(size_bytes: int | None) -> str:
    """Return a size for people, empty if it isn't known."""
    return "" if size_bytes is None else size_text(size_bytes)


def shown_files(done: int | None, total: int | None) -> str:
    """Return ``DONE/TOTAL``, or what is known of it."""
    if done is None:
        return ""
    return f"{done:,}" if total in (None, done) else f"{done:,}/{total:,}"


def _cut(text: str) -> str:
    return text if len(text) <= MOST_CHARACTERS else f"{text[: MOST_CHARACTERS - 1]}…"
