"""A real HDFS on loopback: Hadoop's NameNode and two DataNodes, for all test processes of a run."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import pytest

from tests.needs import need
from tests.servers.installed import installed
from tests.servers.shared import shared_server, stop_processes

USER = "tester"  # the superuser: the one who starts the NameNode, whatever its real name
PAGE_SIZE = 100  # names in a page of a listing, where other clusters have 1,000
BLOCK_BYTES = 2 * 1024 * 1024  # so that files of a few MiB have several blocks

# With one DataNode a client closes a file before the NameNode knows of its last block, and then
# waits for half a second. With two, the second one has told it before the client is answered.
_DATANODES = 2

_START_SECONDS = 120
LIFETIME_SECONDS = 5400  # a server that outlives its test run ends itself after this
JAVA = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto", "-Xmx256m")
_NAMENODE = "org.apache.hadoop.hdfs.server.namenode.NameNode"
_SHELL = "org.apache.hadoop.fs.FsShell"
_DATANODE = "org.apache.hadoop.hdfs.server.datanode.DataNode"


@dataclass(frozen=True, kw_only=True)
class HdfsServer:
    """A running cluster. ``folder`` holds its configuration, data and logs."""

    folder: Path
    rpc_port: int
    http_port: int

    @property
    def conf(self) -> Path:
        return self.folder / "conf"

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs in its environment to use this cluster as its superuser."""
        return {"HADOOP_USER_NAME": USER, "HADOOP_CONF_DIR": str(self.conf)}

    def command_in(self, folder: Path) -> Path:
        """Make Hadoop's command ``hdfs`` in a folder, for this cluster; return the folder."""
        folder.mkdir(parents=True, exist_ok=True)
        java = " ".join(("java", *JAVA))
        script = folder / "hdfs"
        script.write_text(
            '#!/bin/sh\n[ "$1" = dfs ] || exit 64\nshift\n'
            f'exec {java} -cp "{self.conf}:{installed("hdfs", "lib")}/*" {_SHELL} "$@"\n'
        )
        script.chmod(0o755)
        return folder

    @property
    def hdfs(self) -> str:
        return f"hdfs://127.0.0.1:{self.rpc_port}"

    @property
    def webhdfs(self) -> str:
        return f"webhdfs://127.0.0.1:{self.http_port}"

    @cached_property
    def client(self) -> Any:
        """A plain hdfs-native client, which shares nothing with the code under test."""
        import hdfs_native

        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("HADOOP_USER_NAME", USER)
            client = hdfs_native.Client(self.hdfs)
            client.get_file_info("/")
        return client

    def new_folder(self) -> str:
        """Return the absolute path of a folder that doesn't exist yet."""
        return f"/tests/{secrets.token_hex(6)}"

    def call(
        self, method: str, path: str, op: str, data: bytes | None = None, **query: object
    ) -> bytes:
        """Make one WebHDFS request by the standard library; return the body of its answer."""
        asked = urllib.parse.urlencode({"op": op, "user.name": USER, **query})
        url = f"http://127.0.0.1:{self.http_port}/webhdfs/v1{urllib.parse.quote(path)}?{asked}"
        if data is not None:
            with self._opened(method, f"{url}&noredirect=true") as answer:
                url = json.loads(answer.read())["Location"]
        with self._opened(method, url, data) as answer:
            body: bytes = answer.read()
        return body

    @staticmethod
    def _opened(method: str, url: str, data: bytes | None = None) -> Any:
        request = urllib.request.Request(url, data=data, method=method)
        return urllib.request.urlopen(request, timeout=60)

    def requests(self, op: str) -> int:
        """Return how often clients have asked for an operation, such as ``Rename``, by any way."""
        url = f"http://127.0.0.1:{self.http_port}/jmx?qry=Hadoop:service=NameNode,name=RpcDetailed*"
        with self._opened("GET", url) as answer:
            beans = json.loads(answer.read())["beans"]
        return sum(bean.get(f"{op}NumOps", 0) for bean in beans)

    def damage_blocks(self, beginning: bytes) -> None:
        """Change a byte of each block that begins with these bytes, in all copies of it."""
        damaged = 0
        for path in (self.folder / "data").rglob("blk_*"):
            if path.suffix != ".meta" and path.read_bytes()[: len(beginning)] == beginning:
                with path.open("r+b") as block:
                    block.seek(len(beginning))
                    (byte,) = block.read(1)
                    block.seek(len(beginning))
                    block.write(bytes([byte ^ 1]))
                damaged += 1
        assert damaged, f"no block begins with {beginning!r}"


@contextlib.contextmanager
def hdfs_server(shared: Path, *, block_bytes: int = BLOCK_BYTES) -> Iterator[HdfsServer]:
    """Run a cluster in the folder ``shared``, or use the one that another process runs there.

    The processes count themselves by locks. The last one stops the cluster.
    """
    need("java", packages="openjdk-17-jre-headless")
    jars = installed("hdfs", "lib")
    start = partial(_start, shared, jars, block_bytes)
    with shared_server(shared, start, data="data") as found:
        yield HdfsServer(folder=shared, rpc_port=found["rpc_port"], http_port=found["http_port"])


