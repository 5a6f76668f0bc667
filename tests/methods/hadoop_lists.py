"""Joblists whose methods run Hadoop's programs, and what is in a cluster afterwards."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.commands import Done, finish, run_ok, start
from tests.servers.hdfs import HdfsServer
from tests.trees import events, receipts, statuses

SECONDS = 900  # a JVM on a busy machine


class Lists:
    """Joblists of one test, whose workers find Hadoop's programs."""

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        self.folder, self.env = folder, env

    def make(self, name: str, source: object, destination: object, **tables: Any) -> Path:
        """Make a joblist, with tables of joblist.toml in their dotted names."""
        joblist = self.folder / name
        places = ("-i", source, "-o", joblist, "-d", destination, "-l", "tree")
        run_ok("generate-joblist", *places, env=self.env)
        with (joblist / "joblist.toml").open("a") as file:
            for table, values in tables.items():
                file.write(f"\n[{table.replace('__', '.').replace('_', '-')}]\n")
                file.writelines(f"{key} = {json.dumps(value)}\n" for key, value in values.items())
        return joblist

    def work(self, joblist: Path, methods: str, *options: object) -> Done:
        command = ("transfer-worker", "-i", joblist, "--methods", methods, *options)
        return finish(start(*command, env=self.env), SECONDS)


def put_tree(hdfs: HdfsServer, folder: str, tree: Mapping[str, bytes]) -> None:
    for path, data in tree.items():
        whole = f"{folder}/{path}"
        with hdfs.client.create(whole, hdfs_options()) as file:
            file.write(data)


def hdfs_options() -> Any:
    import hdfs_native

    return hdfs_native.WriteOptions(overwrite=True, create_parent=True)


def tree_in(hdfs: HdfsServer, folder: str) -> dict[str, bytes]:
    """Every file below a folder with its bytes."""
    found = {}
    for path in paths_in(hdfs, folder):
        with hdfs.client.read(f"{folder}/{path}") as file:
            found[path] = bytes(file.read())
    return found


def paths_in(hdfs: HdfsServer, folder: str) -> list[str]:
    """Every file below a folder; none if it isn't there."""
    with contextlib.suppress(FileNotFoundError):
        return [
            status.path.removeprefix(f"{folder}/")
            for status in hdfs.client.list_status(folder, recursive=True)
            if not status.isdir
        ]
    return []


def methods_of(joblist: Path) -> Counter[str | None]:
    return Counter(receipt.method for receipt in receipts(joblist))


def line_of(joblist: Path, method: str) -> str:
    """What the log of the only job says last about a method."""
    (path,) = joblist.glob("*.txt")
    return [line for line in events(path, "method") if f" name={method} " in line][-1]


def assert_done(done: Done, joblist: Path) -> None:
    assert done.exit_code == 0, done
    assert set(statuses(joblist).values()) == {"success"}, line_of(joblist, "")


def log_of(joblist: Path) -> str:
    """What the programs of the only method have printed."""
    (log,) = (joblist / "logs").iterdir()
    return log.read_text()
