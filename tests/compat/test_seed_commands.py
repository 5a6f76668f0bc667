"""Each block of bash of the project's founding document that runs ``impala-transfer``.

``seed_blocks`` holds the blocks as they are there. A test replaces hosts and paths, and sets what
the document leaves to the site by variables: how to log in at Spark's server, which speaks Impala's
protocol, its port, and the target of scp. bash runs the rest.
"""

from __future__ import annotations

import io
import json
import os
import secrets
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from jobtool.queries.plugins import open_source
from jobtool.queries.url import ConnectionUrl
from tests.commands import ROOT, Done, environment
from tests.methods.hadoop_lists import methods_of, tree_in
from tests.needs import need
from tests.servers.hadoop import hadoop_environment, put_program
from tests.servers.hdfs import HdfsServer, hdfs_server
from tests.servers.s3 import S3Server
from tests.servers.sftp import sftp_server
from tests.servers.spark import SparkServer

BLOCKS = Path(__file__).parent / "seed_blocks"
SECONDS = 600
ROWS = 25_000

#: What the tables hold. Rows come in the order of ``id``.
COLUMNS = (
    "id, CAST(id AS DECIMAL(18, 2)) AS amount, CAST(id % 86400 AS STRING) AS text, "
    "timestamp_seconds(id) AS at, IF(id % 2 = 0, '2024-01-01', '2024-01-02') AS date"
)


