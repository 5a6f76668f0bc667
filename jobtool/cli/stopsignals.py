"""The signals that ask a worker to stop."""

from __future__ import annotations

import contextlib
import os
import signal
from collections import deque
from collections.abc import Iterator

from jobtool.stop import Stop

#: Users and schedulers send these before the end. All ask to finish what is in progress and stop.
_STOP_SIGNALS = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,  # the terminal is gone
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGXCPU,
)


def stop_signals() -> tuple[signal.Signals, ...]:
    """Return the signals that ask to stop; without SIGHUP if it is ignored, as under nohup."""
    ignores_hangup = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return tuple(one for one in _STOP_SIGNALS if one != signal.SIGHUP or not ignores_hangup)


class Said:
    """What signal handlers say while a display is on: it prints that above its lines.

    A handler may interrupt any code, so it takes no locks: it appends to ``texts`` if ``is_shown``.
    """

    def __init__(self) -> None:
        self.is_shown = False
        self.texts: deque[str] = deque()


@contextlib.contextmanager
def stopping(
    stop: Stop,
    signals: tuple[signal.Signals, ...],
    *,
    doing: str = "finishing files in progress",
    said: Said | None = None,
) -> Iterator[None]:
    """Set ``stop`` on the first of ``signals``; exit on Ctrl-C after that.

    ``doing`` says what is done between the two. Where ``said`` is shown, it gets that.
    """
    interrupts = 0

    def handle(number: int, frame: object) -> None:
        nonlocal interrupts
        interrupts += number == signal.SIGINT
        if interrupts > 1 or (number == signal.SIGINT and stop.is_set()) or stop.is_lost:
            os._exit(128 + number)  # proofs are on disk, and the claim frees itself
        stop.set(signal.Signals(number).name)
        again = "; Ctrl-C again stops at once" if number == signal.SIGINT else ""
        text = f"{signal.Signals(number).name}: {doing}{again}"
        if said is not None and said.is_shown:
            said.texts.append(text)
            return
        # Not through the console: the interrupted code may hold its lock.
        with contextlib.suppress(OSError):  # the same signal may have ended the reader
            os.write(2, f"\n{text}\n".encode())

    before = {number: signal.signal(number, handle) for number in signals}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
