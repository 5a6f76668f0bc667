"""Counts the HTTP requests that clients send to a server, by method."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection

from tests.benchmarks.peers.servers import Server, pump

_END_OF_HEAD = b"\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
_LISTING = re.compile(rb"[?&](list-type=|prefix=|delimiter=)")


class RequestCounter:
    """Counts the requests in what one connection's client sends; a listing counts as ``LIST``."""

    def __init__(self, counts: Counter[str]) -> None:
        self._counts = counts
        self._head = b""
        self._skip = 0  # bytes of the body that are still to come
        self._in_chunks = False

    def see(self, data: bytes) -> None:
        """Take the next piece of what the client sends."""
        while data:
            if self._skip:
                passed = min(self._skip, len(data))
                self._skip -= passed
                data = data[passed:]
                continue
            end = b"\r\n" if self._in_chunks else _END_OF_HEAD
            self._head += data
            head, found, data = self._head.partition(end)
            if not found:
                return
            self._head = b""
            if self._in_chunks:
                self._begin_chunk(head)
            else:
                self._begin_request(head)

    def _begin_request(self, head: bytes) -> None:
        method, _, target = head.partition(b"\r\n")[0].partition(b" ")
        is_listing = method == b"GET" and _LISTING.search(target) is not None
        self._counts["LIST" if is_listing else method.decode("latin-1")] += 1
        length = _LENGTH.search(head)
        self._in_chunks = _CHUNKED.search(head) is not None
        self._skip = int(length[1]) if length and not self._in_chunks else 0

    def _begin_chunk(self, line: bytes) -> None:
        """Skip a chunk and the end of its line. The last has no bytes; trailers may follow it."""
        if not line:
            self._in_chunks = False
        elif b":" not in line and (size := int(line.partition(b";")[0], 16)):
            self._skip = size + 2


@dataclass(frozen=True, slots=True)
class Counted:
    """A server behind a proxy that counts."""

    server: Server
    _asked: Connection

    def take(self) -> dict[str, int]:
        """Return the requests since the last call, by method."""
        self._asked.send(None)
        return dict(self._asked.recv())


@contextlib.contextmanager
def counted(server: Server, seconds: float) -> Iterator[Counted]:
    """Reach a server through a process that counts, and passes on answers ``seconds`` later."""
    host, port = server.url.removeprefix("http://").split(":")
    ours, its = multiprocessing.Pipe()
    process = multiprocessing.Process(
        target=_relay, args=(its, host, int(port), seconds), daemon=True
    )
    process.start()
    try:
        url = f"http://127.0.0.1:{ours.recv()}"
        environment = {**server.environment, "AWS_ENDPOINT_URL": url}
        yield Counted(replace(server, url=url, environment=environment), ours)
    finally:
        process.terminate()
        process.join()


def _relay(told: Connection, host: str, port: int, seconds: float) -> None:
    counts: Counter[str] = Counter()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection(host, port)
        see = RequestCounter(counts).see
        await asyncio.gather(pump(reader, to_server, 0, see), pump(from_server, writer, seconds))

    def tell() -> None:
        told.recv()
        told.send(dict(counts))
        counts.clear()

    async def serve() -> None:
        listener = await asyncio.start_server(connect, "127.0.0.1", 0)
        asyncio.get_running_loop().add_reader(told.fileno(), tell)
        told.send(listener.sockets[0].getsockname()[1])
        await listener.serve_forever()

    asyncio.run(serve())
