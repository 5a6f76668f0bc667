"""Hadoop's own programs as methods: real ones against a real cluster, and ones that lie.

The cluster has two addresses, by RPC and by HTTP, which distcp takes for two clusters.
"""

from __future__ import annotations

import json
import signal
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.commands import BIN, Done, finish, run_ok, start, start_ranks, wait_for
from tests.servers.hadoop import hadoop_environment, put_program
from tests.servers.hdfs import USER, HdfsServer, hdfs_server
from tests.trees import contents, events, receipts, statuses, write

SECONDS = 900  # a JVM on a busy machine

#: What Hadoop's patterns, lists and URLs could take for something else.
ODD = (
    " lead%20 and trail ",
    "-dash",
    "a[1]{b,c}?*.txt",
    "back\\slash",
    "new\nline",
    "q'\"+#;&$(x)",
    "^caret]odd}!~|",
    ".hidden",
    "日本 é",
    "empty",
)


@pytest.fixture
def programs(hdfs: HdfsServer, tmp_path: Path) -> dict[str, str]:
    return hadoop_environment(tmp_path / "hadoop", hdfs)


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


@pytest.fixture
def lists(tmp_path: Path, programs: dict[str, str]) -> Lists:
    return Lists(tmp_path, programs)


def put_tree(hdfs: HdfsServer, folder: str, tree: Mapping[str, bytes]) -> None:
    for path, data in tree.items():
        whole = f"{folder}/{path}"
        with hdfs.client.create(whole, hdfs_options()) as file:
            file.write(data)


def hdfs_options() -> Any:
    import hdfs_native

    return hdfs_native.WriteOptions(overwrite=True, create_parent=True)


def tree_in(hdfs: HdfsServer, folder: str) -> dict[str, bytes]:
    """Every file below a folder with its bytes; none if it isn't there."""
    found = {}
    try:
        listed = [*hdfs.client.list_status(folder, recursive=True)]
    except Exception:  # it isn't there yet
        return {}
    for status in listed:
        if not status.isdir:
            with hdfs.client.read(status.path) as file:
                found[status.path.removeprefix(f"{folder}/")] = bytes(file.read())
    return found


def methods_of(joblist: Path) -> Counter[str | None]:
    return Counter(receipt.method for receipt in receipts(joblist))


def line_of(joblist: Path, method: str) -> str:
    """What the log of the only job says last about a method."""
    (path,) = joblist.glob("*.txt")
    return [line for line in events(path, "method") if f" name={method} " in line][-1]


def assert_done(done: Done, joblist: Path) -> None:
    assert done.exit_code == 0, done
    assert set(statuses(joblist).values()) == {"success"}, line_of(joblist, "")


def test_a_tree_of_odd_names_goes_up_across_and_down_again(
    hdfs: HdfsServer, lists: Lists, tmp_path: Path
) -> None:
    """Each way runs one program, but for the names that it can't be given."""
    tree = tmp_path / "in"
    for number, name in enumerate(ODD):
        data = b"" if name == "empty" else f"{number} {name}\n".encode() * 500
        write(tree / "item" / name, data)
    for number in (1, 2):
        write(tree / "item" / "p[1] ü" / f"k={number}" / "part-0", b"%d" % number * 3)
    write(tree / "item" / ".sum.crc", b"not of Hadoop")
    total = len(contents(tree))
    up, across, down = hdfs.new_folder(), f"{hdfs.new_folder()} [a", tmp_path / "out"

    joblist = lists.make("up", tree, hdfs.hdfs + up)
    assert_done(lists.work(joblist, "hdfs-put,stream"), joblist)
    assert tree_in(hdfs, up) == contents(tree)
    assert methods_of(joblist) == {"hdfs-put": total - 1, "stream": 1}
    assert "Hadoop takes it for its own checksums" in line_of(joblist, "hdfs-put")
    assert log_of(joblist).count("$ hdfs dfs ") == 1

    joblist = lists.make("across", hdfs.hdfs + up, hdfs.webhdfs + across)
    assert_done(lists.work(joblist, "distcp,stream"), joblist)
    assert tree_in(hdfs, across) == contents(tree)
    assert methods_of(joblist) == {"distcp": total - 1, "stream": 1}
    assert "its name has a line end" in line_of(joblist, "distcp")
    assert log_of(joblist).count("$ hadoop distcp ") == 1

    joblist = lists.make("down", hdfs.hdfs + up, down)
    assert_done(lists.work(joblist, "hdfs-get"), joblist)
    assert contents(down) == contents(tree)
    assert methods_of(joblist) == {"hdfs-get": total}
    assert log_of(joblist).count("$ hdfs dfs ") == 2  # one for each of the files part-0
    assert not [*down.rglob(".jobtool-*")]


def test_files_are_copied_inside_a_cluster_a_folder_at_a_time(
    hdfs: HdfsServer, lists: Lists
) -> None:
    here, there = hdfs.new_folder(), f"{hdfs.new_folder()}/new [folder"
    tree = {f"item/{folder}/{name}": name.encode() for folder in "ab" for name in ODD}
    put_tree(hdfs, here, tree)
    hdfs.call("PUT", f"{here}/item/a/-dash", "SETPERMISSION", permission="640")
    joblist = lists.make("inside", hdfs.hdfs + here, hdfs.hdfs + there)
    assert_done(lists.work(joblist, "hdfs-cp"), joblist)
    assert tree_in(hdfs, there) == tree
    assert methods_of(joblist) == {"hdfs-cp": len(tree)}
    assert hdfs.client.get_file_info(f"{there}/item/a/-dash").permission == 0o640
    assert log_of(joblist).count("$ hdfs dfs ") == 2


def log_of(joblist: Path) -> str:
    """What the programs of the only method have printed."""
    (log,) = (joblist / "logs").iterdir()
    return log.read_text()
