"""Transfers from the members of a package in a folder: whole commands, damage, hostile names."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tests.commands import run, run_ok
from tests.packages.made import (
    MTIME_NS,
    forge,
    item,
    make_package,
    make_tar,
    rows,
)
from tests.trees import contents, receipts, statuses

MIB = 1024 * 1024
PART_BYTES = 5 * MIB
CHOSEN = random.Random(16)

HOSTILE = {
    "i/new\nline": b"1",
    "i/ -> 'x' \"y\" #?%2F": b"2" * 700,
    "i/" + os.fsdecode(b"bytes-\xff"): b"3",
    "i/ü/" + "long/" * 60 + "end": b"4",
    "i/empty": b"",
    "i/z.zarr/zarr.json": b"{}",
    "i/z.zarr/c/0": b"5" * 5000,
}
SMALL = {f"i/{number:04}": b"%d " % number * 300 for number in range(300)}


def generate(tar: str | Path, joblist: Path, destination, *, env=None, settings: str = "") -> Path:
    url = tar if isinstance(tar, str) else f"package+file://{tar}"
    run_ok("generate-joblist", "-i", url, "-o", joblist, "-d", destination, "-l", "tree", env=env)
    with (joblist / "joblist.toml").open("a") as file:
        file.write(f"\n[transfer]\npart_size_bytes = {PART_BYTES}\n{settings}")
    return joblist


def flip(tar: Path, path: str, place: int = 0) -> None:
    """Change a byte of a member, without another size or time of the tar."""
    (row,) = [row for row in rows(tar) if row.path == path]
    found = tar.stat()
    with tar.open("r+b") as file:
        file.seek(row.offset + place)
        byte = file.read(1)
        file.seek(row.offset + place)
        file.write(bytes([byte[0] ^ 1]))
    os.utime(tar, ns=(found.st_atime_ns, found.st_mtime_ns))


def test_members_arrive_with_times_and_modes_and_verify(tmp_path):
    tar = make_package(tmp_path, HOSTILE | SMALL | {"j": b"one file"})
    joblist = generate(tar, tmp_path / "list", tmp_path / "out")
    run_ok("transfer-worker", joblist)
    assert contents(tmp_path / "out") == HOSTILE | SMALL | {"j": b"one file"}
    found = os.stat(tmp_path / "out" / "i" / "new\nline")
    assert (found.st_mtime_ns, found.st_mode & 0o7777) == (MTIME_NS, 0o640)
    assert "0 missing, 0 changed" in run_ok("jobtool", "verify", joblist).stdout
    (tmp_path / "out" / "j").write_bytes(b"another!")
    assert run("jobtool", "verify", joblist, "--deep").exit_code == 1
    sources = {receipt.src_path for receipt in receipts(joblist)}
    assert f"package+file://{tar}/i/new\nline" in sources


def test_a_tar_without_an_index_arrives(tmp_path):
    files = {"d/a": b"1" * 1000, "d/b": b"", "c": b"2" * 300_000}
    tar = make_tar(tmp_path / "p.tar", [item(name, data) for name, data in files.items()])
    run_ok("transfer-worker", generate(tar, tmp_path / "list", tmp_path / "out"))
    assert contents(tmp_path / "out") == files


def test_a_damaged_member_fails_alone_and_gets_no_name(tmp_path):
    files = SMALL | {"i/large": CHOSEN.randbytes(6 * MIB), "i/zarr.json": b"{}", "j/a": b"1"}
    tar = make_package(tmp_path, files)
    for path in ("i/0150", "i/large"):
        flip(tar, path, 5)
    joblist = generate(tar, tmp_path / "list", tmp_path / "out")
    done = run("transfer-worker", joblist)
    assert done.exit_code == 1
    assert statuses(joblist) == {"i": "error", "j": "success"}
    kept = {path for path in files if path not in ("i/0150", "i/large", "i/zarr.json")}
    assert set(contents(tmp_path / "out")) == kept
    log = (joblist / "i.txt").read_text()
    for path in ("i/0150", "i/large"):
        (row,) = [row for row in rows(tar) if row.path == path]
        assert f"{tar}/{path}: expected MD5 {row.md5}, as the index says; found " in log
    assert "fetch it again" in log

    make_package(tmp_path, files)  # fetched again
    run_ok("jobtool", "retry", joblist)
    run_ok("transfer-worker", joblist)
    assert contents(tmp_path / "out") == files


def test_what_is_there_already_is_compared_with_the_index(tmp_path):
    files = {"i/a": b"1" * 1000, "i/b": b"2" * 1000}
    tar = make_package(tmp_path, files)
    flip(tar, "i/a")
    out = tmp_path / "out" / "i"
    out.mkdir(parents=True)
    (out / "a").write_bytes(b"0" + b"1" * 999)  # as it is in the tar
    (out / "b").write_bytes(files["i/b"])
    joblist = generate(tar, tmp_path / "list", tmp_path / "out")
    assert run("transfer-worker", joblist).exit_code == 1
    log = (joblist / "i.txt").read_text()
    assert f"{tar}/i/a: expected MD5" in log
    assert f"{tar}/i/b: expected MD5" not in log


def test_a_hostile_index_makes_no_joblist(tmp_path):
    tar = make_package(tmp_path, {"a": b"1"})
    (row,) = rows(tar)
    forge(tar, [type(row)("../a", row.offset, row.size, row.md5, row.mtime_ns, row.mode)])
    words = ("-i", f"package+file://{tar}", "-o", tmp_path / "list", "-d", tmp_path / "out")
    done = run("generate-joblist", *words, "-l", "tree")
    assert done.exit_code == 1
    assert "expected the relative path of a member" in done.stderr
    assert not (tmp_path / "list").exists()


@pytest.mark.parametrize("place", ["/nothing/p.tar", "/nothing/folder"])
def test_a_place_that_is_no_package_is_named(tmp_path, place):
    words = ("-i", f"package+file://{place}", "-o", tmp_path / "list", "-d", tmp_path / "out")
    done = run("generate-joblist", *words, "-l", "tree")
    assert done.exit_code == 2, done
    assert place in done.stderr
