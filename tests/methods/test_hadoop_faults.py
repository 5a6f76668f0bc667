"""Hadoop's real programs where a cluster is damaged, dead or unknown: with two clusters."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands import ROOT, run, run_ok, unused_port
from tests.methods.hadoop_lists import (
    Lists,
    assert_done,
    line_of,
    methods_of,
    put_tree,
    tree_in,
)
from tests.servers.hadoop import hadoop_environment, put_program
from tests.servers.hdfs import HdfsServer, hdfs_server, write_xml
from tests.trees import contents, receipts, write

pytestmark = pytest.mark.wide

SMALL = b"small" * 20_000
LARGE = bytes(range(256)) * 4096 * 5  # 5 MiB: compared by checksums where blocks are equal
TREE = {"item/small": SMALL, "item/large": LARGE}
BEGINNINGS = (SMALL[:1000], LARGE[:1000])

#: The real program, whose files are damaged on the disks of DataNodes before they are in place.
DAMAGING = """#!{python}
import subprocess, sys
from pathlib import Path
sys.path.insert(0, {root!r})
from tests.servers.hdfs import HdfsServer
server = HdfsServer(folder=Path({folder!r}), rpc_port={rpc_port}, http_port={http_port})
*arguments, target = sys.argv[1:]
code = subprocess.call([{real!r}, *arguments, target + ".before"])
for beginning in {beginnings!r}:
    server.damage_blocks(beginning)
path = target.removeprefix(server.hdfs)
server.client.delete(path, True)
server.client.rename(path + ".before", path)
sys.exit(code)
"""


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HdfsServer]:
    """A second cluster, whose blocks have the same size."""
    with hdfs_server(tmp_path_factory.mktemp("other")) as server:
        # Files that have the same number in both clusters are taken for one, and read.
        put_tree(server, "/numbers", {str(n): b"" for n in range(100)})
        yield server


@pytest.fixture
def lists(tmp_path: Path, hdfs: HdfsServer) -> Lists:
    return Lists(tmp_path, hadoop_environment(tmp_path / "hadoop", hdfs))


def make_damaging(lists: Lists, other: HdfsServer) -> None:
    """Replace the command ``hadoop``."""
    folder = lists.folder / "hadoop" / "bin"
    (folder / "hadoop").rename(folder / "real-hadoop")
    text = DAMAGING.format(
        python=sys.executable,
        root=str(ROOT),
        folder=str(other.folder),
        rpc_port=other.rpc_port,
        http_port=other.http_port,
        real=str(folder / "real-hadoop"),
        beginnings=BEGINNINGS,
    )
    put_program(folder, "hadoop", text)


def places(source: HdfsServer, destination: HdfsServer) -> dict[str, dict[str, str]]:
    """Tables for the WebHDFS of two clusters, which returns checksums."""
    return {
        f"hdfs__{side}": {"webhdfs_url": f"http://127.0.0.1:{server.http_port}"}
        for side, server in (("source", source), ("destination", destination))
    }


def test_a_block_that_is_damaged_before_the_proof_makes_no_receipt(
    hdfs: HdfsServer, other: HdfsServer, lists: Lists
) -> None:
    here, there = hdfs.new_folder(), other.new_folder()
    put_tree(hdfs, here, TREE)
    make_damaging(lists, other)
    tables = places(hdfs, other)
    joblist = lists.make("list", hdfs.hdfs + here, other.hdfs + there, **tables)
    assert_done(lists.work(joblist, "distcp,stream", "--verify", "read-back"), joblist)
    assert tree_in(other, there) == TREE
    assert methods_of(joblist) == {"stream": len(TREE)}
    assert " files=0 " in line_of(joblist, "distcp")
    run_ok("jobtool", "verify", "--deep", joblist, env=lists.env)
    other.damage_blocks(BEGINNINGS[0])
    done = run("jobtool", "verify", "--deep", joblist, env=lists.env)
    assert done.exit_code == 1
    assert "small" in done.stdout + done.stderr
    assert "large" not in done.stdout + done.stderr


def test_checksums_are_of_what_was_written_and_a_deep_look_reads_what_is_there(
    hdfs: HdfsServer, other: HdfsServer, lists: Lists
) -> None:
    """DataNodes take checksums from the sums beside the blocks, and a damaged disk changes none."""
    here, there = hdfs.new_folder(), other.new_folder()
    put_tree(hdfs, here, TREE)
    make_damaging(lists, other)
    tables = places(hdfs, other)
    joblist = lists.make("list", hdfs.hdfs + here, other.hdfs + there, **tables)
    assert_done(lists.work(joblist, "distcp,stream"), joblist)
    how = {each.dst_path.rpartition("/")[2]: each for each in receipts(joblist)}
    assert how["small"].method == "stream"  # it was read
    assert (how["large"].method, how["large"].verified_by) == ("distcp", "same-hdfs-checksum")
    done = run("jobtool", "verify", "--deep", joblist, env=lists.env)
    assert done.exit_code == 1
    assert "large" in done.stdout + done.stderr


# What the programs find in their configuration, where jobtool's own client finds the cluster.


def configure(folder: Path, core: dict[str, object]) -> Path:
    """Write a folder of Hadoop's configuration."""
    folder.mkdir()
    write_xml(folder / "core-site.xml", core)
    return folder


