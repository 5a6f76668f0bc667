"""The supervisor: the process between the launcher of several ranks and one rank's worker.

mpirun and similar launchers end all ranks when one is killed, such as by the kernel for lack of
memory, or ends with an error. So the process that they have started only supervises: the worker is
its child. The supervisor forwards signals and ends with its child's exit code. If the child crashed
or was killed, the supervisor stays until the other ranks have ended, if it can see them.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import time
from collections.abc import Iterable

import msgspec

from jobtool import typed
from jobtool.worker.environment import Environment
from jobtool.worker.rankgroup import RankGroup

_PR_SET_PDEATHSIG = 1  # prctl(2)

_LOOK_SECONDS = 0.5

_PIPE_BYTES = 65536  # pipe(7): what one holds

#: What a worker sends to its supervisor.
_JOINED = b"joined"
_IN_ORDER = b"in order "

#: The exit code of a supervisor if no rank is left to report for all.
_WORK_MAY_BE_LEFT = 3


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """How a worker ended: with ``exit_code``, or ``killed_by`` a signal.

    ``environment`` is what the worker sent about itself, None if it sent nothing. ``has_joined`` is
    True if it had joined its rank group. ``in_order`` is True if the worker finished, so that
    ``exit_code`` is its result.
    """

    exit_code: int
    in_order: bool = False
    has_joined: bool = False
    killed_by: signal.Signals | None = None
    environment: Environment | None = None


class SupervisorLink:
    """The worker's end of the pipe to its supervisor."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def introduce(self, environment: Environment) -> None:
        """Send the worker's environment, once it is known."""
        self._send(msgspec.json.encode(environment))

    def joined(self) -> None:
        """Send that the worker has joined its rank group."""
        self._send(_JOINED)

    def finish(self, exit_code: int) -> None:
        """Send the exit code of the finished work. It counts even if the process fails later."""
        self._send(_IN_ORDER + str(exit_code).encode())

    def _send(self, word: bytes) -> None:
        with contextlib.suppress(OSError):  # a worker is killed together with its supervisor
            os.write(self._descriptor, word + b"\n")


def supervise(signals: Iterable[signal.Signals]) -> SupervisorLink | Ended:
    """Fork. In the child, return a link at once; in the supervisor, return how the child ended.

    ``signals`` are forwarded to the child, whose handlers stay as they are. The child has a process
    group of its own, so that a signal to the supervisor's group doesn't reach it twice. The kernel
    kills the child if the supervisor is killed. Call this before threads are started and before
    MPI is loaded.
    """
    wanted = [*signals]
    reading, writing = os.pipe()
    supervisor = os.getpid()
    held_back = signal.pthread_sigmask(signal.SIG_BLOCK, wanted)
    child = os.fork()
    if not child:
        os.close(reading)
        os.setpgid(0, 0)
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != supervisor:
            os._exit(128 + signal.SIGKILL)
        signal.pthread_sigmask(signal.SIG_SETMASK, held_back)
        return SupervisorLink(writing)
    os.close(writing)

    def forward(number: int, frame: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, number)

    for number in wanted:
        signal.signal(number, forward)
    signal.pthread_sigmask(signal.SIG_SETMASK, held_back)
    words = _read_to_end(reading).splitlines()  # until the child ends and so closes the pipe
    # From here on the child's process ID may be reused.
    signal.pthread_sigmask(signal.SIG_BLOCK, wanted)
    _, status = os.waitpid(child, 0)
    for number in wanted:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, held_back)
    return _ended(words, status)


def _read_to_end(reading: int) -> bytes:
    """Read a pipe to its end and close it. Handlers of signals run at once meanwhile.

    A signal that arrives right before a read that waits would otherwise wait with it.
    """
    woken, waking = os.pipe()
    os.set_blocking(waking, False)
    before = signal.set_wakeup_fd(waking, warn_on_full_buffer=False)
    found = b""
    try:
        while True:
            ready, _, _ = select.select([reading, woken], [], [])
            if woken in ready:
                os.read(woken, _PIPE_BYTES)
            if reading in ready:
                some = os.read(reading, _PIPE_BYTES)
                if not some:
                    return found
                found += some
    finally:
        signal.set_wakeup_fd(before)
        for descriptor in (reading, woken, waking):
            os.close(descriptor)


def _ended(words: list[bytes], status: int) -> Ended:
    """Return how a worker ended, from what it sent and from its wait status."""
    environment = typed.decode(words[0], Environment) if words else None
    for word in words:
        if word.startswith(_IN_ORDER):
            code = int(word.removeprefix(_IN_ORDER))
            return Ended(exit_code=code, in_order=True, environment=environment)
    killed_by = signal.Signals(os.WTERMSIG(status)) if os.WIFSIGNALED(status) else None
    return Ended(
        exit_code=128 + killed_by if killed_by else os.waitstatus_to_exitcode(status),
        has_joined=_JOINED in words,
        killed_by=killed_by,
        environment=environment,
    )


def outlast(ended: Ended, rank_group: RankGroup) -> int:
    """Wait until the other ranks have ended; return the exit code for a rank that failed.

    That is the worker's own exit code, unless the worker was killed. Then it is 0 if another rank
    has reported for all, else 3, since work may be left.
    """
    with contextlib.suppress(OSError):
        code = None if ended.killed_by else ended.exit_code
        rank_group.publish_end(code, has_joined=ended.has_joined)
    has_begun = ended.has_joined
    while True:
        is_there = not rank_group.is_closed
        has_begun = has_begun or is_there
        if has_begun and not is_there:
            break
        with contextlib.suppress(OSError):  # such as an unavailable filesystem: nothing is known
            if not rank_group.has_others():
                break
        time.sleep(_LOOK_SECONDS)
    if not ended.killed_by:
        return ended.exit_code
    return 0 if has_begun and rank_group.is_closed else _WORK_MAY_BE_LEFT
