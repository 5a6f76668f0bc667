"""A process that has loaded everything and forks a command for each request.

A command of its own spends most of its time on imports: 0.2 s of CPU locally, 0.7 s with S3. One
that is forked here begins where its ``main`` begins. It is a process like any other: with its own
number, arguments, environment, working directory, standard streams, signals and exit code.

Run as ``python preloaded.py SOCKET``, where SOCKET is the number of a descriptor: requests come
over it, each with the descriptors of the standard streams and of a pipe, which gets the process's
number and, at its end, its status.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

_ROOT = Path(__file__).parents[1]
_MAX_REQUEST_BYTES = 1 << 20


def load() -> None:
    """Import what any command may import, and what its S3 clients import when they are made."""
    names = ("boto3", "obstore", "pyarrow.parquet", "pyarrow.csv", "pyarrow.compute")
    for name in (*names, "duckdb", "pyarrow.dataset"):  # the last two: of exports
        importlib.import_module(name)
    import jobtool

    for found in pkgutil.walk_packages(jobtool.__path__, "jobtool."):
        if not found.name.startswith("jobtool.testing"):
            importlib.import_module(found.name)
    from jobtool.stores.credentials.sessions import share_loader

    session = sys.modules["botocore.session"].Session()
    share_loader(session)  # so that forks don't parse the descriptions of S3
    session.create_client(
        "s3", region_name="nowhere", aws_access_key_id="none", aws_secret_access_key="none"
    )
    assert "mpi4py" not in sys.modules


def serve(requests: socket.socket) -> Callable[[], Any] | None:
    """Fork for each request. Return the function to call in the child; None after the last."""
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    children: dict[int, int] = {}
    while True:
        ready, _, _ = select.select([requests, wake_read], [], [])
        if wake_read in ready:
            os.read(wake_read, 4096)
            _reap(children)
        if requests not in ready:
            continue
        data, descriptors, _, _ = socket.recv_fds(requests, _MAX_REQUEST_BYTES, 4)
        if not data:
            return None
        *streams, status = descriptors
        pid = os.fork()
        if not pid:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            requests.detach()  # or it closes, at its end, whatever has its number by then
            return _become(json.loads(data), streams)
        for descriptor in streams:
            os.close(descriptor)
        children[pid] = status
        os.write(status, f"{pid}\n".encode())


def _reap(children: dict[int, int]) -> None:
    for pid in list(children):
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            pipe = children.pop(pid)
            with contextlib.suppress(BrokenPipeError):  # no process waits for it any more
                os.write(pipe, f"{status}\n".encode())
            os.close(pipe)


def _become(request: dict[str, Any], streams: list[int]) -> Callable[[], Any]:
    """Turn the forked process into the one that was asked for; return its main function."""
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
    os.closerange(3, 1024)
    for name, number, mode in (("stdin", 0, "r"), ("stdout", 1, "w"), ("stderr", 2, "w")):
        earlier = getattr(sys, name)
        stream = open(  # noqa: SIM115 - for as long as the process lives
            number, mode, encoding=earlier.encoding, errors=earlier.errors, closefd=False
        )
        if name == "stderr":
            stream.reconfigure(line_buffering=True)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    os.chdir(os.fsencode(request["cwd"]))
    os.umask(request["umask"])
    os.environ.clear()
    os.environ.update(request["environment"])
    time.tzset()
    arguments = request["arguments"]
    is_module = arguments[1:2] == ["-m"]
    sys.argv = arguments[2:] if is_module else arguments
    known = request["environment"].get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:1] = [os.path.dirname(sys.argv[0]), *filter(None, known)]
    module, _, name = request["main"].partition(":")
    main: Callable[[], Any] = getattr(importlib.import_module(module), name)
    return main


def main() -> None:
    sys.path.append(str(_ROOT))
    load()
    gc.freeze()  # collections in forks leave it alone, so that its pages stay shared
    requests = socket.socket(fileno=int(sys.argv[1]))
    requests.send(b"ready")
    command = serve(requests)
    if command is not None:
        _run(command)


def _run(command: Callable[[], Any]) -> NoReturn:
    """Run a command, and end the process as Python does, except that its memory isn't cleared.

    To clear what the fork shares with its parent copies it first: 0.1 s of CPU.
    """
    try:
        sys.exit(command())
    except SystemExit as end:
        code = end.code
        if not isinstance(code, int | None):
            raise
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):
        sys.exit(code)  # Python reports it, and ends with 120
    os._exit((code or 0) & 0xFF)


if __name__ == "__main__":
    main()
