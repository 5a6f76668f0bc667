"""A proxy of TCP that counts what clients send through it, and is as slow as a network."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator


class Counting:
    """A running proxy on a port of its own. ``sent_bytes`` is what clients have sent.

    ``passed_bytes`` is what has passed in both directions.
    """

    def __init__(self, listener: socket.socket, port: int, bytes_per_second: float) -> None:
        self.port: int = listener.getsockname()[1]
        self.sent_bytes = self.passed_bytes = 0
        self._listener = listener
        self._target = port
        self._bytes_per_second = bytes_per_second
        self._lock = threading.Lock()

    def serve(self) -> None:
        with contextlib.suppress(OSError):  # the listener was closed
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                for ends in ((client, server, True), (server, client, False)):
                    threading.Thread(target=self._pass_on, args=ends, daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket, is_counted: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(256 * 1024):
                time.sleep(len(data) / self._bytes_per_second)
                target.sendall(data)
                with self._lock:
                    self.sent_bytes += len(data) * is_counted
                    self.passed_bytes += len(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def counting_proxy(port: int, bytes_per_second: float = 1e9) -> Iterator[Counting]:
    """Run a proxy to a port of this machine."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        proxy = Counting(listener, port, bytes_per_second)
        thread = threading.Thread(target=proxy.serve, daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
