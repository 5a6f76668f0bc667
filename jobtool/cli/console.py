"""Printing of events, as lines of text or as JSON lines. No other module prints."""

from __future__ import annotations

import json
import re
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from jobtool.level import Level
from jobtool.names import is_utf8
from jobtool.redact import redact

if TYPE_CHECKING:
    from jobtool.cli.logfile import LogFile
    from jobtool.events import Event

_TWO_STOPS = re.compile(r"(?<=[a-z)'])\.\.(?= [A-Z]|$)")
_LAST_WORD = re.compile(r"(?:^|[ (])[A-Za-z][a-z']*\)?$")

INFO, WARNING, DONE, FAILED = "💡", "❗", "✅", "❌"


class Console:
    """Prints events and notes on standard output.

    With ``as_json`` every event is a JSON line and notes are left out. ``place`` is printed with
    each line: ``host`` and ``rank`` of one rank of several. Several threads may print at once.
    """

    def __init__(
        self,
        *,
        verbosity: int = 1,
        as_json: bool = False,
        place: Mapping[str, str | int] | None = None,
    ) -> None:
        self.as_json = as_json
        self.verbosity = verbosity
        self.quiet_kinds: frozenset[str] = frozenset()
        self.loud_kinds: frozenset[str] = frozenset()  # shown whatever the verbosity
        self.write: Callable[[str], None] | None = None  # prints lines above a display
        self.watch: Callable[[Event], None] | None = None  # called with every event, shown or not
        self.log: LogFile | None = None  # gets events and notes, too
        self._place = place or {}
        self._lock = threading.Lock()

    def emit(self, event: Event) -> None:
        """Print an event, if the verbosity asks for it."""
        if self.watch is not None:
            self.watch(event)
        if self.log is not None:
            self.log.emit(event)
        is_asked_for = event.level <= self.verbosity or event.kind in self.loud_kinds
        if not is_asked_for or event.kind in self.quiet_kinds:
            return
        if self.as_json:
            self.print_json({**event.json(), **self._place})
        else:
            self._print(f"{event.mark()} {event.text()}")

    def note(self, text: str, symbol: str = INFO) -> None:
        """Print a sentence for people, unless ``--verbosity 0`` or ``--json``."""
        if self.log is not None:
            self.log.note(text, symbol)
        if not self.as_json and self.verbosity >= Level.NORMAL:
            self._print(f"{symbol} {text}")

    def result(self, text: str) -> None:
        """Print a result, whatever the verbosity."""
        self._print(text)

    def print_json(self, values: Mapping[str, Any]) -> None:
        """Print one JSON line."""
        # On output that isn't UTF-8, the stream's own escapes wouldn't be JSON.
        self._write(json.dumps(values, ensure_ascii=not is_utf8(sys.stdout.encoding), default=str))

    def _print(self, text: str) -> None:
        if self._place:
            prefix = f"[{':'.join(map(str, self._place.values()))}] "
            text = "\n".join(prefix + line for line in text.split("\n"))
        self._write(text)

    def _write(self, text: str) -> None:
        text = redact(text)
        with self._lock:
            if self.write is not None:
                self.write(text)
                return
            # One write for each line, so that lines of several processes don't mix.
            sys.stdout.write(text + "\n")
            sys.stdout.flush()


def print_error(text: str) -> None:
    """Print an error as one line on standard error."""
    print_error_lines([error_line(text)])


def error_line(text: str) -> str:
    """Return the line that ``print_error`` prints."""
    return f"{FAILED} {redact(ended(text))}"


def ended(text: str) -> str:
    """Return a message that ends with a full stop, if its last word is a word.

    A path, a URL or a quoted value may be copied from the end of a line, so it gets none. Two full
    stops, of a message and of the one that holds it, become one.
    """
    text = _TWO_STOPS.sub(".", text)
    return f"{text}." if _LAST_WORD.search(text) else text


def print_error_lines(lines: Iterable[str]) -> None:
    """Print lines on standard error."""
    for line in lines:
        sys.stderr.write(f"{line}\n")
