"""Single keys from a terminal."""

from __future__ import annotations

import atexit
import codecs
import contextlib
import os
import re
import signal
import termios
import tty
from typing import Any

ENTER, ESCAPE, BACKSPACE = "enter", "escape", "backspace"

#: What terminals send for keys that aren't characters. Sources: ECMA-48 and xterm's ctlseqs.
_SEQUENCES = {
    **{
        f"\x1b{sign}{letter}": name
        for sign in "[O"
        for letter, name in (("A", "up"), ("B", "down"), ("H", "home"), ("F", "end"))
    },
    "\x1b[1~": "home",
    "\x1b[4~": "end",
    "\x1b[5~": "page up",
    "\x1b[6~": "page down",
    "\r": ENTER,
    "\n": ENTER,
    "\x7f": BACKSPACE,
    "\x08": BACKSPACE,
    "\x1b": ESCAPE,
}
_KEY = re.compile(r"\x1b[\[O][0-9;]*[ -/]*[@-~]|[\s\S]")


class Keys:
    """Has a terminal pass on each key at once, unseen, as long as the block runs.

    Ctrl-C stays a signal. The terminal is as before at the end, also if the program crashes.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._before: list[Any] | None = None
        self._stop: Any = None
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def __enter__(self) -> Keys:
        self._before = termios.tcgetattr(self.descriptor)
        atexit.register(self.restore)
        # A program that is put aside would leave the shell with this terminal.
        self._stop = signal.signal(signal.SIGTSTP, signal.SIG_IGN)
        tty.setcbreak(self.descriptor)
        return self

    def __exit__(self, *raised: object) -> None:
        self.restore()
        signal.signal(signal.SIGTSTP, self._stop)
        atexit.unregister(self.restore)

    def restore(self) -> None:
        """Put the terminal back; raises nothing."""
        before, self._before = self._before, None
        if before is not None:
            with contextlib.suppress(termios.error, OSError):
                termios.tcsetattr(self.descriptor, termios.TCSADRAIN, before)

    def read(self) -> list[str]:
        """Return the keys that were pressed: characters, or names such as ``up``.

        Raises ``EOFError`` if the terminal is gone.
        """
        try:
            data = os.read(self.descriptor, 4096)
        except OSError:
            data = b""
        if not data:
            raise EOFError
        found = _KEY.findall(self._decoder.decode(data))
        named = (_SEQUENCES.get(each, each) for each in found)
        return [key for key in named if not key.startswith("\x1b")]
