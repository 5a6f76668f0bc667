"""Hadoop's own programs as methods: real ones against a real cluster, and ones that lie.

The cluster has two addresses, by RPC and by HTTP, which distcp takes for two clusters.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path
from signal import SIGKILL
from typing import Any

import pytest

from tests.commands import BIN, finish, start, start_ranks, wait_for
from tests.methods.hadoop_lists import (
    SECONDS,
    Lists,
    assert_done,
    line_of,
    log_of,
    methods_of,
    paths_in,
    put_tree,
    tree_in,
)
from tests.servers.hadoop import hadoop_environment, put_program
from tests.servers.hdfs import HdfsServer, hdfs_server
from tests.trees import contents, events, statuses, write

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


@pytest.fixture
def lists(tmp_path: Path, programs: dict[str, str]) -> Lists:
    return Lists(tmp_path, programs)


def test_a_tree_of_odd_names_goes_up_and_down_again(
    hdfs: HdfsServer, lists: Lists, tmp_path: Path
) -> None:
    """One program is run each way, but for names that are there twice."""
    tree = tmp_path / "in"
    for number, name in enumerate(ODD):
        data = b"" if name == "empty" else f"{number} {name}\n".encode() * 500
        write(tree / "item" / name, data)
    for number in (1, 2):
        write(tree / "item" / "p[1] ü" / f"k={number}" / "part-0", b"%d" % number * 3)
    write(tree / "item" / ".sum.crc", b"not of Hadoop")
    total, there, back = len(contents(tree)), hdfs.new_folder(), tmp_path / "out"

    joblist = lists.make("up", tree, hdfs.hdfs + there)
    assert_done(lists.work(joblist, "hdfs-put,stream"), joblist)
    assert tree_in(hdfs, there) == contents(tree)
    assert methods_of(joblist) == {"hdfs-put": total - 1, "stream": 1}
    assert "Hadoop takes it for its own checksums" in line_of(joblist, "hdfs-put")
    assert log_of(joblist).count("$ hdfs dfs ") == 1
    assert [path.name for path in (joblist / "logs").iterdir()] == ["item.1.hdfs-put.log"]

    joblist = lists.make("down", hdfs.hdfs + there, back)
    assert_done(lists.work(joblist, "hdfs-get"), joblist)
    assert contents(back) == contents(tree)
    assert methods_of(joblist) == {"hdfs-get": total}
    assert log_of(joblist).count("$ hdfs dfs ") == 2
    assert not [*back.rglob(".jobtool-*")]


@pytest.mark.wide
def test_distcp_whose_worker_is_killed_brings_the_rest_in_one_call(
    hdfs: HdfsServer, lists: Lists
) -> None:
    here, there = hdfs.new_folder(), f"{hdfs.new_folder()} [a"
    tree = {f"item/{name}": f"{name}\n".encode() * 3000 for name in ODD}
    tree |= {f"item/k={n}/part-0": b"%d" % n * 20_000 for n in range(60)}
    put_tree(hdfs, here, tree)
    joblist = lists.make("across", hdfs.hdfs + here, hdfs.webhdfs + there)
    put_tree(hdfs, there, {"item/k=1/part-0": b"2" * 20_000})  # as long, but another
    command = ("transfer-worker", "-i", joblist, "--methods", "distcp,stream", "--threads", 2)
    worker = start(*command, "--if-exists", "overwrite", env=lists.env)
    wait_for(lambda: len(paths_in(hdfs, there)) > 10 or worker.poll() is not None)
    worker.kill()
    assert finish(worker).exit_code == -SIGKILL
    left = {"item/.distcp.tmp.attempt_local1_0001_m_000000_0.1": b"of another job"}
    put_tree(hdfs, there, left)
    assert_done(lists.work(joblist, "distcp,stream", "--if-exists", "overwrite"), joblist)
    assert tree_in(hdfs, there) == tree | left
    assert methods_of(joblist).keys() == {"distcp", "stream"}
    assert methods_of(joblist)["stream"] <= 2  # the line end, and the other file
    assert "its name has a line end" in line_of(joblist, "distcp")
    logs = [path.read_text() for path in sorted((joblist / "logs").iterdir())]
    assert [log.count("$ hadoop distcp ") for log in logs] == [1, 1]


@pytest.mark.wide
def test_files_are_copied_inside_a_cluster(hdfs: HdfsServer, lists: Lists) -> None:
    here, there = hdfs.new_folder(), f"{hdfs.new_folder()}/new [folder"
    tree = {f"item/{name}": name.encode() for name in ODD}
    put_tree(hdfs, here, tree)
    hdfs.call("PUT", f"{here}/item/-dash", "SETPERMISSION", permission="640")
    joblist = lists.make("inside", hdfs.hdfs + here, hdfs.hdfs + there)
    assert_done(lists.work(joblist, "distcp,hdfs-cp"), joblist)
    assert tree_in(hdfs, there) == tree
    assert methods_of(joblist) == {"hdfs-cp": len(tree)}
    assert hdfs.client.get_file_info(f"{there}/item/-dash").permission == 0o640
    assert "both sides are in one cluster" in line_of(joblist, "distcp")


@pytest.mark.wide
def test_what_a_cluster_refuses_is_streamed(hdfs: HdfsServer, lists: Lists, tmp_path: Path) -> None:
    write(tmp_path / "in" / "item" / "a", b"data")
    there = hdfs.new_folder()
    hdfs.call("PUT", there, "MKDIRS", permission="700")
    joblist = lists.make("up", tmp_path / "in", hdfs.hdfs + there, hadoop={"user": "nobody"})
    assert_done(lists.work(joblist, "hdfs-put,stream"), joblist)
    assert methods_of(joblist) == {"stream": 1}
    assert "hdfs dfs ended with exit code 1: mkdir: Permiss" in line_of(joblist, "hdfs-put")
    assert "Permission denied: user=nobody" in log_of(joblist)


#: Claims to have done what it was asked for, and does each file another wrong.
LIAR = """#!{python}
import json, os, sys
from urllib.parse import unquote, urlsplit
lies = json.load(open(os.environ["HADOOP_LIES"]))
for path, text in lies["files"].items():
    if lies["url"]:
        import hdfs_native
        options = hdfs_native.WriteOptions(overwrite=True, create_parent=True)
        with hdfs_native.Client(lies["url"]).create(path, options) as file:
            file.write(text.encode())
    else:
        with open(os.path.join(unquote(urlsplit(sys.argv[-1]).path), path), "w") as file:
            file.write(text)
