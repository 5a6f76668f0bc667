"""What rsync's exit codes mean. Source: rsync(1), section "EXIT VALUES", version 3.5.

rsync mostly says itself why it has failed. But if the rsync at the server dies, such as on a full
disk, its message is sometimes lost on the way, and the exit code is all that is left.
"""

from __future__ import annotations

import signal

#: Some files weren't transferred. The others were.
SOME_LEFT = frozenset({23, 24})

#: The connection has ended, or the other side has.
CONNECTION_ENDED = frozenset({10, 12, 30, 35, 255})

_MEANINGS = {
    1: "syntax or usage error",
    2: "protocol incompatibility",
    3: "error selecting input or output files or folders",
    4: "requested action not supported",
    5: "error starting client-server protocol",
    10: "error in socket I/O",
    11: "error in file I/O, such as on a full disk",
    12: "error in rsync protocol data stream",
    13: "error with program diagnostics",
    14: "error in IPC code",
    15: "a sibling process crashed",
    16: "a sibling process was killed by a signal",
    19: "received SIGUSR1",
    20: "received SIGINT, SIGTERM or SIGHUP",
    21: "error returned by waitpid()",
    22: "error allocating memory",
    23: "partial transfer due to error",
    24: "partial transfer due to vanished source files",
    30: "timeout in data send/receive",
    35: "timeout waiting for daemon connection",
    127: "rsync or ssh couldn't be started",
    255: "ssh has failed or lost its connection",  # ssh(1), section "EXIT STATUS"
}

#: A program that a signal has killed has this and the signal's number as its exit code.
_KILLED = 128


def failure_by(exit_code: int, said: str) -> str:
    """Return why rsync failed, as a clause for a message.

    ``said`` is what it printed, in one line, without names and progress; empty for nothing.
    """
    meaning = _meaning_of(exit_code)
    shown = f" ({meaning})" if meaning else ""
    return f"rsync ended with exit code {exit_code}{shown}: {said or 'it gave no reason'}"


def _meaning_of(exit_code: int) -> str | None:
    if exit_code in _MEANINGS:
        return _MEANINGS[exit_code]
    try:
        return f"killed by {signal.Signals(exit_code - _KILLED).name}"
    except ValueError:
        return None
