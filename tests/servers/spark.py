"""Spark's Thrift server on loopback: HiveServer2's protocol, for all test processes of a run."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests.needs import need
from tests.servers.hdfs import LIFETIME_SECONDS, free_ports
from tests.servers.installed import installed
from tests.servers.shared import shared_server, stop_processes

_START_SECONDS = 180
_JAVA = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto", "-Xmx700m")

#: What Spark reads of Java's own classes, which Java 17 doesn't open by itself.
_OPENED = (
    *("java.lang", "java.lang.invoke", "java.lang.reflect", "java.io", "java.net", "java.nio"),
    *("java.util", "java.util.concurrent", "java.util.concurrent.atomic"),
    *("sun.nio.ch", "sun.nio.cs", "sun.security.action", "sun.util.calendar"),
)

_SETTINGS = {
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.ui.enabled": "false",
    "spark.sql.shuffle.partitions": "1",
    "spark.sql.ansi.enabled": "true",  # a cast that fails is an error
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.catalogImplementation": "in-memory",  # Hive's metastore starts for 3 s of CPU
    "spark.sql.thriftServer.incrementalCollect": "true",  # rows leave while others are computed
}


@dataclass(frozen=True, kw_only=True)
class SparkServer:
    """A running server, which accepts any user with any password (``hive2://``)."""

    port: int
    process: int

    @property
    def url(self) -> str:
        return f"hive2://tester@127.0.0.1:{self.port}"


@contextlib.contextmanager
def spark_server(shared: Path) -> Iterator[SparkServer]:
    """Run the server in the folder ``shared``, or use the one that another process runs there."""
    need("java", packages="openjdk-17-jre-headless")
    jars = installed("spark", "jars")
    with shared_server(shared, partial(_start, shared, jars), data="data") as found:
        yield SparkServer(port=found["port"], process=found["processes"][0])


@contextlib.contextmanager
def own_spark_server(folder: Path, hive: dict[str, str]) -> Iterator[SparkServer]:
    """Run a server for one user, who may kill it, with further settings of HiveServer2."""
    need("java", packages="openjdk-17-jre-headless")
    folder.mkdir(parents=True)
    found = _start(folder, installed("spark", "jars"), hive)
    try:
        yield SparkServer(port=found["port"], process=found["processes"][0])
    finally:
        stop_processes(found["processes"])


def _start(folder: Path, jars: str, hive: dict[str, str] | None = None) -> dict[str, Any]:
    port = free_ports(1)[0]
    conf = folder / "conf"
    conf.mkdir(exist_ok=True)
    (conf / "log4j2.properties").write_text(
        "rootLogger.level = warn\nrootLogger.appenderRef.stderr.ref = stderr\n"
        "appender.stderr.type = Console\nappender.stderr.name = stderr\n"
        "appender.stderr.target = SYSTEM_ERR\nappender.stderr.layout.type = PatternLayout\n"
        "appender.stderr.layout.pattern = %d %p %c{1}: %m%n\n"
    )
    settings = {
        **_SETTINGS,
        "spark.local.dir": str(folder / "data" / "local"),
        "spark.sql.warehouse.dir": str(folder / "data" / "warehouse"),
    }
    command = ["timeout", str(LIFETIME_SECONDS), "java", *_JAVA]
    command += [f"-Djava.io.tmpdir={folder}"]
    for package in _OPENED:
        command.append(f"--add-opens=java.base/{package}=ALL-UNNAMED")
    command += ["-cp", f"{conf}:{jars}/*", "org.apache.spark.deploy.SparkSubmit"]
    command += ["--class", "org.apache.spark.sql.hive.thriftserver.HiveThriftServer2"]
    command += ["--master", "local[1]"]
    for name, value in settings.items():
        command += ["--conf", f"{name}={value}"]
    command += ["spark-internal"]
    listening = {"thrift.port": str(port), "thrift.bind.host": "127.0.0.1"}
    for name, value in {**listening, **(hive or {})}.items():
        command += ["--hiveconf", f"hive.server2.{name}={value}"]
    with (folder / "spark.log").open("wb") as log:
        started = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=folder,
            env={**os.environ, "SPARK_LOCAL_IP": "127.0.0.1"},
            start_new_session=True,
        )
    try:
        _wait_for_port(folder, port, started)
    except BaseException:
        stop_processes([started.pid])
        raise
    return {"port": port, "processes": [started.pid]}


def _wait_for_port(folder: Path, port: int, started: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        assert started.poll() is None, f"see {folder}/spark.log"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5):
            return
        time.sleep(0.1)
    raise AssertionError(f"Spark didn't listen after {_START_SECONDS} s; see {folder}/spark.log")
