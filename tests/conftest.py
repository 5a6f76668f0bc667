"""What all tests share: real S3 servers, and an environment without the developer's AWS."""

from __future__ import annotations

import gc
import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings

from tests.commands import MPIRUN_FOLDER
from tests.servers.azure import AzureServer, azurite_server
from tests.servers.ftp import FtpServer, ftp_server
from tests.servers.gcs import GcsServer, gcs_server
from tests.servers.hdfs import HdfsServer, hdfs_server
from tests.servers.nginx import Nginx, nginx_server
from tests.servers.postgresql import PostgresServer, postgres_server
from tests.servers.s3 import S3Server, moto_server, rclone_server
from tests.servers.spark import SparkServer, spark_server

# Without it each process that the tests start compiles all of jobtool: 0.2 s of CPU.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# A shell lets its jobs in the background ignore it, and so would each process that the tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

pytest.register_assert_rewrite("jobtool.testing.store_suite")

IS_WIDE = os.environ.get("JOBTOOL_TEST_WIDE") == "1"

settings.register_profile(
    "jobtool",
    max_examples=500 if IS_WIDE else 50,
    deadline=None,  # a slow machine isn't a failure
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.register_profile(  # for tests.benchmarks.mutation
    "mutation",
    settings.get_profile("jobtool"),
    max_examples=25,
    phases=[Phase.explicit, Phase.generate],
    derandomize=True,
    database=None,
)
settings.load_profile("jobtool")


@pytest.hookimpl(tryfirst=True)
def pytest_collection() -> None:
    """Look for no garbage while tests are collected, which makes none: a fifth of the time."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Leave all that was collected alone from now on: it stays to the end."""
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave tests of more kinds of a server to ``make test-wide``."""
    if not IS_WIDE:
        for item in items:
            if item.get_closest_marker("wide"):
                item.add_marker(pytest.mark.skip(reason="make test-wide"))


@pytest.fixture(autouse=True)
def no_aws_of_the_developer(monkeypatch: pytest.MonkeyPatch, tmp_path_factory) -> None:
    """Tests see no AWS configuration but their own, and no instance's role."""
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    nowhere = str(tmp_path_factory.getbasetemp() / "no-such-aws-file")
    monkeypatch.setenv("AWS_CONFIG_FILE", nowhere)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", nowhere)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture(autouse=True, scope="session")
def folder_of_mpirun(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Each process of tests has its own folder for mpirun's files; see ``mpirun_environment``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(MPIRUN_FOLDER, str(tmp_path_factory.mktemp("mpirun")))
        yield


@pytest.fixture(scope="session")
def rclone_s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """``rclone serve s3``: an independent server that checks signatures and MD5s."""
    with rclone_server(tmp_path_factory.mktemp("rclone")) as server:
        yield server


@pytest.fixture(scope="session")
def moto_s3() -> Iterator[S3Server]:
    """moto's server: it supports more of S3, and accepts any credentials."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    with moto_server() as server:
        yield server


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AzureServer]:
    """Azurite: Microsoft's emulator of Azure Blob Storage."""
    with azurite_server(tmp_path_factory.mktemp("azurite")) as server:
        yield server


@pytest.fixture(scope="session")
def gcs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GcsServer]:
    """fake-gcs-server: the API of Google Cloud Storage."""
    with gcs_server(tmp_path_factory.mktemp("gcs")) as server:
        yield server


@pytest.fixture(scope="session")
def hdfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HdfsServer]:
    """Hadoop's servers, shared by all processes of the run."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent  # of all workers
    with hdfs_server(base / "hdfs") as server:
        yield server


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkServer]:
    """Spark's Thrift server, shared by all processes of the run."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent  # of all workers
    with spark_server(base / "spark") as server:
        yield server


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """PostgreSQL, shared by all processes of the run."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent  # of all workers
    with postgres_server(base / "postgresql") as server:
        yield server


@pytest.fixture(scope="session")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    """A web server with several habits."""
    with nginx_server(tmp_path_factory.mktemp("nginx")) as server:
        yield server


@pytest.fixture(scope="session")
def ftp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FtpServer]:
    """An FTP server, with and without TLS."""
    with ftp_server(tmp_path_factory.mktemp("ftp")) as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder whose name needs care."""
    path = tmp_path / 'a "weird" folder -> #1?\n%2F ✓'
    path.mkdir()
    return path