class Site:
    """A machine of a site: its variables, the command, and where the state is."""

    def __init__(self, folder: Path, spark: SparkServer, database: str) -> None:
        self.state = folder / "state" / "jobtool" / "impala_transfer"
        bin_folder = folder / "site"
        put_program(
            bin_folder,
            "impala-transfer",
            f"#!{sys.executable}\nfrom jobtool.cli.impala_transfer.command import main\nmain()\n",
        )
        self.env = {
            "PATH": f"{bin_folder}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "XDG_STATE_HOME": str(folder / "state"),
            "SOURCE_PORT": str(spark.port),
            "SOURCE_DATABASE": database,
            "SOURCE_USER": "tester",
            "SOURCE_AUTH_MECHANISM": "PLAIN",
        }

    def add(self, variables: dict[str, str]) -> None:
        """Add variables; the folders of both PATHs are searched."""
        path = f"{self.env['PATH']}:{variables.get('PATH', '')}"
        self.env |= {**variables, "PATH": path}

    def bash(self, name: str, *replaced: tuple[str, str], more: str = "") -> Done:
        """Run a block with other hosts and paths, and with more options at its end."""
        text = (BLOCKS / f"{name}.sh").read_text()
        for old, new in (*replaced, ("cluster1.example.com", "127.0.0.1")):
            assert old in text or old.startswith("cluster1"), old
            text = text.replace(old, new)
        done = subprocess.run(
            ["bash", "-euc", text.rstrip() + more],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            env=environment(self.env),
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def bash_ok(self, name: str, *replaced: tuple[str, str], more: str = "") -> Done:
        done = self.bash(name, *replaced, more=more)
        assert done.exit_code == 0, done
        return done

    @property
    def joblist(self) -> Path:
        (found,) = self.state.iterdir()
        return found


@pytest.fixture(scope="module")
def database(spark: SparkServer) -> str:
    """A database with the tables of the document."""
    name = f"site_{secrets.token_hex(6)}"
    source = open_source(ConnectionUrl.parse(spark.url))
    try:
        source.ask(f"CREATE DATABASE {name}")
        for table in ("large_table", "test_table", "critical_table"):
            view = f"CREATE VIEW {name}.{table} AS SELECT {COLUMNS} FROM range(0, {ROWS}, 1, 1)"
            source.ask(view)
    finally:
        source.close()
    return name


@pytest.fixture
def site(tmp_path: Path, spark: SparkServer, database: str) -> Site:
    return Site(tmp_path, spark, database)


def parts_of(tree: dict[str, bytes]) -> dict[str, bytes]:
    return {path: data for path, data in sorted(tree.items()) if path.startswith("part-")}


def require_rows(tree: dict[str, bytes], ids: range) -> None:
    """A folder has the rows with these IDs in their order, and says so."""
    manifest = json.loads(tree["_manifest.json"])
    assert manifest["rows"] == len(ids)
    assert tree["_SUCCESS"] == b""
    found = pa.concat_tables(pq.read_table(io.BytesIO(data)) for data in parts_of(tree).values())
    assert found["id"].to_pylist() == [*ids]
    assert found.schema.field("amount").type == pa.decimal128(18, 2)
    assert pa.types.is_timestamp(found.schema.field("at").type)


@pytest.mark.parametrize("name", ["whole", pytest.param("split", marks=pytest.mark.wide)])
def test_production_cross_cluster(site: Site, hdfs: HdfsServer, tmp_path: Path, name: str) -> None:
    """The cluster has two addresses, which distcp takes for two clusters."""
    site.add(hadoop_environment(tmp_path / "hadoop", hdfs))
    staged, there = hdfs.new_folder(), hdfs.new_folder()
    replaced = (
        ("cluster2.example.com", hdfs.webhdfs),
        ("/data/source", staged),
        ("/data/target", there),
        ("2000000", "5000"),
    )
    more = " --split-by id --splits 2" if name == "split" else ""
    site.bash_ok("production_cross_cluster", *replaced, more=more)
    tree = tree_in(hdfs, there)
    require_rows(tree, range(0, ROWS, 2))
    assert len(parts_of(tree)) == (4 if name == "split" else 3)
    assert methods_of(site.joblist).keys() == {"distcp"}
    assert tree_in(hdfs, staged) == {}
    assert "already" in site.bash_ok("production_cross_cluster", *replaced, more=more).stdout


@pytest.mark.wide
def test_production_between_two_clusters(site: Site, hdfs: HdfsServer, tmp_path: Path) -> None:
    site.add(hadoop_environment(tmp_path / "hadoop", hdfs))
    with hdfs_server(tmp_path / "other", block_bytes=1024 * 1024) as other:
        staged, there = hdfs.new_folder(), other.new_folder()
        site.bash_ok(
            "production_cross_cluster",
            ("cluster2.example.com", other.hdfs.removeprefix("hdfs://")),
            ("/data/source", staged),
            ("/data/target", there),
            ("2000000", "5000"),
        )
        require_rows(tree_in(other, there), range(0, ROWS, 2))
        assert methods_of(site.joblist).keys() == {"distcp"}


@pytest.mark.wide
def test_development_single_cluster(site: Site, hdfs: HdfsServer, tmp_path: Path) -> None:
    site.add(hadoop_environment(tmp_path / "hadoop", hdfs))
    there = hdfs.new_folder()
    replaced = (("/tmp/test_data", there), ("localhost", "127.0.0.1"))
    site.bash_ok("development_single_cluster", *replaced)
    require_rows(tree_in(hdfs, there), range(1000))
    assert methods_of(site.joblist) == {"hdfs-put": 3}


@pytest.mark.wide
def test_development_in_one_cluster_with_distcp_copies_inside_it(
    site: Site, hdfs: HdfsServer, tmp_path: Path
) -> None:
    site.add(hadoop_environment(tmp_path / "hadoop", hdfs))
    staged, there = hdfs.new_folder(), hdfs.new_folder()
    site.env["SOURCE_HDFS_PATH"] = staged
    replaced = (
        ("/tmp/test_data", there),
        ("localhost", "127.0.0.1"),
        ("USE_DISTCP=false", "USE_DISTCP=Yes"),
    )
    site.bash_ok("development_single_cluster", *replaced)
    require_rows(tree_in(hdfs, there), range(1000))
    assert methods_of(site.joblist) == {"hdfs-cp": 3}


@pytest.fixture(scope="module")
def sftp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    need("scp", "ssh", packages="openssh-client")
    with sftp_server(tmp_path_factory.mktemp("sftp")) as server:
        yield server


def test_emergency(site: Site, sftp, tmp_path: Path) -> None:
    """Without a target the command says what to set; with one it goes on."""
    done = site.bash("emergency")
    assert done.exit_code == 2
    assert "SCP_TARGET" in done.stderr
    there = tmp_path / "there"
    there.mkdir()
    site.add({"SCP_TARGET": f"lab:{there}", "TARGET_TABLE": "critical"})
    # The host is an alias of this configuration; ssh doesn't look for another by HOME.
    site.bash_ok("emergency", more=f" --set sftp.config={sftp.config}")
    (part,) = (there / "critical").glob("part-*.csv")
    found = pyarrow.csv.read_csv(part)
    assert found["id"].to_pylist() == [*range(ROWS)]
    assert methods_of(site.joblist) == {"scp": 3}


def test_cloud_storage(site: Site, rclone_s3: S3Server) -> None:
    """The document has this example in Python alone, which ``test_seed_blocks`` runs."""
    bucket = rclone_s3.new_bucket()
    site.add(rclone_s3.environment)
    site.env["TARGET_PATH"] = f"s3://{bucket}/transfers"
    site.bash_ok("emergency", (" --output-format csv", " --output-format parquet"))
    keys = [each["Key"] for each in rclone_s3.client.list_objects_v2(Bucket=bucket)["Contents"]]
    tree = {
        key.removeprefix("transfers/"): rclone_s3.client.get_object(Bucket=bucket, Key=key)[
            "Body"
        ].read()
        for key in keys
    }
    require_rows(tree, range(ROWS))
    assert Counter(path.partition("-")[0] for path in tree) == {
        "part": 1,
        "_manifest.json": 1,
        "_SUCCESS": 1,
    }


@pytest.mark.parametrize("name", ["distcp_options", "hdfs_put_options"])
def test_options_of_the_document(site: Site, hdfs: HdfsServer, tmp_path: Path, name: str) -> None:
    """These blocks have no query and no host, which are in the environment."""
    site.add(hadoop_environment(tmp_path / "hadoop", hdfs))
    site.env |= {"SOURCE_HOST": "127.0.0.1", "QUERY": "SELECT * FROM test_table LIMIT 10"}
    target = hdfs.new_folder()
    replaced = [("/target/path", target)]
    if name == "distcp_options":
        replaced += [("cluster2.example.com", hdfs.webhdfs), ("/source/path", hdfs.new_folder())]
    done = site.bash_ok(name, *replaced, more=" --dry-run")
    methods = "distcp, hdfs-cp, stream" if name == "distcp_options" else "hdfs-put, stream"
    cluster = hdfs.webhdfs if name == "distcp_options" else hdfs.hdfs
    assert f"go to {cluster}{target} by {methods}" in done.stdout
    assert tree_in(hdfs, target) == {}
