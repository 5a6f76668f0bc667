"""Memory and speed with each store, and fsspec's own ``put`` beside it.

    python -m tests.benchmarks.stores FOLDER [--stores NAME…] [--large-gb N] [--small N]
        [--rounds N] [--peer-python PATH] [--json FILE]

Each store's real server runs on this machine and keeps its data in FOLDER, or in memory. For each:

- One file of ``--large-gb`` goes up and down again, and the largest memory of a worker is shown, as
  the system accounts for it. It should stay under 250 MiB. FOLDER must hold it three times.
- ``--small`` files of 32 KiB go up by ``transfer-worker`` and by ``put`` of fsspec's filesystems,
  in turn, ``--rounds`` times. The table shows medians, and jobtool's wall time divided by the
  peer's, round by round. ``generate-joblist`` isn't counted. Both start a Python.

Peers are run by PATH, a Python with adlfs, s3fs, sshfs, paramiko and gcsfs, which need other
versions of clients than jobtool. A peer that isn't installed there is left out. ``put`` proves
nothing; jobtool proves each file and keeps a receipt.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.benchmarks.peers.measure import Cost, measured
from tests.servers.azure import azurite_server
from tests.servers.ftp import ftp_server
from tests.servers.hdfs import USER, hdfs_server
from tests.servers.nginx import nginx_server
from tests.servers.s3 import ACCESS_KEY, SECRET_KEY, rclone_server
from tests.servers.sftp import sftp_server

BIN = Path(sys.executable).parent
PUT = Path(__file__).with_name("fsspec_put.py")
MOST_MEBIBYTES = 250
_PARAMIKO = "fsspec.implementations.sftp.SFTPFileSystem"  # sshfs takes its protocol over
SMALL_BYTES = 32 * 1024


@dataclass(frozen=True, kw_only=True)
class Peer:
    """One of fsspec's filesystems: its protocol or class, and the module that it needs."""

    name: str
    protocol: str
    module: str
    options: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Reached:
    """A running server, and how clients reach it.

    ``new`` returns an unused place there: its URL, and its path as fsspec has it. A server whose
    stores are sources only has ``files`` instead, the folder that it serves at ``url``.
    """

    new: Callable[[], tuple[str, str]] | None = None
    files: Path | None = None
    url: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    peers: tuple[Peer, ...] = ()


@contextlib.contextmanager
def az(folder: Path) -> Iterator[Reached]:
    """Azurite, and adlfs."""
    with azurite_server(folder, is_in_memory=False) as server:
        options = {"connection_string": server.connection_string}

        def new() -> tuple[str, str]:
            container = server.new_container()
            return f"az://{container}/a", f"{container}/a"

        peer = Peer(name="adlfs", protocol="abfs", module="adlfs", options=options)
        yield Reached(new=new, environment=server.environment, peers=(peer,))


@contextlib.contextmanager
def s3(folder: Path) -> Iterator[Reached]:
    """``rclone serve s3``, and s3fs."""
    with rclone_server(folder) as server:
        options = {"key": ACCESS_KEY, "secret": SECRET_KEY, "endpoint_url": server.endpoint_url}

        def new() -> tuple[str, str]:
            bucket = server.new_bucket()
            return f"s3://{bucket}/a", f"{bucket}/a"

        peer = Peer(name="s3fs", protocol="s3", module="s3fs", options=options)
        yield Reached(new=new, environment=server.environment, peers=(peer,))


@contextlib.contextmanager
def gs(folder: Path) -> Iterator[Reached]:
    """fake-gcs-server, and gcsfs."""
    from tests.servers.gcs import gcs_server

    with gcs_server(folder) as server:
        options = {"token": "anon", "endpoint_url": server.url}

        def new() -> tuple[str, str]:
            bucket = server.new_bucket()
            return f"gs://{bucket}/a", f"{bucket}/a"

        peer = Peer(name="gcsfs", protocol="gcs", module="gcsfs", options=options)
        yield Reached(new=new, environment=server.environment, peers=(peer,))


@contextlib.contextmanager
def hdfs(folder: Path) -> Iterator[Reached]:
    """Hadoop's servers, and fsspec's client of WebHDFS."""
    with hdfs_server(folder / "hdfs") as server:
        options = {"host": "127.0.0.1", "port": server.http_port, "user": USER}

        def new() -> tuple[str, str]:
            path = server.new_folder()
            return f"{server.hdfs}{path}", path

        peer = Peer(name="webhdfs", protocol="webhdfs", module="requests", options=options)
        yield Reached(new=new, environment=server.environment, peers=(peer,))


