"""Standard streams that never fail: a reader that goes away can't fail the work.

A reader may leave, the disk of a log may be full, a terminal may be closed, a descriptor may never
have been open. Output that can't be written is then dropped; later output is tried again. Commands
whose result is their output call ``why_lost``.
"""

from __future__ import annotations

import codecs
import errno
import io
import locale
import os
import select
import sys
from typing import TextIO

#: Plain text in place of symbols, for output that can't show them.
_PLAIN = {
    "💡": "[i]",
    "✅": "[ok]",
    "❗": "[!]",
    "❌": "[x]",
    "…": "...",
    "→": "->",
    "·": "-",
    "–": "-",
    "’": "'",
}
_ERRORS = "jobtool-plain"
_STDOUT, _STDERR = 1, 2


class _Descriptor(io.RawIOBase):
    """Writes to a file descriptor and raises nothing; ``error`` is the first error."""

    def __init__(self, descriptor: int) -> None:
        self.error: OSError | None = None
        self._descriptor = descriptor

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def write(self, data: object) -> int:
        view = memoryview(data)  # type: ignore[arg-type]
        while True:
            try:
                return os.write(self._descriptor, view)
            except BlockingIOError:  # another process may have made a shared pipe non-blocking
                select.select([], [self._descriptor], [])
            except OSError as error:
                self.note(error)
                return len(view)

    def note(self, error: OSError) -> None:
        """Record an error if it is the first."""
        if self.error is None:
            self.error = error


class _Output(io.TextIOWrapper):
    """A text stream that never fails."""

    def __init__(self, descriptor: int, *, before: TextIO | None, is_line_buffered: bool) -> None:
        self.descriptor = _Descriptor(descriptor)
        encoding = "utf-8" if before is None else before.encoding
        if self.descriptor.isatty() and "PYTHONIOENCODING" not in os.environ:
            # Python writes UTF-8 even in the locale "C", where a terminal may not show it.
            encoding = locale.getencoding()
        super().__init__(
            io.BufferedWriter(self.descriptor),
            encoding=encoding,
            errors=_ERRORS,
            line_buffering=is_line_buffered or self.descriptor.isatty(),
        )


def install() -> None:
    """Replace the standard streams of this process by streams that never fail.

    A second call does nothing. Descriptors that aren't open are opened on ``/dev/null`` first:
    otherwise the next file that is opened would get their numbers, and output would be written
    into it.
    """
    closed = _open_standard_descriptors()
    codecs.register_error(_ERRORS, _in_plain_characters)
    for name, descriptor in (("stdout", _STDOUT), ("stderr", _STDERR)):
        before = getattr(sys, name)
        if isinstance(before, _Output) or before is not getattr(sys, f"__{name}__"):
            continue  # replaced already, or by other code, such as a test's
        if before is not None:
            before.flush()
        output = _Output(descriptor, before=before, is_line_buffered=descriptor == _STDERR)
        if descriptor in closed:
            output.descriptor.note(OSError(errno.EBADF, os.strerror(errno.EBADF)))
        setattr(sys, name, output)


def as_printed(text: str, encoding: str) -> str:
    """Return a text as output in an encoding shows it."""
    codecs.register_error(_ERRORS, _in_plain_characters)
    return text.encode(encoding, _ERRORS).decode(encoding)


def why_lost() -> OSError | None:
    """Return the error that lost some of standard output; None if all was written."""
    output = sys.stdout
    if not isinstance(output, _Output):
        return None
    output.flush()
    return output.descriptor.error


def _open_standard_descriptors() -> set[int]:
    """Open standard descriptors that aren't open; return which weren't."""
    closed = set()
    for descriptor in (0, _STDOUT, _STDERR):
        try:
            os.fstat(descriptor)
        except OSError:
            closed.add(descriptor)
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != descriptor:
                os.dup2(opened, descriptor)
                os.close(opened)
    return closed


def _in_plain_characters(error: UnicodeError) -> tuple[str | bytes, int]:
    """Encode what the encoding lacks: symbols as plain text, everything else escaped."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    plain = [
        _PLAIN.get(character) or character.encode("ascii", "backslashreplace").decode()
        for character in error.object[error.start : error.end]
    ]
    return "".join(plain), error.end
