"""Commands on a terminal of their own, as people run them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.commands import BIN, environment

TIMEOUT_SECONDS = 60

_SEQUENCE = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|[()][A-Z0-9]|[=>78])")

ALTERNATE_SCREEN, MAIN_SCREEN = "\x1b[?1049h", "\x1b[?1049l"
HIDDEN_CURSOR, SHOWN_CURSOR = "\x1b[?25l", "\x1b[?25h"


class Terminal:
    """A command with a pseudo-terminal for its input and output. ``text`` is what it wrote."""

    def __init__(
        self,
        *command: object,
        columns: int = 80,
        rows: int = 24,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.text = ""
        self.leader, follower = pty.openpty()
        self.resize(columns, rows)
        self.before = termios.tcgetattr(self.leader)
        name, *arguments = map(str, command)
        variables = {"TERM": "xterm-256color", "LC_ALL": "C.UTF-8", **(env or {})}
        self.process = subprocess.Popen(
            [str(BIN / name), *arguments],
            stdin=follower,
            stdout=follower,
            stderr=follower,
            env={**environment(), **variables},
            cwd=cwd,
            start_new_session=True,
            # So that Ctrl-C is a signal.
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509
            close_fds=True,
        )
        os.close(follower)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *raised: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.leader)

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self.leader, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        with contextlib.suppress(AttributeError):
            self.process.send_signal(signal.SIGWINCH)

    def press(self, keys: str) -> None:
        os.write(self.leader, keys.encode())

    def wait_for(self, wanted: str) -> None:
        """Read until a text is seen after what was waited for before."""
        end, start = time.monotonic() + TIMEOUT_SECONDS, len(self.text)
        while wanted not in shown(self.text[start:]):
            assert time.monotonic() < end, f"expected {wanted!r}; found {self.text[start:]!r}"
            assert self._read() or wanted in shown(self.text[start:]), self.text

    def end(self) -> int:
        """Read until the command has ended; return its exit code."""
        end = time.monotonic() + TIMEOUT_SECONDS
        while self._read():
            assert time.monotonic() < end, self.text
        return self.process.wait(TIMEOUT_SECONDS)

    def _read(self) -> bool:
        found, _, _ = select.select([self.leader], [], [], 0.2)
        if not found:
            return self.process.poll() is None
        try:
            data = os.read(self.leader, 65536)
        except OSError:  # the last one that had the terminal has ended
            return False
        self.text += data.decode("utf-8", "replace")
        return bool(data)

    @property
    def modes(self) -> list[Any]:
        """How the terminal is set."""
        return termios.tcgetattr(self.leader)


def shown(text: str) -> str:
    """What is seen of a terminal's output: without its sequences."""
    return _SEQUENCE.sub("", text)


def lines_of(text: str) -> list[str]:
    """The lines that were written, frame after frame."""
    frames = re.split(r"\x1b\[H|\x1b\[\?1049[hl]", text)
    return [line for frame in frames for line in shown(frame).replace("\r", "").split("\n")]
