"""The signals that ask a worker to stop."""

from __future__ import annotations

import contextlib
import os
import signal
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


@contextlib.contextmanager
def stopping(
    stop: Stop, signals: tuple[signal.Signals, ...], *, doing: str = "finishing files in progress"
) -> Iterator[None]:
    """Set ``stop`` on the first of ``signals``; exit on Ctrl-C after that.

    ``doing`` says what is done between the two.
    """
    interrupts = 0

    def handle(number: int, frame: object) -> None:
        nonlocal interrupts
        interrupts += number == signal.SIGINT
        if interrupts > 1 or (number == signal.SIGINT and stop.is_set()) or stop.is_lost:
            os._exit(128 + number)  # proofs are on disk, and the claim frees itself
        stop.set(signal.Signals(number).name)
        # Not through the console: the interrupted code may hold its lock.
        with contextlib.suppress(OSError):  # the same signal may have ended the reader
            again = "; Ctrl-C again stops at once" if number == signal.SIGINT else ""
            name = signal.Signals(number).name
            os.write(2, f"\n{name}: {doing}{again}\n".encode())

    before = {number: signal.signal(number, handle) for number in signals}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
