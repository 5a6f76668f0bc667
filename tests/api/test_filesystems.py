"""Filesystems in joblist.toml and in Python: tables, objects, and secrets that stay."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

import fsspec
import pytest

import jobtool
from jobtool.api.generate import with_absolute_paths
from jobtool.errors import JoblistError, StoreSettingsError, UsageError
from tests import commands
from tests.servers.s3 import ACCESS_KEY, SECRET_KEY
from tests.trees import contents, make_items


def settings_of(joblist: Path) -> dict[str, Any]:
    return tomllib.loads((joblist / "joblist.toml").read_text())


def test_objects_and_tables_are_mixed(tmp_path):
    make_items(tmp_path / "in", 3)
    memory = fsspec.filesystem("memory")
    joblist = tmp_path / "jobs"
    table = {"protocol": "file", "target_path": str(tmp_path / "out")}
    there = f"/{tmp_path.name}"
    jobtool.generate_joblist(
        tmp_path / "in", joblist, layout="tree", destination=there, target_fs=memory
    )
    done = jobtool.transfer_jobs(joblist, target_fs=memory)
    assert (done.exit_code, done.statuses["success"]) == (0, 3)
    back = tmp_path / "back"
    jobtool.generate_joblist(there, back, layout="tree", source_fs=memory, target_fs=table)
    assert jobtool.transfer_jobs(back, source_fs=memory).exit_code == 0
    assert contents(tmp_path / "out") == contents(tmp_path / "in")
    assert settings_of(back)["target_fs"] == table
    assert "source_fs" not in settings_of(back)
    opened = jobtool.JobList.open(str(back))
    opened.use_filesystems(source_fs=memory)
    assert jobtool.verify_jobs(opened).exit_code == 0
    memory.rm(there, recursive=True)


def test_a_process_without_the_object_says_so_and_fails_no_job(tmp_path):
    make_items(tmp_path / "in", 2)
    joblist, local = tmp_path / "jobs", fsspec.filesystem("file")
    jobtool.generate_joblist(
        tmp_path / "in", joblist, layout="tree", destination=tmp_path / "out", target_fs=local
    )
    done = commands.run("transfer-worker", "-i", joblist, "-v", 0)
    commands.assert_one_line_error(
        done, 2, f"fsspec://file:{tmp_path}/out", "transfer_jobs(joblist, target_fs=filesystem)"
    )
    with pytest.raises(StoreSettingsError, match="found one of the protocol 'memory'"):
        jobtool.transfer_jobs(joblist, target_fs=fsspec.filesystem("memory"))
    assert jobtool.summarise_jobs(joblist).count(jobtool.JobStatus.TODO) == 2
    assert jobtool.transfer_jobs(joblist, target_fs=local).exit_code == 0


def test_secrets_given_in_python_stay_in_the_process(rclone_s3, tmp_path):
    make_items(tmp_path / "in", 2)
    joblist, bucket = tmp_path / "jobs", rclone_s3.new_bucket()
    table = {
        "protocol": "s3",
        "bucket": bucket,
        "key": ACCESS_KEY,
        "secret": SECRET_KEY,
        "endpoint_url": rclone_s3.endpoint_url,
        "target_path": "a b/",
    }
    jobtool.generate_joblist(tmp_path / "in", joblist, layout="tree", target_fs=table)
    found = settings_of(joblist)
    assert found["destination"] == f"s3://{bucket}/a b"
    assert found["target_fs"] == {
        key: value for key, value in table.items() if key not in ("key", "secret")
    }
    with pytest.raises(JoblistError, match="another destination"):
        jobtool.generate_joblist(
            tmp_path / "in", joblist, layout="tree", target_fs={**table, "target_path": "other"}
        )
    secrets = {"protocol": "s3", "key": ACCESS_KEY, "secret": SECRET_KEY}
    assert jobtool.transfer_jobs(joblist, target_fs=secrets).exit_code == 0
    wrong = jobtool.JobList.open(str(joblist))
    wrong.use_filesystems(target_fs={**secrets, "secret": "not-the-secret"})
    with pytest.raises(jobtool.InfrastructureError) as caught:
        jobtool.verify_jobs(wrong)
    assert "not-the-secret" not in str(caught.value)
    for path in joblist.rglob("*"):
        if path.is_file():
            assert SECRET_KEY.encode() not in path.read_bytes()


@pytest.mark.parametrize(
    ("table", "is_path"),
    [
        ({"protocol": "sftp", "host": "h", "key_filename": "id"}, True),
        ({"protocol": "gs", "bucket": "b", "token": "key.json"}, True),
        ({"protocol": "gs", "bucket": "b", "token": "anon"}, False),
        ({"protocol": "zip", "fo": "a.zip"}, True),
        ({"protocol": "zip", "fo": "https://h/a.zip"}, False),
    ],
)
def test_relative_paths_in_tables_become_absolute(table, is_path):
    key = list(table)[-1]
    value = os.path.abspath(table[key]) if is_path else table[key]
    assert with_absolute_paths(table) == {**table, key: value}


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ('protocol = "s3"\nkey = "hidden"', "[credentials]"),
        ('protocol = "gcs"\ntoken = "hidden"', "gcloud auth"),
        ('protocol = "abfs"\naccount_key = "hidden"', "az login"),
        ('protocol = "sftp"\nhost = "h"\npassword = "hidden"', "a key or an agent"),
        ('protocol = "dropbox"\ntoken = "hidden"', "fsspec's own configuration"),
        (
            'protocol = "s3"\n[target_fs.client_kwargs]\naws_secret_access_key = "hidden"',
            "provider",
        ),
    ],
)
def test_secrets_in_a_file_are_refused_and_a_better_place_is_named(tmp_path, table, expected):
    (tmp_path / "joblist.toml").write_text(f"format = 1\n[target_fs]\n{table}\n")
    with pytest.raises(JoblistError) as caught:
        jobtool.JobList.open(str(tmp_path))
    assert expected in str(caught.value)
    assert "table [target_fs]" in str(caught.value)
    assert "hidden" not in str(caught.value)


def test_a_table_written_by_hand_says_where_data_goes(tmp_path):
    make_items(tmp_path / "in", 2)
    joblist = tmp_path / "jobs"
    joblist.mkdir()
    (joblist / "joblist.toml").write_text(
        f'format = 1\n[source_fs]\nprotocol = "local"\n[target_fs]\nprotocol = "local"\n'
        f'target_path = "{tmp_path}/out"\n'
    )
    commands.run_ok("generate-joblist", "-i", tmp_path / "in", "-o", joblist, "-l", "tree")
    commands.run_ok("transfer-worker", "-i", joblist)
    assert contents(tmp_path / "out") == contents(tmp_path / "in")


def test_tables_are_set_by_the_command(tmp_path):
    words = ["source_fs.protocol=hdfs", "source_fs.host=127.0.0.1", "source_fs.port=1"]
    told = [word for text in words for word in ("--set", text)]
    command = ("generate-joblist", "-i", "/data", "-o", tmp_path / "jobs", "-d", tmp_path, *told)
    done = commands.run(*command, "-l", "tree", "-v", 0)
    commands.assert_one_line_error(done, 4, "hdfs://127.0.0.1:1")
    done = commands.run(*command, "--set", "source_fs.password=hidden", "-v", 0)
    commands.assert_one_line_error(done, 2, "'password'")
    assert "hidden" not in done.stdout + done.stderr


def test_a_table_that_makes_no_sense_is_told_with_its_file(tmp_path):
    (tmp_path / "joblist.toml").write_text(
        'format = 1\n[target_fs]\nprotocol = "s3"\nbuket = "b"\n'
    )
    done = commands.run("transfer-worker", "-i", tmp_path, "-v", 0)
    commands.assert_one_line_error(done, 2, "joblist.toml, table [target_fs]", "'bucket'?")
    with pytest.raises(UsageError, match="target_fs: expected a dictionary"):
        jobtool.transfer_jobs(tmp_path, target_fs=7)
