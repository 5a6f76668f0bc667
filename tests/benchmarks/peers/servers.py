"""The S3 server of a run on loopback, rclone's or versitygw, and a delay in front of it."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path

from tests.servers.s3 import S3Server, rclone_server
from tests.servers.versitygw import versitygw_server


@dataclass(frozen=True, slots=True)
class Server:
    """A server at ``url`` whose buckets are the folders in ``folder``. ``direct`` has no delay."""

    url: str
    folder: Path
    environment: dict[str, str]
    direct: S3Server

    def new_bucket(self, name: str) -> str:
        """Make an empty bucket; return its name."""
        self.direct.client.create_bucket(Bucket=name)
        return name

    def fill(self, name: str, data: Path) -> None:
        """Make a bucket of some data by another program than jobtool, if it isn't there."""
        if not (self.folder / name).exists():
            self.direct.rclone(
                "copy", "--transfers", "16", str(data), f"s3:{self.new_bucket(name)}"
            )

    def cpu_seconds(self) -> float:
        """Return the CPU time that the server has used."""
        assert self.direct.pid is not None
        return _cpu_seconds(self.direct.pid)

    def clear(self) -> None:
        """Remove the buckets of earlier contenders."""
        for bucket in self.folder.glob("b" + "[0-9a-f]" * 12):
            shutil.rmtree(bucket)


@contextlib.contextmanager
def serving(folder: Path, name: str = "rclone") -> Iterator[Server]:
    """Run a server of this name, ``rclone`` or ``versitygw``."""
    with rclone_server(folder) if name == "rclone" else versitygw_server(folder) as server:
        yield _of(server)


def _cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process and of its children, as proc(5) tells it."""
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    user, system = after_name[11:13]
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    used = (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
    return used + sum(_cpu_seconds(int(child)) for child in children)


def _of(server: S3Server) -> Server:
    assert server.folder is not None
    return Server(server.endpoint_url.rstrip("/"), server.folder, server.environment, direct=server)


@contextlib.contextmanager
def delayed(server: Server, seconds: float) -> Iterator[Server]:
    """Reach a server through a process that passes on each piece of its answers later."""
    host, port = server.url.removeprefix("http://").split(":")
    ours, its = multiprocessing.Pipe()
    process = multiprocessing.Process(
        target=_relay, args=(its, host, int(port), seconds), daemon=True
    )
    process.start()
    try:
        url = f"http://127.0.0.1:{ours.recv()}"
        environment = {**server.environment, "AWS_ENDPOINT_URL": url}
        yield replace(server, url=url, environment=environment)
    finally:
        process.terminate()
        process.join()


def _relay(told: Connection, host: str, port: int, seconds: float) -> None:
    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection(host, port)
        await asyncio.gather(pump(reader, to_server, 0), pump(from_server, writer, seconds))

    async def serve() -> None:
        listener = await asyncio.start_server(connect, "127.0.0.1", 0)
        told.send(listener.sockets[0].getsockname()[1])
        await listener.serve_forever()

    asyncio.run(serve())


async def pump(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    wait: float,
    see: Callable[[bytes], None] | None = None,
) -> None:
    """Pass on what comes ``wait`` seconds after it came, however much comes meanwhile.

    ``see`` gets each piece when it comes.
    """
    due: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(64)
    clock = asyncio.get_running_loop().time

    async def send() -> None:
        while True:
            at, data = await due.get()
            if (left := at - clock()) > 0:
                await asyncio.sleep(left)
            if not data:
                break
            writer.write(data)
            await writer.drain()
        writer.close()

    sender = asyncio.create_task(send())
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(1 << 18):
            if see is not None:
                see(data)
            await due.put((clock() + wait, data))
    await due.put((clock(), b""))
    with contextlib.suppress(ConnectionError):
        await sender
