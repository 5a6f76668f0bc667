"""distcp by a real YARN, from one cluster to another: no application outlives its worker's job."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from signal import SIGKILL, SIGTERM

import pytest

from tests.commands import finish, start, wait_for
from tests.methods.hadoop_lists import (
    SECONDS,
    Lists,
    assert_done,
    methods_of,
    paths_in,
    put_tree,
    tree_in,
)
from tests.servers.hadoop import hadoop_environment
from tests.servers.hdfs import HdfsServer, hdfs_server
from tests.servers.yarn import YarnServer, yarn_server
from tests.trees import statuses

pytestmark = pytest.mark.skipif(
    os.environ.get("JOBTOOL_TEST_YARN") != "1", reason="make test-long, or JOBTOOL_TEST_YARN=1"
)

#: So much that a call takes a while at two MiB a second.
TREE = {f"item/k={n}/part-0": b"%2d" % n * 1024 * 1024 for n in range(12)}
SLOW = ("--bandwidth", "2MiB/s")


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HdfsServer]:
    """A second cluster, whose blocks have another size."""
    with hdfs_server(tmp_path_factory.mktemp("other"), block_bytes=1024 * 1024) as server:
        yield server


@pytest.fixture(scope="module")
def yarn(hdfs: HdfsServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[YarnServer]:
    with yarn_server(tmp_path_factory.mktemp("yarn"), hdfs) as server:
        yield server


@pytest.fixture
def lists(tmp_path: Path, hdfs: HdfsServer, yarn: YarnServer) -> Lists:
    return Lists(tmp_path, hadoop_environment(tmp_path / "hadoop", hdfs, yarn))


def new_since(yarn: YarnServer, before: dict[str, str]) -> dict[str, str]:
    return {name: state for name, state in yarn.applications().items() if name not in before}


def log_of_attempt(joblist: Path, attempt: int) -> str:
    return (joblist / "logs" / f"item.{attempt}.distcp.log").read_text()


def test_the_maps_of_yarn_bring_files_that_are_proven(
    hdfs: HdfsServer, other: HdfsServer, yarn: YarnServer, lists: Lists
) -> None:
    here, there, before = hdfs.new_folder(), other.new_folder(), yarn.applications()
    tree = {f"item/k={n % 5}/p[{n}] ü": b"%d" % n * 10_000 for n in range(40)}
    put_tree(hdfs, here, tree)
    joblist = lists.make("list", hdfs.hdfs + here, other.hdfs + there, methods__distcp={"maps": 3})
    assert_done(lists.work(joblist, "distcp,stream"), joblist)
    assert tree_in(other, there) == tree
    assert methods_of(joblist) == {"distcp": len(tree)}
    (name,) = new_since(yarn, before)
    wait_for(lambda: new_since(yarn, before) == {name: "FINISHED"})
    assert f"[the job {name.removeprefix('application_')} has ended]" in log_of_attempt(joblist, 1)


@pytest.mark.parametrize("signal", [SIGTERM, SIGKILL])
def test_no_application_is_left_by_a_worker_that_is_ended(
    hdfs: HdfsServer, other: HdfsServer, yarn: YarnServer, lists: Lists, signal: int
) -> None:
    """A stopped worker kills its own; that of a killed one is killed by the next attempt."""
    here, there, before = hdfs.new_folder(), other.new_folder(), yarn.applications()
    put_tree(hdfs, here, TREE)
    joblist = lists.make("list", hdfs.hdfs + here, other.hdfs + there, methods__distcp={"maps": 2})
    command = ("transfer-worker", "-i", joblist, "--methods", "distcp", *SLOW)
    worker = start(*command, env=lists.env)
    wait_for(lambda: bool(paths_in(other, there)) or worker.poll() is not None, SECONDS)
    (first,) = new_since(yarn, before)
    assert new_since(yarn, before) == {first: "RUNNING"}
    worker.send_signal(signal)
    done = finish(worker, SECONDS)
    state = "KILLED" if signal == SIGTERM else "RUNNING"
    assert new_since(yarn, before) == {first: state}, done
    assert set(statuses(joblist).values()) != {"success"}

    assert_done(lists.work(joblist, "distcp"), joblist)
    assert tree_in(other, there) == TREE
    assert methods_of(joblist) == {"distcp": len(TREE)}
    wait_for(lambda: [*new_since(yarn, before).values()] == ["KILLED", "FINISHED"])
    ended = f"[the job {first.removeprefix('application_')} has ended]"
    if signal == SIGTERM:
        assert ended in log_of_attempt(joblist, 1)
    else:
        log = log_of_attempt(joblist, 2)
        assert log.index(f"$ yarn application -kill {first}") < log.index("$ hadoop distcp ")
        assert ended in log