"""


@pytest.mark.parametrize("method", ["distcp", "hdfs-put", "hdfs-cp", "hdfs-get"])
def test_a_program_that_lies_makes_no_receipt(
    hdfs: HdfsServer, lists: Lists, tmp_path: Path, method: str
) -> None:
    here, there = hdfs.new_folder(), hdfs.new_folder()
    tree = {f"item/{name}": name.encode() * 9 for name in ("nothing", "half", "wrong", "other")}
    for path, data in tree.items():
        write(tmp_path / "in" / path, data)
    put_tree(hdfs, here, tree)
    lies = {"half": "half", "wrong": "WRONG" * 9, "elsewhere": "other" * 9}
    source, destination = {
        "distcp": (hdfs.hdfs + here, hdfs.webhdfs + there),
        "hdfs-put": (tmp_path / "in", hdfs.hdfs + there),
        "hdfs-cp": (hdfs.hdfs + here, hdfs.hdfs + there),
        "hdfs-get": (hdfs.hdfs + here, tmp_path / "out"),
    }[method]
    is_down = method == "hdfs-get"
    places = {name if is_down else f"{there}/item/{name}": text for name, text in lies.items()}
    told = {"url": "" if is_down else hdfs.hdfs, "files": places}
    (tmp_path / "lies").write_text(json.dumps(told))
    lists.env["HADOOP_LIES"] = str(tmp_path / "lies")
    for name in ("hadoop", "hdfs"):
        put_program(tmp_path / "hadoop" / "bin", name, LIAR.format(python=sys.executable))
    joblist = lists.make("list", source, destination)
    assert_done(lists.work(joblist, f"{method},stream"), joblist)
    arrived = contents(tmp_path / "out") if is_down else tree_in(hdfs, there)
    assert arrived == tree | ({} if is_down else {"item/elsewhere": lies["elsewhere"].encode()})
    assert methods_of(joblist) == {"stream": len(tree)}
    assert "ended with exit code 0, but" in line_of(joblist, method)


# With two clusters, and more of everything.


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A second cluster, whose blocks have another size."""
    with hdfs_server(tmp_path_factory.mktemp("other"), block_bytes=1024 * 1024) as server:
        yield server


@pytest.mark.wide
def test_ranks_that_are_killed_twice_bring_500_files_from_cluster_to_cluster(
    hdfs: HdfsServer, other: HdfsServer, lists: Lists
) -> None:
    here, there = hdfs.new_folder(), other.new_folder()
    tree = {
        f"item{item}/k={n % 25}/{name}{n}": f"{item} {n} ".encode() * 5000
        for item in range(2)
        for n, name in enumerate([*ODD[:4], *ODD[5:]] * 28)
    }
    tree = dict([*tree.items()][:500])
    put_tree(hdfs, here, tree)
    settings = {"strategy": "dynamic", "maps": 20}  # as in the seed's example, without -delete
    joblist = lists.make("list", hdfs.hdfs + here, other.hdfs + there, methods__distcp=settings)
    worker = ("transfer-worker", "-i", joblist, "--methods", "distcp,stream")
    worker = (BIN / worker[0], *worker[1:])
    for goal in (100, 300):
        ranks = start_ranks(worker, worker, env=lists.env)
        wait_for(
            lambda goal=goal, ranks=ranks: (
                len(paths_in(other, there)) > goal or ranks.poll() is not None
            ),
            SECONDS,
        )
        for path in joblist.glob("*.txt"):
            line = events(path, "claimed")[-1]
            with contextlib.suppress(ProcessLookupError):  # its job is done
                os.kill(int(line.partition(" worker=")[2].split()[0].rpartition(":")[2]), SIGKILL)
        finish(ranks, SECONDS)
    done = finish(start_ranks(worker, worker, env=lists.env), SECONDS)
    assert done.exit_code == 0, done
    assert set(statuses(joblist).values()) == {"success"}
    assert tree_in(other, there) == tree
    assert methods_of(joblist) == {"distcp": len(tree)}
    logs = "".join(path.read_text() for path in (joblist / "logs").iterdir())
    assert "-update -i -strategy dynamic -m 20" in logs


@pytest.mark.wide
def test_one_unreadable_file_is_streamed_and_the_others_are_not(
    hdfs: HdfsServer, other: HdfsServer, lists: Lists
) -> None:
    here, there = hdfs.new_folder(), other.new_folder()
    tree = {f"item/{folder}/{n}": b"%d" % n * 900 for folder in "ab" for n in range(10)}
    put_tree(hdfs, here, tree)
    hdfs.call("PUT", f"{here}/item/a/3", "SETPERMISSION", permission="600")
    other.call("PUT", there, "MKDIRS", permission="777")
    joblist = lists.make("list", hdfs.hdfs + here, other.hdfs + there, hadoop={"user": "somebody"})
    assert_done(lists.work(joblist, "distcp,stream"), joblist)
    assert tree_in(other, there) == tree
    assert methods_of(joblist) == {"distcp": len(tree) - 1, "stream": 1}