def named(port: int) -> dict[str, object]:
    """Properties for the cluster ``plates``, as clusters have that can fail over."""
    failover = "org.apache.hadoop.hdfs.server.namenode.ha.ConfiguredFailoverProxyProvider"
    return {
        "dfs.nameservices": "plates",
        "dfs.ha.namenodes.plates": "one,two",
        "dfs.namenode.rpc-address.plates.one": f"127.0.0.1:{port}",
        "dfs.namenode.rpc-address.plates.two": f"127.0.0.1:{port}",
        "dfs.client.failover.proxy.provider.plates": failover,
    }


@pytest.mark.parametrize(
    ("is_known", "expected"), [(True, "Connection refused"), (False, "UnknownHostException")]
)
def test_a_cluster_that_is_dead_or_unknown_to_programs_is_told_and_the_next_method_is_used(
    hdfs: HdfsServer, lists: Lists, tmp_path: Path, is_known: bool, expected: str
) -> None:
    write(tmp_path / "in" / "item" / "a", b"data")
    ours = configure(tmp_path / "ours", named(hdfs.rpc_port))
    theirs = configure(tmp_path / "theirs", named(unused_port()) if is_known else {})
    lists.env["HADOOP_CONF_DIR"] = str(ours)
    hadoop = {"conf_dir": str(theirs)}
    there = hdfs.new_folder()
    joblist = lists.make("list", tmp_path / "in", f"hdfs://plates{there}", hadoop=hadoop)
    assert_done(lists.work(joblist, "hdfs-put,stream"), joblist)
    assert tree_in(hdfs, there) == contents(tmp_path / "in")
    assert methods_of(joblist) == {"stream": 1}
    line = line_of(joblist, "hdfs-put")
    assert "hdfs dfs ended with exit code " in line
    assert expected in line


def test_a_dead_yarn_is_told_and_the_next_method_is_used(hdfs: HdfsServer, lists: Lists) -> None:
    here, there = hdfs.new_folder(), hdfs.new_folder()
    put_tree(hdfs, here, {"item/a": b"data"})
    options = {
        "mapreduce.framework.name": "yarn",
        "yarn.resourcemanager.address": f"127.0.0.1:{unused_port()}",
    }
    joblist = lists.make("list", hdfs.hdfs + here, hdfs.webhdfs + there)
    with (joblist / "joblist.toml").open("a") as file:
        file.write("\n[hadoop.options]\n")
        file.writelines(f'"{name}" = "{value}"\n' for name, value in options.items())
    assert_done(lists.work(joblist, "distcp,stream"), joblist)
    assert tree_in(hdfs, there) == {"item/a": b"data"}
    assert methods_of(joblist) == {"stream": 1}
    line = line_of(joblist, "distcp")
    assert "hadoop distcp ended with exit code " in line
    assert "Connection refused" in line
