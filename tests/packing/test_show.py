"""Compression on the way by the commands: sent smaller, proven, restored byte for byte."""

from __future__ import annotations

import json
import os
import random
import subprocess
from pathlib import Path

import numpy
import pytest
import zarr

import jobtool
from jobtool.transfer.packing.trailer import original_in
from tests.commands import (
    assert_one_line_error,
    finish,
    run,
    run_ok,
    start,
    start_module,
    wait_for,
)
from tests.servers.s3 import rclone_server
from tests.servers.versitygw import versitygw_server
from tests.trees import contents, receipts, write

PLATE = "plate1"


def make_tree(root: Path) -> Path:
    """Text, zarr chunks with a codec and without, and JPEGs, as incompressible as real ones."""
    noise = random.Random(0)
    for number in range(3):
        rows = (f"{row},{row * row},{number}\n" for row in range(4000))
        write(root / PLATE / f"table{number}.csv", "".join(rows).encode())
        jpeg = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + noise.randbytes(150_000) + b"\xff\xd9"
        write(root / PLATE / "images" / f"{number}.jpg", jpeg)
    image = numpy.random.default_rng(0).poisson(100, (512, 512)).astype("uint16")
    for name, compressors in (("plain", None), ("coded", "auto")):
        array = zarr.create_array(
            root / PLATE / f"{name}.zarr",
            shape=image.shape,
            chunks=(256, 256),
            dtype=image.dtype,
            compressors=compressors,
        )
        array[:] = image
    write(root / PLATE / 'odd "name" -> ✓.txt', b"odd " * 1000)
    write(root / "notes.txt", b"notes " * 1000)
    return root


def transfer(source: object, destination: object, joblist: Path, compression: str) -> int:
    """Transfer a tree with the setting in joblist.toml; return how many bytes were sent."""
    jobtool.generate_joblist(str(source), joblist, destination=str(destination), layout="tree")
    with open(joblist / "joblist.toml", "a") as file:
        file.write(f'\n[transfer]\ncompression = "{compression}"\n')
    sent = {}

    def note(progress: jobtool.JobProgress) -> None:
        sent[progress.job] = progress.bytes_sent

    done = jobtool.transfer_jobs(joblist, on_progress=note)
    assert (done.exit_code, done.policies.compression) == (0, compression)
    return sum(sent.values())


def verify(joblist: Path, *options: object, env=None) -> tuple[int, list[str]]:
    """Return the exit code and the findings."""
    done = run("jobtool", "verify", joblist, "--json", *options, env=env)
    events = map(json.loads, done.lines)
    return done.exit_code, [one["what"] for one in events if one["event"] == "finding"]


@pytest.fixture
def url(request, tmp_path, monkeypatch) -> str:
    if request.param == "local":
        return str(tmp_path / "archive")
    server = request.getfixturevalue("moto_s3")
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return f"s3://{server.new_bucket()}/archive"


@pytest.mark.parametrize(
    ("url", "compression"),
    [
        ("local", "gzip"),
        ("s3", "zstd"),
        pytest.param("local", "zstd", marks=pytest.mark.wide),
        pytest.param("s3", "gzip", marks=pytest.mark.wide),
    ],
    indirect=["url"],
)
def test_a_tree_is_sent_smaller_and_restored_identical(tmp_path, url, compression) -> None:
    tree = make_tree(tmp_path / "in")
    before = contents(tree)
    sent = transfer(tree, url, tmp_path / "there", compression)
    assert sent < 0.75 * sum(map(len, before.values()))

    found = {one.src_path.removeprefix(f"{tree}/"): one for one in receipts(tmp_path / "there")}
    assert found.keys() == before.keys()
    packed = {path for path, one in found.items() if one.compression}
    assert all(
        one.dst_path.endswith(".zst" if compression == "zstd" else ".gz")
        for path, one in found.items()
        if path in packed
    )
    assert {Path(path).suffix for path in packed} >= {".csv", ".txt"}
    assert not any(path.endswith(".jpg") for path in packed)
    chunks = [path for path in found if "/c/" in path]
    assert {path for path in chunks if path in packed} == {
        path for path in chunks if "/plain.zarr/" in path
    }
    assert sent == sum(one.stored_size for one in found.values())
    assert verify(tmp_path / "there") == verify(tmp_path / "there", "--deep") == (0, [])

    transfer(url, tmp_path / "back", tmp_path / "back-again", "unpack")
    assert contents(tmp_path / "back") == before
    assert verify(tmp_path / "back-again", "--deep") == (0, [])
    restored = zarr.open_array(tmp_path / "back" / PLATE / "plain.zarr")
    assert (restored[:] == zarr.open_array(tree / PLATE / "coded.zarr")[:]).all()
    if url.startswith("/"):  # where the source's times are kept, too
        for path in before:
            assert (tmp_path / "back" / path).stat().st_mtime_ns == (tree / path).stat().st_mtime_ns


