"""The commands that read packages, from a path and from S3."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.commands import BIN, assert_one_line_error, environment, run, run_ok
from tests.packages.made import (
    MTIME_NS,
    forged,
    index_of,
    item,
    make_package,
    make_tar,
    manifest_of,
    rows,
    tree,
)

FILES = {
    "p.zarr/c/0": b"\x00\xff" * 300,
    "p.zarr/c/1": b"",
    "p.zarr/zarr.json": b"{}\n",
    "log\nfile": b"a line\n",
    os.fsdecode(b"\xfe.txt"): b"2",
}


@pytest.fixture
def tar(folder: Path) -> Path:
    return make_package(folder, FILES)


def cat(*arguments: object, env=None) -> subprocess.CompletedProcess[bytes]:
    """Run jobtool cat, whose output is bytes."""
    return subprocess.run(
        [BIN / "jobtool", "cat", *map(str, arguments)],
        capture_output=True,
        env=environment(env),
        timeout=60,
    )


def test_members_are_listed_by_name_and_as_json(tar: Path) -> None:
    assert run_ok("jobtool", "ls", tar).lines == [
        "p.zarr/c/0",
        "p.zarr/c/1",
        "p.zarr/zarr.json",
        '"log\\nfile"',
        '"\\xfe.txt"',
    ]
    assert run_ok("jobtool", "ls", tar, "p.zarr/c", "*.txt").lines == [
        "p.zarr/c/0",
        "p.zarr/c/1",
        '"\\xfe.txt"',
    ]
    row = rows(tar)[0]
    assert json.loads(run_ok("jobtool", "ls", tar, "p.zarr/c/0", "--json").stdout) == {
        "event": "member",
        "member": "p.zarr/c/0",
        "offset": row.offset,
        "size": 600,
        "md5": row.md5,
        "mtime_ns": MTIME_NS,
        "mode": 0o640,
    }
    long = run_ok("jobtool", "ls", "-l", tar, "p.zarr/c/0").stdout
    assert long == f"-rw-r-----          600 2023-11-14T22:13:20Z {row.md5} p.zarr/c/0\n"


def test_bytes_of_members_are_written_as_they_are(tar: Path) -> None:
    done = cat(tar, "p.zarr/zarr.json", "p.zarr/c", os.fsdecode(b"\xfe.txt"))
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == b"{}\n" + FILES["p.zarr/c/0"] + b"2"


def test_a_damaged_member_is_an_error_after_its_bytes(tar: Path) -> None:
    forged(tar, 0, md5="0" * 32)
    done = cat(tar, "p.zarr/c/0")
    assert done.returncode == 1
    assert done.stdout == FILES["p.zarr/c/0"]
    assert b"member p.zarr/c/0: expected MD5 " + b"0" * 32 in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_reader_that_leaves_is_no_error_of_ours(folder: Path) -> None:
    tar = make_package(folder, {"large": os.urandom(30_000_000)})
    command = f"'{BIN}/jobtool' cat p.tar large | head -c 5"
    done = subprocess.run(
        ["bash", "-c", f"{command}; echo ${{PIPESTATUS[0]}} >&2"],
        capture_output=True,
        cwd=tar.parent,
        env=environment(),
        timeout=60,
    )
    assert (len(done.stdout), done.stderr) == (5, b"74\n")


def test_members_are_fetched(tar: Path, folder: Path) -> None:
    out = folder / "out"
    done = run_ok("jobtool", "get", tar, "p.zarr", "-d", out)
    assert done.lines == ["✅ 3 members unpacked (603 B)."]
    assert tree(out) == {path: data for path, data in FILES.items() if path.startswith("p.zarr")}
    run_ok("jobtool", "get", tar, "--all", "-d", "out", cwd=folder)
    assert tree(out) == FILES
    again = run_ok("jobtool", "get", tar, "--all", "-d", out, "--json")
    assert json.loads(again.lines[-1]) == {
        "event": "unpacked",
        "members": 0,
        "bytes": 0,
        "kept": 5,
        "failed": 0,
        "waiting": 0,
    }


def test_failed_members_are_named_and_the_exit_code_is_1(tar: Path, folder: Path) -> None:
    forged(tar, 0, md5="0" * 32)
    done = run("jobtool", "get", tar, "--all", "-d", folder / "out")
    assert done.exit_code == 1
    assert "❌" in done.lines[0]
    assert "p.zarr/c/0: expected MD5" in done.lines[0]
    assert done.lines[1:] == [
        "❌ 3 members unpacked (8 B), 1 failed, 1 of metadata wait until all data is there."
    ]
    assert "p.zarr/zarr.json" not in tree(folder / "out")


def test_a_package_is_read_from_s3_and_unpacked_into_it(tmp_path: Path, rclone_s3) -> None:
    files = {**FILES, "large": os.urandom(12_000_000)}
    del files[os.fsdecode(b"\xfe.txt")], files["log\nfile"]
    tar = make_package(tmp_path, files)
    bucket, env = rclone_s3.new_bucket(), rclone_s3.environment
    for path in (tar, index_of(tar), manifest_of(tar)):
        rclone_s3.client.upload_file(str(path), bucket, f"in/{path.name}")
    url = f"s3://{bucket}/in/p.tar"
    assert run_ok("jobtool", "ls", url, env=env).lines == [*files]
    assert cat(url, "p.zarr/zarr.json", env=env).stdout == b"{}\n"
    run_ok("jobtool", "get", url, "--all", "-d", tmp_path / "out", env=env)
    assert tree(tmp_path / "out") == files
    for count in (f"{len(files)} members unpacked", f"{len(files)} were there already"):
        done = run_ok("jobtool", "get", url, "--all", "-d", f"s3://{bucket}/out", env=env)
        assert count in done.stdout
    assert tree(rclone_s3.folder / bucket / "out") == files


def test_settings_of_stores_are_given_by_set(tmp_path: Path, rclone_s3) -> None:
    tar = make_package(tmp_path, {"a": b"1"})
    bucket = rclone_s3.new_bucket()
    for path in (tar, index_of(tar), manifest_of(tar)):
        rclone_s3.client.upload_file(str(path), bucket, path.name)
    env = {k: v for k, v in rclone_s3.environment.items() if k != "AWS_ENDPOINT_URL"}
    setting = f"s3.endpoint_url={rclone_s3.endpoint_url}"
    assert run_ok("jobtool", "ls", f"s3://{bucket}/p.tar", "--set", setting, env=env).lines == ["a"]
    done = run("jobtool", "ls", tar, "--set", "endpoint_url=x")
    assert_one_line_error(done, 2, "expected SCHEME.KEY=VALUE")
    done = run("jobtool", "ls", f"s3://{bucket}/p.tar", "--set", "s3.endpint_url=x")
    assert_one_line_error(done, 2, "--set", "endpint_url")


def test_a_tar_without_an_index_is_listed_with_a_warning_and_indexed(tmp_path: Path) -> None:
    tar = make_tar(tmp_path / "x.tar", [item("a", b"1"), item("b/c", b"22")])
    done = run("jobtool", "ls", tar)
    assert (done.exit_code, done.lines) == (0, ["a", "b/c"])
    assert "has no index" in done.stderr
    done = run("jobtool", "get", tar, "--all", "-d", tmp_path / "out")
    assert (done.exit_code, tree(tmp_path / "out")) == (0, {"a": b"1", "b/c": b"22"})
    assert run_ok("jobtool", "ls", tar, "--reindex").lines == [
        f"✅ Wrote the index of {tar}: 2 members."
    ]
    assert run_ok("jobtool", "ls", tar).lines == ["a", "b/c"]


def test_wrong_usage_is_one_line(tar: Path, folder: Path) -> None:
    out = folder / "out"
    for arguments, exit_code, *texts in (
        (("get", tar, "-d", out), 2, "either MEMBER or --all", "neither"),
        (("get", tar, "a", "--all", "-d", out), 2, "found both"),
        (("get", tar, "--all"), 2, "--destination"),
        (("get", tar, "nosuch", "-d", out), 1, "expected a member for nosuch"),
        (("get", folder / "no.tar", "--all", "-d", out), 1, "no.tar"),
        (("ls", folder), 1, "found a folder"),
        (("ls", tar, "nosuch*"), 1, "nosuch*"),
        (("ls", "s3:/bucket/x.tar"), 2, "it looks like a URL"),
        (("cat", tar), 2, "MEMBER"),
        (("refs", tar, "-o", folder / "no" / "x.json"), 2, "can't write"),
        (("unpakc", tar), 2, "Did you mean"),
    ):
        assert_one_line_error(run("jobtool", *arguments), exit_code, *texts)
    assert not out.exists()
