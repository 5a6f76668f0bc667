"""Run a program of the user's with a text on its standard input, for a limited time."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess

from jobtool.errors import reason_of
from jobtool.names import quote
from jobtool.notify.channel import NoticeError


def run(words: list[str], given: bytes, *, timeout_seconds: float) -> None:
    """Run a program; raise ``NoticeError`` if it can't be run or doesn't end well in time.

    Its output is discarded, since it may hold a secret. It has a session of its own: Ctrl-C, which
    lets a worker finish its files, doesn't end it. What it started ends with it if time is up.
    """
    shown = quote(words[0])  # other words may hold secrets
    try:
        process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        reason = reason_of(error) if isinstance(error, OSError) else str(error)
        raise NoticeError(f"can't run {shown}: {reason}", may_pass=False) from None
    with process:
        try:
            with contextlib.suppress(BrokenPipeError):  # it doesn't read all of it
                process.communicate(given, timeout=timeout_seconds)
        except subprocess.TimeoutExpired:
            raise NoticeError(f"{shown} didn't end within {timeout_seconds:g} s") from None
        finally:
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
    if process.returncode:
        raise NoticeError(
            f"{shown} ended with exit code {process.returncode}. Run it by hand to see what it says"
        )
