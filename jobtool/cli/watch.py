"""The live view of a joblist: drawn anew in place on a terminal, printed as blocks elsewhere."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from types import FrameType
from typing import TYPE_CHECKING

from jobtool.cli import streams
from jobtool.cli.page import Line, Page
from jobtool.cli.terminal import is_terminal
from jobtool.jobs.job import JobStatus
from jobtool.names import quote

if TYPE_CHECKING:
    from rich.console import Console as RichConsole
    from rich.console import Group

    from jobtool.cli.console import Console
    from jobtool.cli.summarise import Shown
    from jobtool.cli.summaryview import View
    from jobtool.report.overview import Overview

#: How long one look reads files that it doesn't know yet, before it shows what it has.
_SLICE_SECONDS = 1.0

#: How often the screen is drawn anew though nothing has changed.
_IDLE_SECONDS = 5.0

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)

#: How long the end waits for the thread that looks: the joblist's filesystem may be gone.
_END_SECONDS = 2.0


def watch(shown: Shown, console: Console, seconds: float) -> int:
    """Show a joblist every so many seconds until Ctrl-C; return the exit code of the last look."""
    from rich.console import Console as RichConsole

    terminal = RichConsole(highlight=False)
    if console.as_json or not is_terminal(sys.stdout) or terminal.is_dumb_terminal:
        return _print_blocks(shown, console, seconds)
    screen = Screen(shown, terminal, seconds)
    screen.run()
    return ended(screen, shown, console)


def ended(screen: Screen, shown: Shown, console: Console) -> int:
    """Print what was seen last, below what the terminal had before; return the exit code."""
    if screen.overview is None:
        return 130
    shown.print(screen.overview, console)
    return 128 + signal.SIGTERM if screen.is_terminated else screen.overview.exit_code


def _print_blocks(shown: Shown, console: Console, seconds: float) -> int:
    overview: Overview | None = None
    # Not an event of threading: this thread may hold its lock while the signal's handler sets it.
    receiving, sending = os.pipe()
    os.set_blocking(sending, False)
    with on_signals(lambda number: _wake(sending)) as ended:
        while not ended and streams.why_lost() is None:
            shown.live.look()
            overview = shown.overview(is_strict=overview is None)
            if not console.as_json:
                console.result(f"{datetime.now():%Y-%m-%d %H:%M:%S}")
            shown.print(overview, console)
            if not console.as_json:
                console.result("")
            select.select([receiving], [], [], seconds)
    os.close(receiving)
    os.close(sending)
    if signal.SIGTERM in ended:
        return 128 + signal.SIGTERM
    return 0 if overview is None else overview.exit_code


def _wake(descriptor: int) -> None:
    with contextlib.suppress(BlockingIOError):
        os.write(descriptor, b".")


@contextlib.contextmanager
def on_signals(call: Callable[[int], None]) -> Iterator[list[int]]:
    """Call back for signals that ask to end, during the block; yield those that have come."""
    received: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        received.append(number)
        call(number)

    before = {each: signal.signal(each, handle) for each in _ENDING}
    try:
        yield received
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


class Looker:
    """Looks at a joblist from a thread of its own, so that a slow filesystem holds up nothing.

    ``latest`` is the last overview, None before the first; ``error`` is what ended the thread.
    ``on_news`` is called from the thread after each look.
    """

    def __init__(self, shown: Shown, seconds: float, on_news: Callable[[], None]) -> None:
        self.latest: Overview | None = None
        self.error: Exception | None = None
        self.looked_at = time.monotonic()
        self._shown = shown
        self._seconds = seconds
        self._on_news = on_news
        self._again = threading.Event()
        self._is_over = False
        self._thread = threading.Thread(target=self._run, name="looker", daemon=True)

    def __enter__(self) -> Looker:
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._is_over = True
        self._again.set()
        self._thread.join(_END_SECONDS)

    def look_again(self) -> None:
        """Look at once."""
        self._again.set()

    def _run(self) -> None:
        try:
            while not self._is_over:
                self._again.clear()
                # The first screen soon, then fewer: each costs a look at what is known already.
                self._shown.live.look(_SLICE_SECONDS * (1 if self.latest is None else 2))
                self.latest = self._shown.overview(is_strict=self.latest is None)
                self.looked_at = time.monotonic()
                self._on_news()
                if not self.latest.unread:
                    self._again.wait(self._seconds)
        except Exception as error:
            self.error = error
            self._on_news()


class Screen:
    """The live view on a terminal. ``overview`` is the last one that was drawn.

    Subclasses add keys.
    """

    hint = "Ctrl-C ends"

    def __init__(self, shown: Shown, terminal: RichConsole, seconds: float) -> None:
        self.shown = shown
        self.terminal = terminal
        self.overview: Overview | None = None
        self.is_terminated = False
        self.is_over = False
        self._seconds = seconds
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        self.looker = Looker(shown, seconds, self.wake)

    def wake(self) -> None:
        """Have the screen drawn anew. Any thread, and a handler of signals, may call it."""
        with contextlib.suppress(BlockingIOError):
            os.write(self._writer, b".")

    def run(self) -> None:
        """Draw until the user ends it; raises what the look raises. The terminal is restored."""
        from rich.live import Live

        def on_end(number: int) -> None:
            self.is_over = True
            self.is_terminated = number != signal.SIGINT
            self.wake()

        resized = signal.signal(signal.SIGWINCH, lambda number, frame: self.wake())
        try:
            with (
                on_signals(on_end),
                Live(
                    console=self.terminal, screen=True, auto_refresh=False, redirect_stdout=False
                ) as live,
                self.looker,
            ):
                while not self.is_over and streams.why_lost() is None:
                    live.update(self._drawn(), refresh=True)
                    self._wait()
                    if self.looker.error is not None:
                        break
        finally:
            signal.signal(signal.SIGWINCH, resized)
            os.close(self._reader)
            writer, self._writer = self._writer, -1
            os.close(writer)
        if self.looker.error is not None:
            raise self.looker.error

    def _wait(self) -> None:
        readers = [self._reader, *self.inputs()]
        found, _, _ = select.select(readers, [], [], _IDLE_SECONDS)
        if self._reader in found:
            os.read(self._reader, 4096)
        for each in found:
            if each != self._reader:
                self.on_input()

    def inputs(self) -> list[int]:
        """Return the descriptors that keys come from."""
        return []

    def on_input(self) -> None:
        """Take what a key says."""

    def _drawn(self) -> Group:
        from rich.console import Group
        from rich.text import Text

        self.overview = self.looker.latest
        width, height = self.terminal.size
        page = Page(max(width, 20), encoding=sys.stdout.encoding, is_hard=True)
        lines = self.lines(page, height)
        # One that is as wide as the terminal may be followed by nothing.
        return Group(
            *(
                Text.assemble(*line, no_wrap=True, overflow="crop", end="")
                if number == height - 1
                else Text.assemble(*line, no_wrap=True, overflow="crop")
                for number, line in enumerate(lines[:height])
            )
        )

    def lines(self, page: Page, height: int) -> list[Line]:
        """Return the lines of the screen, ``height`` at most."""
        from jobtool.cli.summaryview import View

        overview = self.overview
        top = self.title(page)
        if overview is None:
            return [*top, (("Reading the joblist...", "yellow"),)]
        view = View(overview, page)
        top += [*view.state(), *self.late(page), *view.pauses(), *view.bar(), *view.rate()]
        top += [one_line_of_counts(overview), *view.since()]
        parts = self.parts(view)
        return [*top, *shared_out(parts, height - len(top))]

    def parts(self, view: View) -> list[list[Line]]:
        """Return what shares the rest of the screen, in its order."""
        jobs: list[Line] = []
        if self.shown.names_jobs and view.overview.jobs is not None:
            is_export = self.shown.live.joblist.settings.export is not None
            jobs = view.jobs(view.overview.jobs, is_export=is_export)
        return [
            *(view.workers(1000), [*view.causes(), *view.abandoned()]),
            *(jobs, view.values(), view.steps(), view.further()),
        ]

    def title(self, page: Page) -> list[Line]:
        """Return the first line: whose screen it is, and what the time is."""
        now = f"{datetime.now():%H:%M:%S}"
        end = f"{now}  {self.hint}"
        name = page.shown(quote(self.shown.live.joblist.path))
        return [
            ((page.fit(name, max(page.width or 0, 20) - len(end) - 2), "bold"), (f"  {end}", ""))
        ]

    def late(self, page: Page) -> list[Line]:
        """Return a warning if a look takes very long: the filesystem hangs, or is slow."""
        age = time.monotonic() - self.looker.looked_at
        if age < 5 * self._seconds + 10:
            return []
        text = f"The last look was {age:.0f} s ago: the joblist's filesystem is slow"
        return page.sentence(text, mark="❗", style="yellow", indent=3)


def one_line_of_counts(overview: Overview) -> Line:
    """Return how many jobs have which status, in one line."""
    counts = overview.counts
    pieces: list[tuple[str, str]] = [(f"{overview.total:,} jobs:", "")]
    styles = {JobStatus.SUCCESS: "green", JobStatus.ERROR: "red"}
    for status in (JobStatus.TODO, JobStatus.ONGOING, JobStatus.SUCCESS, JobStatus.ERROR):
        style = styles.get(status, "") if counts[status] else "dim"
        pieces.append((f"  {counts[status]:,} {status.value}", style))
    if counts[None]:
        pieces.append((f"  {counts[None]:,} invalid", "red"))
    return tuple(pieces)


def shared_out(parts: Sequence[list[Line]], room: int) -> list[Line]:
    """Return the lines of several parts within ``room`` lines, with an empty line before each.

    If there isn't room for all, each part gets a fair share; what is cut is counted.
    """
    shown = [part for part in parts if part]
    while shown and 2 * len(shown) > room:
        shown.pop()
    shares = _fair_shares([len(part) for part in shown], room - len(shown))
    lines: list[Line] = []
    for part, share in zip(shown, shares, strict=True):
        lines.append((("", ""),))
        if share < len(part):
            left = len(part) - share + 1
            lines += [*part[: share - 1], ((f"and {left} more lines", "dim"),)]
        else:
            lines += part
    return lines


def _fair_shares(needs: Sequence[int], room: int) -> list[int]:
    """Divide ``room`` so that nobody gets more than it needs, and nobody less than it must."""
    shares = [0] * len(needs)
    left = room
    for index in sorted(range(len(needs)), key=lambda each: needs[each]):
        rest = sum(1 for each in range(len(needs)) if not shares[each])
        shares[index] = min(needs[index], max(left // rest, 1))
        left -= shares[index]
    return shares