@contextlib.contextmanager
def sftp(folder: Path) -> Iterator[Reached]:
    """OpenSSH, sshfs (by asyncssh), and fsspec's own client (by paramiko)."""
    with sftp_server(folder) as server:
        place = {"host": "127.0.0.1", "port": server.ports["shell"], "username": server.user}
        count = iter(range(10**6))

        def new() -> tuple[str, str]:
            path = folder / "data" / f"{next(count)}"
            path.mkdir(parents=True)
            return f"sftp://{server.authority()}{path}", str(path)

        asynchronous = {"client_keys": [str(server.identity)], "known_hosts": None, **place}
        plain = {"key_filename": str(server.identity), **place}
        peers = (
            Peer(name="sshfs", protocol="ssh", module="sshfs", options=asynchronous),
            Peer(name="paramiko", protocol=_PARAMIKO, module="paramiko", options=plain),
        )
        settings = {f"sftp.{name}": value for name, value in server.settings().items()}
        yield Reached(new=new, settings=settings, peers=peers)


@contextlib.contextmanager
def http(folder: Path) -> Iterator[Reached]:
    """nginx, a source only."""
    with nginx_server(folder) as server:
        yield Reached(files=server.files, url=f"http://127.0.0.1:{server.json}")


@contextlib.contextmanager
def ftp(folder: Path) -> Iterator[Reached]:
    """pyftpdlib, a source only."""
    with ftp_server(folder) as server:
        yield Reached(files=server.files, url=f"ftp://127.0.0.1:{server.plain}")


STORES: Mapping[str, Callable[[Path], contextlib.AbstractContextManager[Reached]]] = {
    each.__name__: each for each in (az, s3, gs, hdfs, sftp, http, ftp)
}


class Bench:
    """Measures one store. ``root`` is an empty folder."""

    def __init__(self, root: Path, reached: Reached, peer_python: str) -> None:
        self.root = root
        self.reached = reached
        self.peer_python = peer_python

    def transfer(self, source: str | Path, destination: str | Path) -> Cost:
        """Move a tree by a new joblist; return what the worker cost."""
        joblist = self.root / "list"
        shutil.rmtree(joblist, ignore_errors=True)
        options = [f"--set={name}={value}" for name, value in self.reached.settings.items()]
        places = ["-i", source, "-o", joblist, "-d", destination, "-l", "tree", "-v", 0, *options]
        self._run([BIN / "generate-joblist", *places])
        return self._run([BIN / "transfer-worker", "-i", joblist, "-v", 0])

    def _measured(self, command: list[object]) -> tuple[Cost, str]:
        return measured([str(word) for word in command], self.reached.environment)

    def _run(self, command: list[object]) -> Cost:
        cost, error = self._measured(command)
        if error:
            raise SystemExit(f"{command[0]}: {error}")
        return cost

    def large(self, size: int) -> dict[str, Cost]:
        """Move one file up and down; return the costs by direction."""
        source, arrived, costs = self.root / "in", self.root / "out", {}
        if self.reached.new is not None:
            url, _ = self.reached.new()
            make(source, 1, size)
            costs["up"] = self.transfer(source, url)
            shutil.rmtree(source)
        else:
            assert self.reached.files is not None
            make(self.reached.files / "large", 1, size)
            url = f"{self.reached.url}/large"
        costs["down"] = self.transfer(url, arrived)
        found = [path.stat().st_size for path in arrived.rglob("*") if path.is_file()]
        assert found == [size], found
        shutil.rmtree(arrived)
        return costs

    def small(self, count: int, rounds: int) -> dict[str, list[Cost]]:
        """Move many files up by jobtool and by each peer in turn; return the costs by name."""
        assert self.reached.new is not None
        source = self.root / "in"
        make(source, count, SMALL_BYTES)
        peers = [peer for peer in self.reached.peers if self._has(peer)]
        costs: dict[str, list[Cost]] = {"jobtool": [], **{peer.name: [] for peer in peers}}
        for _ in range(rounds):
            url, _ = self.reached.new()
            costs["jobtool"].append(self.transfer(source, url))
            for peer in [peer for peer in peers if peer.name in costs]:
                _, path = self.reached.new()
                cost, error = self._measured(self._put(peer, source, path))
                error = error or self._lacks(peer, path, count)
                if error:
                    print(f"{peer.name} failed: {error}", file=sys.stderr, flush=True)
                    del costs[peer.name]
                else:
                    costs[peer.name].append(cost)
        shutil.rmtree(source)
        return costs

    def _has(self, peer: Peer) -> bool:
        done = subprocess.run(
            [self.peer_python, "-c", f"import fsspec, {peer.module}"], check=False
        )
        return done.returncode == 0

    def _put(self, peer: Peer, source: Path | None, target: str) -> list[object]:
        told = {
            "protocol": peer.protocol,
            "options": dict(peer.options),
            "source": None if source is None else str(source),
            "target": target,
        }
        return [self.peer_python, PUT, json.dumps(told)]

    def _lacks(self, peer: Peer, target: str, count: int) -> str:
        """Return what a peer doesn't find at a place, or nothing."""
        command = [str(word) for word in self._put(peer, None, target)]
        environment = {**os.environ, **self.reached.environment}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        wanted = f"{count} {count * SMALL_BYTES}"
        found = done.stdout.strip()
        return "" if found == wanted else f"expected {wanted}; found {found}{done.stderr[-500:]}"


