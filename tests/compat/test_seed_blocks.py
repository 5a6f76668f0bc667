"""Each Python block about filesystems of the project's founding document does what it says.

``seed_blocks`` holds the blocks as they are there. A test replaces the import line, hosts and
secrets, and runs the rest.
"""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path
from typing import Any

import fsspec
import pytest

from jobtool.compat.impala_transfer import FSSpecFileTransferManager
from jobtool.stores.sides import side_of
from tests.needs import lack
from tests.servers import azure
from tests.servers.hdfs import USER
from tests.servers.passwords import password_server
from tests.servers.s3 import ACCESS_KEY, SECRET_KEY
from tests.trees import write

BLOCKS = Path(__file__).parent / "seed_blocks"
DATA = b"day,value\n" * 1000


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch, caplog):
    """The folder of the user's state. The manager's whole log is kept."""
    caplog.set_level(logging.DEBUG, logger="jobtool.compat.impala_transfer")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


def run_block(name: str, *replaced: tuple[str, object]) -> dict[str, Any]:
    """Run a block with other hosts and files; return its variables. It must succeed."""
    text = (BLOCKS / f"{name}.txt").read_text()
    for old, new in replaced:
        assert old in text, old
        text = text.replace(old, str(new))
    text = text.replace("from impala_transfer.transfer", "from jobtool.compat.impala_transfer")
    # Some blocks go on where the one before them has ended.
    names: dict[str, Any] = {
        "fsspec": fsspec,
        "FSSpecFileTransferManager": FSSpecFileTransferManager,
    }
    exec(compile(text, name, "exec"), names)
    assert names["success"] is True
    return names


def require_module(name: str) -> None:
    if importlib.util.find_spec(name) is None:
        lack(f"no {name}: pip install {name}")


def object_of(server, bucket, key):
    return server.client.get_object(Bucket=bucket, Key=key)["Body"].read()


def require_secret_kept(state: Path, caplog, *secrets: str) -> None:
    """No file of the state and no line of the log holds a secret."""
    files = [path for path in state.rglob("*") if path.is_file()]
    assert any(path.name == "joblist.toml" for path in files)
    for secret in secrets:
        assert secret not in caplog.text
        for path in files:
            assert secret.encode() not in path.read_bytes(), path


def test_cloud_storage(rclone_s3, tmp_path, monkeypatch, state, caplog):
    monkeypatch.setenv("AWS_ENDPOINT_URL", rclone_s3.endpoint_url)
    file, bucket = write(tmp_path / "file.csv", DATA), rclone_s3.new_bucket()
    secrets = [("your-access-key", ACCESS_KEY), ("your-secret-key", SECRET_KEY)]
    run_block("cloud_storage", ("my-data-bucket", bucket), ("/local/path/file.csv", file), *secrets)
    assert object_of(rclone_s3, bucket, "transfers/file.csv") == DATA
    require_secret_kept(state, caplog, SECRET_KEY, ACCESS_KEY)


def place_in_hdfs(hdfs, monkeypatch) -> list[tuple[str, object]]:
    monkeypatch.setenv("HADOOP_CONF_DIR", str(hdfs.conf))
    path = f"{hdfs.new_folder()}/file.csv"
    with hdfs.client.create(path) as file:
        file.write(DATA)
    return [
        ("namenode.example.com", "127.0.0.1"),
        ("8020", hdfs.rpc_port),
        ("/user/data/file.csv", path),
    ]


def test_cross_platform(rclone_s3, hdfs, monkeypatch):
    monkeypatch.setenv("HADOOP_USER_NAME", "")
    monkeypatch.delenv("HADOOP_USER_NAME")
    monkeypatch.setattr("jobtool.stores.hdfs.clients.users_set_here", set())
    monkeypatch.setenv("AWS_ENDPOINT_URL", rclone_s3.endpoint_url)
    bucket = rclone_s3.new_bucket()
    run_block(
        "cross_platform",
        *place_in_hdfs(hdfs, monkeypatch),
        ("'user': 'hdfs'", f"'user': {USER!r}"),
        ("my-bucket", bucket),
        ("your-access-key", ACCESS_KEY),
        ("your-secret-key", SECRET_KEY),
    )
    assert object_of(rclone_s3, bucket, "transfers/file.csv") == DATA


def test_filesystem_objects(rclone_s3, hdfs, monkeypatch, state, caplog):
    require_module("s3fs")
    monkeypatch.setenv("HADOOP_USER_NAME", USER)
    monkeypatch.setenv("AWS_ENDPOINT_URL", rclone_s3.endpoint_url)
    bucket = rclone_s3.new_bucket()
    run_block(
        "filesystem_objects",
        *place_in_hdfs(hdfs, monkeypatch),
        ("my-bucket", bucket),
        ("your-access-key", ACCESS_KEY),
        ("your-secret-key", SECRET_KEY),
    )
    assert object_of(rclone_s3, bucket, "transfers/file.csv") == DATA
    require_secret_kept(state, caplog, SECRET_KEY, ACCESS_KEY)


def test_mixed_configuration(azurite, tmp_path, state, caplog):
    require_module("paramiko")
    container = azurite.new_container()
    with password_server(tmp_path) as server:
        write(server.folder / "remote" / "path" / "file.txt", DATA)
        run_block(
            "mixed_configuration",
            ("host='sftp.example.com'", f"host='127.0.0.1', port={server.port}"),
            ("'myaccount'", f"{azure.ACCOUNT!r}, 'account_url': {azurite.account_url!r}"),
            ("my-key", azure.KEY),
            ("my-container", container),
        )
    blob = azurite.client.get_blob_client(container, "data/file.txt")
    assert blob.download_blob().readall() == DATA
    require_secret_kept(state, caplog, azure.KEY)


def test_unified_manager(gcs, tmp_path, monkeypatch):
    require_module("gcsfs")
    # Its check for hierarchical buckets asks another server, and waits for it without an end.
    monkeypatch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    file = write(tmp_path / "file.parquet", DATA)
    gcs.set_in(monkeypatch)
    bucket = gcs.new_bucket()
    names = run_block(
        "unified_manager",
        ("my-project", "tests"),
        ("'path/to/credentials.json'", "'anon'"),
        ("my-bucket", bucket),
        ("/local/path/file.parquet", file),
    )
    assert names["gcs_fs"].cat_file(f"{bucket}/analytics/file.parquet") == DATA


def test_configuration():
    """This block only has dictionaries. Each is understood."""
    names: dict[str, Any] = {}
    exec((BLOCKS / "configuration.txt").read_text(), names)
    hdfs = side_of(names["hdfs_config"], "destination", where="x")
    assert hdfs.url_of(hdfs.target_path) == ("hdfs://namenode.example.com:8020/user/data/transfers")
    assert hdfs.table == {"user": "hdfs"}
    s3 = side_of(names["s3_config"], "destination", where="x")
    assert s3.url_of(s3.target_path) == "s3://my-bucket/transfers"
    assert set(s3.secrets) == {"access_key", "secret_key"}
    gcs = side_of(names["gcs_config"], "destination", where="x")
    assert gcs.url_of(gcs.target_path) == "gs://my-gcs-bucket/transfers"
    assert gcs.credentials == {"provider": "google-file", "path": "/path/to/service-account.json"}
