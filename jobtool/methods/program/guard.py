"""A process between a worker and a program, so that the program never outlives the worker.

Run as ``python guard.py DESCRIPTOR PROGRAM [ARGUMENT…]`` in a session of its own. The descriptor is
the end of a pipe whose other end only the worker holds. When the worker closes it, or dies, however
that happens, the guard ends the program and all processes that it has started: by SIGTERM, and a
few seconds later by SIGKILL. It does the same with what a program leaves behind when it has ended.
The guard's exit code is the program's, or 128 and the number of the signal that killed it. 127
means that the program couldn't be started.

This file imports nothing of jobtool, so that it starts in a few milliseconds.
"""

import os
import select
import sys

_SIGTERM, _SIGKILL, _SIGHUP, _SIGINT = 15, 9, 1, 2

#: How long the program may take to end after SIGTERM, in seconds.
GRACE_SECONDS = 5.0

#: How often the group is looked at while it ends, and where the kernel has no pidfd.
_LOOK_SECONDS = 0.05

#: The program couldn't be started; as in shells.
NOT_STARTED = 127


def main(arguments: list[str]) -> int:
    """Run the program, guard it and return the exit code."""
    pipe, command = int(arguments[0]), arguments[1:]
    os.set_inheritable(pipe, False)
    try:
        child = os.posix_spawnp(command[0], command, os.environ)
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
        return NOT_STARTED
    _ignore_signals()
    code = _wait(child, pipe)
    if code is None:
        _end_group()
        code = _status(os.waitpid(child, 0)[1])
    else:
        _end_group()  # what it has left behind
    return code


def _ignore_signals() -> None:
    """Survive what is sent to the group. The program has been started before, with the defaults."""
    import signal

    for number in (_SIGTERM, _SIGHUP, _SIGINT):
        signal.signal(number, signal.SIG_IGN)


def _wait(child: int, pipe: int) -> int | None:
    """Return the program's exit code; None once the worker wants it ended, or is gone."""
    poll = select.poll()
    poll.register(pipe, select.POLLIN)
    try:
        poll.register(os.pidfd_open(child), select.POLLIN)
        pause = None
    except (AttributeError, OSError):  # Linux before 5.3
        pause = _LOOK_SECONDS * 1000
    while True:
        ready = [descriptor for descriptor, _ in poll.poll(pause)]
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return _status(status)
        if pipe in ready:
            return None


def _end_group() -> None:
    """End all other processes of this session's group."""
    import time

    if not _others():
        return
    os.killpg(0, _SIGTERM)
    end = time.monotonic() + GRACE_SECONDS
    while time.monotonic() < end:
        if not _others():
            return
        time.sleep(_LOOK_SECONDS)
    for other in _others():
        try:
            os.kill(other, _SIGKILL)
        except ProcessLookupError:
            continue


def _others() -> list[int]:
    """Return the other running processes of this process's group."""
    own, group = os.getpid(), os.getpgrp()
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == own:
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                state, _, its_group = file.read().rpartition(b")")[2].split()[:3]
        except (OSError, ValueError):
            continue
        if int(its_group) == group and state not in (b"Z", b"X"):
            found.append(int(name))
    return found


def _status(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
