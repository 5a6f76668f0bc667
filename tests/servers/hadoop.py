"""Hadoop's commands for tests, as clients of a cluster on loopback."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tests.servers.hdfs import HdfsServer
from tests.servers.installed import installed
from tests.servers.yarn import YarnServer

_COMMAND = Path(__file__).with_name("hadoop")


def hadoop_environment(
    folder: Path, server: HdfsServer, yarn: YarnServer | None = None
) -> dict[str, str]:
    """Return what a process needs to find the commands and the cluster, as its superuser.

    ``folder`` gets the commands, and a configuration that shows progress, as that of sites does.
    Without YARN in it, distcp runs in one process.
    """
    for name in ("hadoop", "hdfs", *(["yarn"] if yarn else [])):
        put_program(folder / "bin", name, _COMMAND.read_text())
    conf = folder / "conf"
    conf.mkdir()
    for path in (yarn or server).conf.glob("*-site.xml"):
        shutil.copy(path, conf)
    levels = (server.conf / "log4j.properties").read_text()
    (conf / "log4j.properties").write_text(levels.replace("WARN,console", "INFO,console"))
    return {
        **server.environment,
        "HADOOP_CONF_DIR": str(conf),
        "HADOOP_LIB": yarn.jars if yarn else installed("hdfs", "lib"),
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
    }


def put_program(folder: Path, name: str, text: str) -> None:
    """Write an executable file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(text)
    path.chmod(0o755)
