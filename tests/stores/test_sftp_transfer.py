"""A plate to an SSH server and back by the commands, whose workers are killed on the way."""

from __future__ import annotations

import os
import random
import re
import signal
import time

import pytest

from jobtool.transfer.checksum import MEBIBYTE, md5_of
from tests import commands
from tests.servers.sftp import sftp_server
from tests.trees import contents, receipts

DEADLINE_SECONDS = 120
KILLS = 3
LARGE_BYTES = 96 * MEBIBYTE + 7
NAMES = ("with space", "100%", "#hash", "query?a=b", "new\nline", "ü", "not UTF-8 \udcff")


@pytest.fixture(scope="module")
def sftp(tmp_path_factory):
    with sftp_server(tmp_path_factory.mktemp("sftp")) as server:
        yield server


@pytest.fixture
def source(tmp_path):
    random_bytes = random.Random(0).randbytes
    files = {f"plate/{name}/{n}": random_bytes(3000) for name in NAMES for n in range(20)}
    files["plate/large.bin"] = random_bytes(LARGE_BYTES)
    for path, data in files.items():
        full = tmp_path / "source" / path
        full.parent.mkdir(parents=True, exist_ok=True)
        full.write_bytes(data)
    (tmp_path / "source/plate/empty").mkdir()
    return files


def joblist_of(sftp, made, source, destination):
    table = [f"--set=sftp.{key}={value}" for key, value in sftp.settings().items()]
    commands.run_ok(
        "generate-joblist", "-i", source, "-o", made, "-d", destination, "-l", "tree", "-v", "0",
        *table,
    )  # fmt: skip
    return made


def bytes_received(sftp):
    """How many bytes the server has written to files, by its log of files that were closed."""
    return sum(int(size) for size in re.findall(r"bytes read \d+ written (\d+)", sftp.log))


def transfer_with_kills(made, has_begun):
    killed = 0
    for number in range(KILLS):
        worker = commands.start("transfer-worker", "-i", made, "-v", "0")
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not has_begun(number) and worker.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        worker.kill()
        killed += commands.finish(worker).exit_code == -signal.SIGKILL
    assert killed >= 2, "the workers were done before they were killed"
    commands.run_ok("transfer-worker", "-i", made, "-v", "0")
    return killed


@pytest.mark.parametrize("kind", ["shell", "sftp_only"])
def test_a_plate_goes_there_and_back_though_workers_are_killed(sftp, tmp_path, source, kind):
    there = tmp_path / "there"
    url = f"sftp://{sftp.authority(kind)}{there}"
    made = joblist_of(sftp, tmp_path / "to", tmp_path / "source", url)
    before = bytes_received(sftp)

    def sizes():
        found = [path.stat() for path in there.rglob(".jobtool-*") if path.exists()]
        return sum(1 for _ in there.rglob("*")), sum(size.st_blocks * 512 for size in found)

    def has_begun(number):
        return sizes()[1] >= (number + 1) * 16 * MEBIBYTE

    killed = transfer_with_kills(made, has_begun)
    expected = {os.fsdecode(os.fsencode(path)): data for path, data in source.items()}
    assert contents(there) == expected
    assert (there / "plate/empty").is_dir()
    commands.run_ok("jobtool", "verify", "--deep", made, "-v", "0")
    proofs = {receipt.dst_path.removeprefix(f"{url}/"): receipt for receipt in receipts(made)}
    assert {path: receipt.hashsum_dst for path, receipt in proofs.items()} == {
        path: md5_of(data) for path, data in expected.items()
    }
    how = proofs["plate/large.bin"].verified_by
    assert how == ("remote-md5sum" if kind == "shell" else "read-back")
    in_flight = 96 * MEBIBYTE  # of a killed worker, not yet in its journal
    again = bytes_received(sftp) - before - sum(map(len, expected.values()))
    assert again <= killed * in_flight

    back = tmp_path / "back"
    made = joblist_of(sftp, tmp_path / "from", url, back)

    def is_on_its_way(number):
        return sum(path.stat().st_size for path in back.rglob("*") if path.is_file()) > 0

    transfer_with_kills(made, is_on_its_way)
    assert contents(back) == expected
    commands.run_ok("jobtool", "verify", "--deep", made, "-v", "0")
