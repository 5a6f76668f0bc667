"""The script of a command that has it forked; ``tests.forked.put_scripts`` writes it into a folder.

It imports only what Python has built in: it costs 10 ms of CPU.
"""

from __future__ import annotations

import _signal
import _socket
import os
import sys
from _json import encode_basestring_ascii as quoted

_FORWARDED = (_signal.SIGHUP, _signal.SIGINT, _signal.SIGTERM, _signal.SIGUSR1, _signal.SIGUSR2)


def main(
    requests: int,
    script: str,
    function: str,
    at_start: tuple[str, ...],
    harmless: tuple[str, ...],
    ours: dict[str, str],
) -> None:
    """Have ``function`` forked by the server at ``requests``, or run ``script``.

    ``ours`` are the server's variables that begin with one of ``at_start`` and aren't ``harmless``.
    """
    environment = dict(os.environ)
    own = os.path.dirname(sys.argv[0]) + os.pathsep
    environment["PATH"] = environment.get("PATH", "").removeprefix(own)
    arguments = [script, *sys.argv[1:]]
    found = {
        name: value
        for name, value in environment.items()
        if name.startswith(at_start) and name not in harmless
    }
    told, telling = os.pipe()
    mask = os.umask(0)
    os.umask(mask)
    request = (
        f'{{"main": {quoted(function)}, "arguments": [{_joined(arguments)}],'
        f' "cwd": {quoted(os.getcwd())}, "umask": {mask}, "environment": {{'
        + ", ".join(f"{quoted(name)}: {quoted(value)}" for name, value in environment.items())
        + "}}"
    )
    rights = b"".join(number.to_bytes(4, sys.byteorder) for number in (0, 1, 2, telling))
    try:
        if found != ours:
            raise OSError
        server = _socket.socket(fileno=requests)
        server.sendmsg([request.encode()], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)])
    except OSError:
        os.execve(script, arguments, environment)
    os.close(telling)
    pid = _number(told)
    for number in _FORWARDED:
        _signal.signal(number, lambda number, _: os.kill(pid, number))
    status = _number(told)
    if os.WIFSIGNALED(status):
        if os.WTERMSIG(status) != _signal.SIGKILL:  # which always ends a process
            _signal.signal(os.WTERMSIG(status), _signal.SIG_DFL)
        os.kill(os.getpid(), os.WTERMSIG(status))
    os._exit(os.WEXITSTATUS(status))


def _joined(texts: list[str]) -> str:
    return ", ".join(map(quoted, texts))


def _number(descriptor: int) -> int:
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(descriptor, 1)
        if not byte:
            sys.exit("the process that forks commands has died")
        line += byte
    return int(line)
