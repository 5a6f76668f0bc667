"""Commands as forks of a process that has loaded everything; see ``tests.preloaded``."""

from __future__ import annotations

import atexit
import fcntl
import functools
import json
import os
import select
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

BIN = Path(sys.executable).parent

MAINS = {
    "generate-joblist": "jobtool.cli.generate:main",
    "impala-transfer": "jobtool.cli.impala_transfer.command:main",
    "jobtool": "jobtool.cli.main:main",
    "summarise-jobs": "jobtool.cli.summarise:main",
    "transfer-worker": "jobtool.cli.transfer:main",
}

#: Variables that Python, or a library of its, reads from the environment when it starts.
_AT_START = ("PYTHON", "LC_", "LANG", "LD_", "MALLOC", "ARROW_", "OPENBLAS", "OMP_", "PATH")

#: A fork searches the first itself. The second is in ``os.environ`` until ``conftest`` removes it.
_HARMLESS = ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE")

_START_SECONDS = 60

#: Above those that a shell uses itself.
_FIRST_DESCRIPTOR = 200


def can_fork(env: Mapping[str, str]) -> bool:
    """Return True if a process with this environment may be a fork.

    Never with ``JOBTOOL_TEST_EXEC`` in it.
    """
    return "JOBTOOL_TEST_EXEC" not in env and _at_start(env) == _OURS


def _at_start(env: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in env.items()
        if name.startswith(_AT_START) and name not in _HARMLESS
    }


#: As it was when this process started: a test may have changed it since.
_OURS = _at_start(os.environ)


def put_scripts(folder: Path) -> int:
    """Write the commands into ``folder`` as scripts that have them forked, for shells.

    Return the descriptor that a shell must inherit. A script waits for its fork, gives it the
    signals that it gets itself, and ends as it does. It can't do so with SIGKILL and SIGSTOP. With
    another environment of Python's, or without the descriptor, it runs the command itself.
    """
    descriptor = fcntl.fcntl(_server(os.getpid()), fcntl.F_DUPFD_CLOEXEC, _FIRST_DESCRIPTOR)
    client = Path(__file__).with_name("forking.py").read_text(encoding="utf-8")
    harmless = ("PATH", *_HARMLESS)  # a page's shell has a PATH of its own
    ours = {name: value for name, value in _OURS.items() if name not in harmless}
    for name, main in MAINS.items():
        rule = f"{_AT_START!r}, {harmless!r}, {ours!r}"
        call = f"main({descriptor}, {str(BIN / name)!r}, {main!r}, {rule})"
        script = folder / name
        script.write_text(f"#!{sys.executable} -IS\n{client}\n{call}\n", encoding="utf-8")
        script.chmod(0o755)
    return descriptor


class Forked(subprocess.Popen[str]):
    """A process whose ``main``, ``module:function``, is called with its arguments as ``sys.argv``.

    Its parent is the process that forked it, which reports its end.
    """

    def __init__(self, main: str, arguments: list[str], **options: Any) -> None:
        self._main = main
        self._told = -1
        super().__init__(arguments, **options)

    def _execute_child(self, args: Any, *options: Any) -> None:
        _, _, _, _, cwd, env, _, _, _, *pipes = options[:15]
        stdin, _, _, stdout, _, stderr = pipes
        request = {
            "main": self._main,
            "arguments": list(args),
            "cwd": str(cwd or os.getcwd()),
            "environment": dict(env),
            "umask": _umask(),
        }
        told, telling = os.pipe()
        socket.send_fds(
            _server(os.getpid()), [json.dumps(request).encode()], [stdin, stdout, stderr, telling]
        )
        os.close(telling)
        self._close_pipe_fds(*pipes)
        self._told = told
        self._child_created = False
        self.pid = int(self._read_line())
        self._child_created = True

    def _read_line(self) -> bytes:
        line = b""
        while not line.endswith(b"\n"):
            byte = os.read(self._told, 1)
            assert byte, "the process that forks commands has died"
            line += byte
        return line

    def _try_wait(self, wait_flags: int) -> tuple[int, int]:
        timeout = 0 if wait_flags & os.WNOHANG else None
        if not select.select([self._told], [], [], timeout)[0]:
            return 0, 0
        status = int(self._read_line())
        os.close(self._told)
        return self.pid, status

    def _internal_poll(self, *deadstate: Any, **more: Any) -> int | None:
        if self.returncode is None and self._waitpid_lock.acquire(blocking=False):
            try:
                if self.returncode is None:
                    pid, status = self._try_wait(os.WNOHANG)
                    if pid:
                        self._handle_exitstatus(status)
            finally:
                self._waitpid_lock.release()
        return self.returncode


def _umask() -> int:
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("Umask:"))[6:], 8)


@functools.cache
def _server(pid: int) -> socket.socket:
    """Start the process that forks, once for each process of tests; it ends with that one."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    server = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("preloaded.py")), str(its.fileno())],
        pass_fds=[its.fileno()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    its.close()
    ours.settimeout(_START_SECONDS)
    assert ours.recv(16) == b"ready"
    ours.settimeout(None)
    atexit.register(_end, os.getpid(), ours, server)
    return ours


def _end(pid: int, requests: socket.socket, server: subprocess.Popen[bytes]) -> None:
    if os.getpid() == pid:  # not in a fork of the tests
        requests.close()
        server.wait()
