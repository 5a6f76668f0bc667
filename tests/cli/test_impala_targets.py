"""Which way the files of ``impala-transfer`` take, by its options and Hadoop's configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobtool.cli.impala_transfer.targets import Given, Way, way_of
from jobtool.errors import UsageError
from tests.servers.hadoop import put_program
from tests.servers.hdfs import write_xml

DISTCP = ("distcp", "hdfs-cp", "stream")
PUT = ("hdfs-put", "stream")


@pytest.fixture(autouse=True)
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with Hadoop's client, and a configuration that has nameservices."""
    put_program(tmp_path / "bin", "hadoop", "#!/bin/sh\n")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("HADOOP_CONF_DIR", str(tmp_path))
    write_xml(tmp_path / "core-site.xml", {"fs.defaultFS": "hdfs://here/"})
    write_xml(tmp_path / "hdfs-site.xml", {"dfs.nameservices": "here, there"})
    return tmp_path


def way(
    *,
    own: dict[str, str] | None = None,
    env: dict[str, str] | None = None,
    table: str | None = None,
    use_distcp: bool | None = None,
) -> Way:
    """The way for options ``own`` of the command line and those of the environment."""
    given = Given(values={**(env or {}), **(own or {})}, on_command_line=frozenset(own or {}))
    return way_of(given, table=table, use_distcp=use_distcp)


@pytest.mark.parametrize(
    ("cluster", "path", "url"),
    [
        (None, "/data", "hdfs://here/data"),
        (None, "/data//x/", "hdfs://here/data/x"),
        (None, "/", "hdfs://here"),
        (None, "hdfs://other:9000/data", "hdfs://other:9000/data"),
        (None, "webhdfs://other:9870/data", "webhdfs://other:9870/data"),
        ("there", "/data", "hdfs://there/data"),
        ("hdfs://there/", "/data", "hdfs://there/data"),
        ("cluster2.example.com", "/data", "hdfs://cluster2.example.com:8020/data"),
        ("cluster2.example.com:9000", "/data", "hdfs://cluster2.example.com:9000/data"),
        ("hdfs://cluster2.example.com", "/data", "hdfs://cluster2.example.com:8020/data"),
        ("swebhdfs://c:9871", "/data", "swebhdfs://c:9871/data"),
    ],
)
def test_a_folder_of_a_cluster(cluster: str | None, path: str, url: str) -> None:
    places = {"target_hdfs_path": path} | ({"target_cluster": cluster} if cluster else {})
    assert way(own=places).destination == way(env=places).destination == url


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("me@host:/data", "sftp://me@host/data"),
        ("host:/data/", "sftp://host/data"),
        ("me@[::1]:/data", "sftp://me@[::1]/data"),
        ("host:/a:b@c", "sftp://host/a:b@c"),
        ("sftp://me@host:2222/data", "sftp://me@host:2222/data"),
    ],
)
def test_a_target_of_scp(text: str, url: str) -> None:
    assert way(env={"scp_target": text}) == Way(destination=url, methods=("scp", "stream"))


def test_distcp_is_used_where_it_can_be(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = {"target_hdfs_path": "/data", "target_cluster": "there"}
    both = {**target, "source_hdfs_path": "/staged"}
    assert way(env=both) == way(env=both, use_distcp=True)
    assert way(env=both).staging == "hdfs://here/staged"
    assert way(env=both).methods == DISTCP
    without = way(env=both, use_distcp=False)
    assert (without.staging, without.methods, without.remarks) == (None, PUT, ())
    (remark,) = way(env=target).remarks
    assert "--source-hdfs-path" in remark
    monkeypatch.setenv("PATH", str(site))
    found = way(env=both)
    assert (found.staging, found.methods) == (None, PUT)
    assert "hadoop isn't on the PATH" in found.remarks[0]
    with pytest.raises(UsageError, match="hadoop on the PATH"):
        way(env=both, use_distcp=True)


def test_a_target_on_the_command_line_wins() -> None:
    env = {"target_hdfs_path": "/data", "target_cluster": "there", "source_hdfs_path": "/staged"}
    found = way(env=env, own={"scp_target": "host:/x"}, use_distcp=True)
    assert found == Way(destination="sftp://host/x", methods=("scp", "stream"))
    assert way(env=env, own={"target_path": "s3://bucket/x"}) == Way(destination="s3://bucket/x")
    whole = {"target_hdfs_path": "hdfs://other:1/x"}
    assert way(env=env, own=whole).destination == "hdfs://other:1/x"
    with pytest.raises(UsageError, match="--target-cluster there"):
        way(own={"target_path": "/x", "target_cluster": "there"})


@pytest.mark.parametrize("table", ["sales.day 1", "ü%20#", "-"])
def test_a_table_is_a_folder_of_the_target(tmp_path: Path, table: str) -> None:
    found = way(own={"target_path": str(tmp_path)}, table=table)
    assert found.destination == f"{tmp_path}/{table}"
    assert way(own={"target_hdfs_path": "/d"}, table=table).destination == f"hdfs://here/d/{table}"


@pytest.mark.parametrize("table", ["", ".", "..", "a/b", "a\0"])
def test_a_table_that_is_no_folder_is_refused(tmp_path: Path, table: str) -> None:
    with pytest.raises(UsageError, match="--target-table"):
        way(own={"target_path": str(tmp_path)}, table=table)