def test_damage_to_what_is_stored_is_noticed_and_repaired(tmp_path) -> None:
    tree, archive, joblist = make_tree(tmp_path / "in"), tmp_path / "archive", tmp_path / "list"
    transfer(tree, archive, joblist, "zstd")
    good = contents(archive)
    cut, flipped, gone = (archive / PLATE / f"table{number}.csv.zst" for number in range(3))
    cut.write_bytes(cut.read_bytes()[:-1])
    data = bytearray(flipped.read_bytes())
    data[500] ^= 1
    time_ns = flipped.stat().st_mtime_ns
    flipped.write_bytes(data)
    os.utime(flipped, ns=(time_ns, time_ns))
    gone.unlink()
    assert verify(joblist) == (1, ["changed", "missing"])
    assert sorted(verify(joblist, "--deep")[1]) == ["changed", "changed", "missing"]
    run("jobtool", "verify", joblist, "--deep", "--repair")
    sent = []
    jobtool.transfer_jobs(joblist, on_progress=lambda progress: sent.append(progress.files_sent))
    assert max(sent) == 3
    assert contents(archive) == good
    assert verify(joblist, "--deep") == (0, [])


@pytest.mark.parametrize(
    "step",
    [
        "after a file is published",
        pytest.param("in the middle of a file's bytes", marks=pytest.mark.wide),
        pytest.param("before a receipt", marks=pytest.mark.wide),
    ],
)
def test_a_kill_leaves_nothing_that_the_next_worker_does_not_take_up(tmp_path, step) -> None:
    tree, archive, joblist = make_tree(tmp_path / "in"), tmp_path / "archive", tmp_path / "list"
    run_ok("generate-joblist", "-i", tree, "-o", joblist, "-d", archive, "--layout", "tree")
    with open(joblist / "joblist.toml", "a") as file:
        file.write('\n[transfer]\ncompression = "gzip"\n')
    victim = finish(start_module("tests.faults.victim", step, "4", str(joblist)))
    assert victim.exit_code == -9
    run_ok("transfer-worker", "-i", joblist)
    stored = contents(archive)
    assert not any(".jobtool" in path for path in stored)
    assert len(stored) == len(contents(tree))
    assert verify(joblist, "--deep") == (0, [])
    for path, data in stored.items():
        if original_in("gzip", data) is not None:
            opened = subprocess.run(["gzip", "-dc"], input=data, stdout=-1, check=True).stdout
            assert opened == contents(tree)[path.removesuffix(".gz")]


@pytest.mark.wide
@pytest.mark.parametrize("kind", ["rclone", "versitygw"])
@pytest.mark.parametrize("who", ["clean", "next attempt"])
def test_the_upload_that_a_killed_stream_leaves_at_a_server_is_removed(tmp_path, kind, who) -> None:
    block = random.Random(0).randbytes(600_000) + bytes(450_000)
    write(tmp_path / "in" / "job" / "big", block * 180)  # more than one part of a stream
    (tmp_path / "server").mkdir()
    make_server = rclone_server if kind == "rclone" else versitygw_server
    with make_server(tmp_path / "server") as server:
        bucket, env, joblist = server.new_bucket(), server.environment, tmp_path / "list"
        paths = ("-i", tmp_path / "in", "-o", joblist, "-d", f"s3://{bucket}", "--layout", "tree")
        run_ok("generate-joblist", *paths, env=env)

        def uploads() -> list[str]:
            try:
                found = server.client.list_multipart_uploads(Bucket=bucket)
            except server.client.exceptions.NoSuchUpload:  # rclone's for none
                return []
            return [one["Key"] for one in found.get("Uploads", ())]

        worker = start("transfer-worker", "-i", joblist, "--compression", "zstd", env=env)
        try:
            wait_for(lambda: uploads() or worker.poll() is not None)
        finally:
            worker.kill()
            worker.communicate()
        assert uploads() == ["job/big.zst"]
        if who == "clean":
            run_ok("jobtool", "clean", joblist, env=env)
            assert uploads() == ["job/big.zst"]
            run_ok("jobtool", "clean", joblist, "--yes", env=env)
        else:
            run_ok("transfer-worker", "-i", joblist, env=env)
        assert uploads() == []


def test_a_mistake_is_one_line(tmp_path) -> None:
    tree, joblist = make_tree(tmp_path / "in"), tmp_path / "list"
    run_ok("generate-joblist", "-i", tree, "-o", joblist, "-d", tmp_path / "x", "--layout", "tree")
    worker = ("transfer-worker", "-i", joblist)
    assert_one_line_error(
        run(*worker, "--compression", "gzip", "--methods", "server-side"),
        2,
        "compression 'gzip': expected the method 'stream'",
    )
    with open(joblist / "joblist.toml", "a") as file:
        file.write('\n[transfer]\ncompression = "lz4"\n')
    assert_one_line_error(run(*worker), 2, "compression", "'lz4'")
