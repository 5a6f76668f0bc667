"""A plate to an SSH server and back by the commands, whose workers are killed on the way."""

from __future__ import annotations

import os
import random
import signal
import time

import pytest

from jobtool.md5 import md5_of
from jobtool.transfer.partranges import MEBIBYTE
from tests import commands
from tests.servers.counting import counting_proxy
from tests.servers.sftp import sftp_server
from tests.trees import contents, receipts

DEADLINE_SECONDS = 120
LARGE_BYTES = 96 * MEBIBYTE + 7
PART_BYTES = 8 * MEBIBYTE
KILLS = 2
BYTES_PER_SECOND = 32 * MEBIBYTE  # slow enough to be killed on the way
PART = '"type":"part"'
NAMES = ("with space", "100%", "#hash", "query?a=b", "new\nline", "ü", "not UTF-8 \udcff")


@pytest.fixture
def sftp(tmp_path):
    (tmp_path / "server").mkdir()
    with sftp_server(tmp_path / "server") as server:
        yield server


@pytest.fixture
def proxy(sftp):
    with counting_proxy(sftp.ports["shell"], BYTES_PER_SECOND) as proxy:
        sftp.trust_port(proxy.port)
        yield proxy


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


def unfinished_bytes(folder):
    """How many bytes the unfinished files below a folder take."""
    found = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            if name.startswith(".jobtool-") and os.path.exists(os.path.join(parent, name)):
                found += os.stat(os.path.join(parent, name)).st_blocks * 512
    return found


def parts_in(made):
    """How many parts of large files the journals of a joblist name as sent."""
    return sum(path.read_text().count(PART) for path in (made / "journals").glob("*.jsonl"))


def transfer_with_kills(made, destination, env):
    """Transfer. Kill workers after each has recorded parts.

    Return how many bytes were there at each kill that no record names: they must be sent again.
    """
    unrecorded, recorded = [], 0
    for _ in range(KILLS):
        worker = commands.start("transfer-worker", "-i", made, "-v", "0", env=env)
        deadline = time.monotonic() + DEADLINE_SECONDS
        while parts_in(made) <= recorded and worker.poll() is None:
            assert time.monotonic() < deadline, "no part is recorded"
            time.sleep(0.01)
        worker.kill()
        if commands.finish(worker).exit_code != -signal.SIGKILL:
            assert unrecorded, "the worker was done before it was killed once"
            break
        recorded = parts_in(made)
        unrecorded.append(max(0, unfinished_bytes(destination) - recorded * PART_BYTES))
    commands.run_ok("transfer-worker", "-i", made, "-v", "0", env=env)
    return unrecorded


def joblist_of(made, source, destination, env):
    commands.run_ok(
        "generate-joblist", "-i", source, "-o", made, "-d", destination, "-l", "tree", "-v", "0",
        env=env,
    )  # fmt: skip
    return made


@pytest.mark.wide
def test_a_plate_goes_there_and_back_though_workers_are_killed(sftp, proxy, tmp_path, source):
    env, there, back = sftp.environment, tmp_path / "there", tmp_path / "back"
    url = f"sftp://{sftp.user}@127.0.0.1:{proxy.port}{there}"
    made = joblist_of(tmp_path / "to", tmp_path / "source", url, env)
    unrecorded = transfer_with_kills(made, there, env)
    size = sum(map(len, source.values()))
    on_its_way = KILLS * 3 * PART_BYTES  # in buffers when a worker was killed, and what SSH adds
    assert size <= proxy.sent_bytes < size + sum(unrecorded) + on_its_way
    assert contents(there) == source
    assert (there / "plate/empty").is_dir()
    commands.run_ok("jobtool", "verify", "--deep", made, "-v", "0", env=env)
    proofs = {receipt.dst_path.removeprefix(f"{url}/"): receipt for receipt in receipts(made)}
    assert {path: receipt.hashsum_dst for path, receipt in proofs.items()} == {
        path: md5_of(data) for path, data in source.items()
    }
    assert proofs["plate/large.bin"].verified_by == "remote-md5sum"
    assert proofs["plate/ü/1"].verified_by == "read-back"

    made = joblist_of(tmp_path / "from", url, back, env)
    transfer_with_kills(made, back, env)
    assert contents(back) == source
    assert (back / "plate/empty").is_dir()
    commands.run_ok("jobtool", "verify", "--deep", made, "-v", "0", env=env)
