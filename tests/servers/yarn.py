"""A real YARN on loopback: Hadoop's ResourceManager, a NodeManager and MapReduce's history server.

Its applications keep their files in a cluster of HDFS, which has to run meanwhile.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.needs import need
from tests.servers.hdfs import (
    JAVA,
    LIFETIME_SECONDS,
    HdfsServer,
    free_ports,
    superuser_environment,
    write_xml,
)
from tests.servers.installed import installed
from tests.servers.shared import stop_processes

_START_SECONDS = 120
_END_SECONDS = 30
_DAEMONS = {
    "resourcemanager": "yarn.server.resourcemanager.ResourceManager",
    "nodemanager": "yarn.server.nodemanager.NodeManager",
    "history": "mapreduce.v2.hs.JobHistoryServer",
}

#: Containers of 256 MiB, of which the node has memory for eight.
_CONTAINER_MB = 256
_NODE_MB = 8 * _CONTAINER_MB

#: Java 17 lets Hadoop's older libraries look into its classes only if it is told so.
_OPENS = "--add-opens=java.base/java.lang=ALL-UNNAMED"


@dataclass(frozen=True, kw_only=True)
class YarnServer:
    """A running YARN. ``conf`` is the configuration for its clients, ``jars`` what they run."""

    conf: Path
    jars: str
    http_port: int

    def applications(self) -> dict[str, str]:
        """Return the state of each application that there has been, by its ID, in their order."""
        found = _asked(self.http_port, "apps")["apps"] or {"app": []}
        return {app["id"]: app["state"] for app in sorted(found["app"], key=lambda app: app["id"])}


@contextlib.contextmanager
def yarn_server(folder: Path, hdfs: HdfsServer) -> Iterator[YarnServer]:
    """Run YARN in a folder. Its end stops all applications."""
    need("java", packages="openjdk-17-jre-headless")
    jars = installed("yarn", "lib")
    conf = folder / "conf"
    http_port = _configure(conf, folder, hdfs, jars)
    java = Path(shutil.which("java") or "java").resolve()
    environment = superuser_environment() | {"JAVA_HOME": str(java.parents[1])}
    started: list[subprocess.Popen[bytes]] = []
    try:
        for name, daemon in _DAEMONS.items():
            command = ["timeout", str(LIFETIME_SECONDS), java, *JAVA, _OPENS]
            command += ["-cp", f"{conf}:{jars}/*", f"org.apache.hadoop.{daemon}"]
            with (folder / f"{name}.log").open("wb") as log:
                started.append(
                    subprocess.Popen(
                        command,
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=log,
                        env=environment,
                        start_new_session=True,
                    )
                )
        _wait_for_node(folder, http_port, started)
        yield YarnServer(conf=conf, jars=jars, http_port=http_port)
    finally:
        for process in started:
            process.terminate()  # a NodeManager then ends its containers
        for process in started:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_END_SECONDS)
        stop_processes([process.pid for process in started])


def _wait_for_node(folder: Path, port: int, started: list[subprocess.Popen[bytes]]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        assert all(process.poll() is None for process in started), f"see the logs in {folder}"
        with contextlib.suppress(OSError):
            if _asked(port, "metrics")["clusterMetrics"]["activeNodes"]:
                return
        time.sleep(0.2)
    raise AssertionError(f"YARN had no node after {_START_SECONDS} s; see {folder}")


def _asked(port: int, what: str) -> dict[str, Any]:
    """Return an answer of the ResourceManager."""
    url = f"http://127.0.0.1:{port}/ws/v1/cluster/{what}"
    asked = urllib.request.Request(url, headers={"Accept": "application/json"})
    with urllib.request.urlopen(asked, timeout=30) as answer:
        found: dict[str, Any] = json.loads(answer.read())
    return found


def _configure(conf: Path, folder: Path, hdfs: HdfsServer, jars: str) -> int:
    """Write the configuration of daemons and clients. Return the ResourceManager's HTTP port."""
    shutil.copytree(hdfs.conf, conf)
    ports = free_ports(11)
    at = [f"127.0.0.1:{port}" for port in ports]
    java = f"{' '.join(JAVA)} {_OPENS}"
    write_xml(
        conf / "yarn-site.xml",
        {
            "yarn.resourcemanager.webapp.address": at[0],
            "yarn.resourcemanager.address": at[1],
            "yarn.resourcemanager.scheduler.address": at[2],
            "yarn.resourcemanager.resource-tracker.address": at[3],
            "yarn.resourcemanager.admin.address": at[4],
            "yarn.resourcemanager.scheduler.class": (
                "org.apache.hadoop.yarn.server.resourcemanager.scheduler.fifo.FifoScheduler"
            ),
            "yarn.scheduler.minimum-allocation-mb": _CONTAINER_MB,
            "yarn.nodemanager.address": at[5],
            "yarn.nodemanager.localizer.address": at[6],
            "yarn.nodemanager.webapp.address": at[7],
            "yarn.nodemanager.local-dirs": folder / "local",
            "yarn.nodemanager.log-dirs": folder / "logs",
            "yarn.nodemanager.resource.memory-mb": _NODE_MB,
            "yarn.nodemanager.resource.cpu-vcores": _NODE_MB // _CONTAINER_MB,
            "yarn.nodemanager.vmem-check-enabled": "false",
            "yarn.nodemanager.disk-health-checker.enable": "false",
            "yarn.nodemanager.disk-health-checker.max-disk-utilization-per-disk-percentage": 100,
            "yarn.nodemanager.aux-services": "mapreduce_shuffle",
            "yarn.application.classpath": f"{jars}/*",
        },
    )
    write_xml(
        conf / "mapred-site.xml",
        {
            "mapreduce.framework.name": "yarn",
            "mapreduce.application.classpath": f"{jars}/*",
            "mapreduce.shuffle.port": ports[8],
            "mapreduce.jobhistory.address": at[9],
            "mapreduce.jobhistory.webapp.address": at[10],
            "mapreduce.jobhistory.admin.address": "127.0.0.1:0",
            "yarn.app.mapreduce.am.resource.mb": _CONTAINER_MB,
            "yarn.app.mapreduce.am.command-opts": java,
            "mapreduce.map.memory.mb": _CONTAINER_MB,
            "mapreduce.map.java.opts": java,
            "yarn.app.mapreduce.am.staging-dir": "/staging",
        },
    )
    return ports[0]
