"""A process that forwards connections to a port of this machine, and can be killed."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

from tests.servers.hdfs import free_ports


class Forwarder:
    """Forwards ``port`` to ``target`` between ``start`` and ``kill``."""

    def __init__(self, target: int) -> None:
        self.port = free_ports(1)[0]
        self._target = target
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(self.port), str(self._target)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "listening\n"

    def kill(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.communicate()
            self._process = None


@contextlib.contextmanager
def forwarded(target: int) -> Iterator[Forwarder]:
    """Forward a free port to ``target``."""
    forwarder = Forwarder(target)
    forwarder.start()
    try:
        yield forwarder
    finally:
        forwarder.kill()


def _forward(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while found := source.recv(65536):
            target.sendall(found)
        target.shutdown(socket.SHUT_WR)


def _main(port: int, target: int) -> None:
    with socket.create_server(("127.0.0.1", port)) as server:
        print("listening", flush=True)
        while True:
            client = server.accept()[0]
            behind = socket.create_connection(("127.0.0.1", target))
            for pair in ((client, behind), (behind, client)):
                threading.Thread(target=_forward, args=pair, daemon=True).start()


if __name__ == "__main__":
    _main(int(sys.argv[1]), int(sys.argv[2]))
