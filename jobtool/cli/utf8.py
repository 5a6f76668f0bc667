"""File names are UTF-8 in commands, whatever the locale."""

from __future__ import annotations

import contextlib
import os
import sys

from jobtool.names import are_utf8

_UTF8_MODE = [b"-X", b"utf8"]


def ensure_utf8() -> None:
    """Start this program again in Python's UTF-8 mode if its locale has another encoding.

    Call it before anything else in a command. The process stays the same, and open files stay open.
    Output keeps the locale's encoding, as the terminal has it. Source: Python, "Command line and
    environment", ``-X utf8``.
    """
    if are_utf8() or not sys.executable:
        return
    with contextlib.suppress(OSError):  # the library then refuses and says what to do
        with open("/proc/self/cmdline", "rb") as file:
            program, *arguments = file.read().split(b"\0")[:-1]
        if arguments[:2] == _UTF8_MODE:
            return
        environ = dict(os.environb)
        if sys.stdout is not None:
            environ.setdefault(b"PYTHONIOENCODING", sys.stdout.encoding.encode())
        os.execve(sys.executable, [program, *_UTF8_MODE, *arguments], environ)  # noqa: S606
