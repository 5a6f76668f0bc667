"""The guard: of several ranks, the process that the launcher has started and knows.

mpirun and its like end all ranks of a program when one is killed, for want of memory, say, or ends
with an error. So the worker is a child of the process that they know. That one hands on what
signals it gets, and ends as its child does. If the child didn't end in order, it stays until the
other ranks have ended, where it can know of them.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from jobtool.worker.environment import Environment
from jobtool.worker.rankgroup import RankGroup

_PR_SET_PDEATHSIG = 1  # prctl(2)

_LOOK_SECONDS = 0.5

#: What a worker says to its guard.
_TOLD = b"told"
_IN_ORDER = b"in order "

#: The exit code of a guard if nobody is left who could tell what all have come to.
_WORK_MAY_BE_LEFT = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a worker has ended: with ``exit_code``, or ``killed_by`` a signal.

    ``environment`` is what it had found out about itself, None if it hadn't yet; ``has_told`` says
    that it had told its crew of itself. ``in_order`` says that the exit code is what it meant to
    tell its launcher.
    """

    exit_code: int
    in_order: bool = False
    has_told: bool = False
    killed_by: signal.Signals | None = None
    environment: Environment | None = None


class SupervisorLink:
    """The worker's end of the line to its guard."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def introduce(self, environment: Environment) -> None:
        """Tell the guard who this is, once that is known."""
        self._say(msgspec.json.encode(environment))

    def has_told(self) -> None:
        """Tell the guard that the crew has heard of this worker."""
        self._say(_TOLD)

    def dismiss(self, exit_code: int) -> None:
        """Tell the guard that the work has ended in order, whatever happens to the process."""
        self._say(_IN_ORDER + str(exit_code).encode())

    def _say(self, word: bytes) -> None:
        with contextlib.suppress(OSError):  # a guard that is gone takes us with it
            os.write(self._descriptor, word + b"\n")


def supervise(signals: Iterable[signal.Signals]) -> SupervisorLink | Ended:
    """Fork. Returns in the child at once, in its guard when the child has ended.

    ``signals`` are handed on to the child, whose handlers stay as they are. It has a process group
    of its own, so that what is sent to that of its guard doesn't reach it twice, and is killed if
    its guard is. To be called before there are threads, and before MPI is loaded.
    """
    wanted = [*signals]
    reading, writing = os.pipe()
    guard = os.getpid()
    held_back = signal.pthread_sigmask(signal.SIG_BLOCK, wanted)
    child = os.fork()
    if not child:
        os.close(reading)
        os.setpgid(0, 0)
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != guard:
            os._exit(128 + signal.SIGKILL)
        signal.pthread_sigmask(signal.SIG_SETMASK, held_back)
        return SupervisorLink(writing)
    os.close(writing)

    def hand_on(number: int, frame: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, number)

    for number in wanted:
        signal.signal(number, hand_on)
    signal.pthread_sigmask(signal.SIG_SETMASK, held_back)
    with open(reading, "rb") as line:
        words = line.read().splitlines()  # to its end, which comes with the child's
    # From here on its number may be another's.
    signal.pthread_sigmask(signal.SIG_BLOCK, wanted)
    _, status = os.waitpid(child, 0)
    for number in wanted:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, held_back)
    return _ended(words, status)


def _ended(words: list[bytes], status: int) -> Ended:
    """Return how a worker has ended, by what it has said and by its wait status."""
    environment = msgspec.json.decode(words[0], type=Environment) if words else None
    for word in words:
        if word.startswith(_IN_ORDER):
            code = int(word.removeprefix(_IN_ORDER))
            return Ended(exit_code=code, in_order=True, environment=environment)
    killed_by = signal.Signals(os.WTERMSIG(status)) if os.WIFSIGNALED(status) else None
    return Ended(
        exit_code=128 + killed_by if killed_by else os.waitstatus_to_exitcode(status),
        has_told=_TOLD in words,
        killed_by=killed_by,
        environment=environment,
    )


def outlast(ended: Ended, rank_group: RankGroup) -> int:
    """Wait until the other ranks have ended; return the exit code of one that has not in order.

    That is its own if it failed. If it was killed it is 0 if another has told what all came to, and
    3 if none could: work may be left.
    """
    with contextlib.suppress(OSError):
        rank_group.tell_end(None if ended.killed_by else ended.exit_code, has_told=ended.has_told)
    has_begun = ended.has_told
    while True:
        is_there = not rank_group.is_dismissed
        has_begun = has_begun or is_there
        if has_begun and not is_there:
            break
        with contextlib.suppress(OSError):  # as of a filesystem that is away: who knows?
            if not rank_group.has_others():
                break
        time.sleep(_LOOK_SECONDS)
    if not ended.killed_by:
        return ended.exit_code
    return 0 if has_begun and rank_group.is_dismissed else _WORK_MAY_BE_LEFT