def _start(folder: Path, jars: str, block_bytes: int) -> dict[str, Any]:
    for name in ("name", "data", "tmp", "conf"):
        shutil.rmtree(folder / name, ignore_errors=True)
    ports = free_ports(2 + 3 * _DATANODES)
    _configure(folder, ports[:2], block_bytes)
    java = ["java", *JAVA, "-cp", f"{folder / 'conf'}:{jars}/*"]
    with (folder / "format.log").open("wb") as log:
        subprocess.run(
            [*java, _NAMENODE, "-format", "-nonInteractive"],
            stdout=log, stderr=log, check=True, env=superuser_environment(), timeout=_START_SECONDS,
        )  # fmt: skip
    commands = {"namenode": [_NAMENODE]}
    for number in range(_DATANODES):
        own = ports[2 + 3 * number :]
        commands[f"datanode{number}"] = [
            _DATANODE,
            f"-Ddfs.datanode.data.dir=file://{folder / 'data' / str(number)}",
            f"-Ddfs.datanode.address=127.0.0.1:{own[0]}",
            f"-Ddfs.datanode.http.address=127.0.0.1:{own[1]}",
            f"-Ddfs.datanode.ipc.address=127.0.0.1:{own[2]}",
        ]
    started = []
    for name, command in commands.items():
        with (folder / f"{name}.log").open("wb") as log:
            started.append(
                subprocess.Popen(
                    ["timeout", str(LIFETIME_SECONDS), *java, *command],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=superuser_environment(),
                    start_new_session=True,
                )
            )
    found = {
        "rpc_port": ports[0],
        "http_port": ports[1],
        "processes": [process.pid for process in started],
    }
    try:
        _wait_until_writable(folder, ports[1], started)
    except BaseException:
        stop_processes(found["processes"])
        raise
    return found


def superuser_environment() -> dict[str, str]:
    return {**os.environ, "HADOOP_USER_NAME": USER}


def _wait_until_writable(folder: Path, port: int, started: list[subprocess.Popen[bytes]]) -> None:
    query = "Hadoop:service=NameNode,name=FSNamesystem*"
    deadline = time.monotonic() + _START_SECONDS
    said: object = None
    while time.monotonic() < deadline:
        assert all(process.poll() is None for process in started), f"see the logs in {folder}"
        with contextlib.suppress(OSError, ValueError):
            url = f"http://127.0.0.1:{port}/jmx?qry={query}"
            with urllib.request.urlopen(url, timeout=5) as answer:
                beans = json.loads(answer.read())["beans"]
            state = {key: value for bean in beans for key, value in bean.items()}
            said = state.get("FSState"), state.get("NumLiveDataNodes")
            if said == ("Operational", _DATANODES):
                return
        time.sleep(0.1)
    raise AssertionError(f"HDFS wasn't writable after {_START_SECONDS} s: {said}; see {folder}")


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _configure(folder: Path, ports: list[int], block_bytes: int) -> None:
    conf = folder / "conf"
    for name in ("hdfs", "datanode", "static", "logs"):
        (conf / "webapps" / name).mkdir(parents=True)  # the jars lack them, and empty ones do
    rpc, http = (f"127.0.0.1:{port}" for port in ports)
    write_xml(
        conf / "core-site.xml",
        {"fs.defaultFS": f"hdfs://{rpc}", "hadoop.tmp.dir": folder / "tmp"},
    )
    write_xml(
        conf / "hdfs-site.xml",
        {
            "dfs.replication": _DATANODES,
            "dfs.blocksize": block_bytes,
            "dfs.permissions.enabled": "true",
            "dfs.namenode.name.dir": f"file://{folder / 'name'}",
            "dfs.namenode.rpc-address": rpc,
            "dfs.namenode.http-address": http,
            "dfs.datanode.hostname": "127.0.0.1",
            "dfs.namenode.datanode.registration.ip-hostname-check": "false",
            "dfs.namenode.fs-limits.min-block-size": 1024,
            "dfs.ls.limit": PAGE_SIZE,
            # How long a DataNode waits, as a client of WebHDFS, to close a file.
            "dfs.client.block.write.locateFollowingBlock.initial.delay.ms": 10,
            "dfs.namenode.safemode.extension": 0,
            "dfs.namenode.edits.noeditlogchannelflush": "true",
        },
    )
    (conf / "log4j.properties").write_text(
        "log4j.rootLogger=WARN,console\n"
        "log4j.appender.console=org.apache.log4j.ConsoleAppender\n"
        "log4j.appender.console.target=System.err\n"
        "log4j.appender.console.layout=org.apache.log4j.PatternLayout\n"
        "log4j.appender.console.layout.ConversionPattern=%d{ISO8601} %p %c{2}: %m%n\n"
    )


def write_xml(path: Path, values: dict[str, object]) -> None:
    rows = "".join(
        f"<property><name>{name}</name><value>{value}</value></property>\n"
        for name, value in values.items()
    )
    path.write_text(f"<configuration>\n{rows}</configuration>\n")
