"""Notices by a command: any program, which gets the notice as JSON."""

from __future__ import annotations

import json
import shutil

from jobtool.names import quote
from jobtool.notify.channel import NoticeError
from jobtool.notify.notice import Notice
from jobtool.notify.programs import run

_SECONDS = 60.0


class CommandChannel:
    """Runs a program with a notice as one line of JSON on its standard input."""

    name = "command"

    def __init__(self, words: list[str]) -> None:
        self._words = words
        self.shown = quote(words[0])

    def send(self, notice: Notice) -> None:
        """Run it. Raises ``NoticeError``."""
        run(self._words, json.dumps(notice.json()).encode() + b"\n", timeout_seconds=_SECONDS)

    def check(self) -> str:
        """Find the program; it isn't run."""
        if shutil.which(self._words[0]) is None:
            raise NoticeError(f"expected a program {self.shown}; found none", may_pass=False)
        return "the program is there; it wasn't run"