def make(folder: Path, count: int, size: int) -> None:
    """Write files. A large one is a hole with random bytes now and then: it needs little room."""
    shutil.rmtree(folder, ignore_errors=True)
    for number in range(count):
        path = folder / f"plate{number // 1000:03d}" / f"{number:06d}"
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "wb") as file:
            for at in range(0, size, 64 * 1024 * 1024):
                file.seek(at)
                file.write(os.urandom(min(SMALL_BYTES, size - at)))
            file.truncate(size)


def main() -> int:
    """Measure all; return 0, or 1 if a worker took more memory than it should."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--stores", nargs="+", choices=STORES, default=list(STORES), metavar="NAME")
    parser.add_argument("--large-gb", type=float, default=5.0, help="of 10⁹ bytes; 0: none [5]")
    parser.add_argument("--small", type=int, default=2000, help="files; 0: none [2000]")
    parser.add_argument("--rounds", type=int, default=5, help="with the small files [5]")
    parser.add_argument("--peer-python", default=sys.executable, metavar="PATH")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there too")
    arguments = parser.parse_args()
    results: dict[str, dict[str, Any]] = {}
    is_well = True
    for name in arguments.stores:
        root = arguments.folder / "jobtool-stores"
        shutil.rmtree(root, ignore_errors=True)
        (root / "server").mkdir(parents=True)
        with STORES[name](root / "server") as reached:
            bench = Bench(root, reached, arguments.peer_python)
            found: dict[str, Any] = {}
            if arguments.large_gb:
                found["large"] = bench.large(round(arguments.large_gb * 10**9))
                for way, cost in found["large"].items():
                    print(row(f"{name} {way}, {arguments.large_gb:g} GB", cost), flush=True)
                    is_well = is_well and cost.mebibytes < MOST_MEBIBYTES
            if arguments.small and reached.new is not None:
                found["small"] = bench.small(arguments.small, arguments.rounds)
                print(table(name, arguments.small, found["small"]), flush=True)
        shutil.rmtree(root)
        results[name] = found
        if arguments.json is not None:
            arguments.json.write_text(json.dumps(plain(results), indent=1) + "\n")
    return 0 if is_well else 1


def table(name: str, count: int, costs: Mapping[str, list[Cost]]) -> str:
    """Return the medians of many files, and jobtool's time divided by that of each peer."""
    lines = []
    for who, rounds in costs.items():
        medians = Cost(*map(statistics.median, zip(*rounds, strict=True)))
        pairs = zip(costs["jobtool"], rounds, strict=True)
        ratio = statistics.median(ours.wall / theirs.wall for ours, theirs in pairs)
        told = "" if who == "jobtool" else f"  jobtool ÷ {who}: {ratio:.2f}"
        lines.append(row(f"{name} up, {count} files, {who}", medians) + told)
    return "\n".join(lines)


def plain(found: Any) -> Any:
    """Return figures with their names, as JSON has them."""
    if isinstance(found, Cost):
        return found._asdict()
    if isinstance(found, list):
        return [plain(each) for each in found]
    return {name: plain(each) for name, each in found.items()}


def row(what: str, cost: Cost) -> str:
    """Return one line of figures."""
    return f"{what:36} {cost.wall:8.2f} s {cost.cpu:8.2f} s CPU {cost.mebibytes:6.0f} MiB"


if __name__ == "__main__":
    raise SystemExit(main())
