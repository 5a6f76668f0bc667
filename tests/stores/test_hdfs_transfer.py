"""Transfers to HDFS and back by the commands: killed on the way, proven, nothing sent twice."""

from __future__ import annotations

import hashlib
import random
import re
import time

import pytest

from jobtool.transfer.checksum import MEBIBYTE, md5_of
from tests import commands

KILLS = 3
DEADLINE_SECONDS = 120
ODD_NAMES = ("with space", "#hash", "query?a=b", "100%", "%2F", "new\nline", "über 🧬")


@pytest.fixture
def source(tmp_path):
    random_bytes = random.Random(0).randbytes
    files = {f"plate/{number:02}.bin": random_bytes(3000) for number in range(10)}
    files |= {f"plate/{name}/{name}": name.encode() for name in ODD_NAMES}
    files["plate/large.bin"] = random_bytes(60 * MEBIBYTE + 7)
    for path, data in files.items():
        full = tmp_path / "source" / path
        full.parent.mkdir(parents=True, exist_ok=True)
        full.write_bytes(data)
    return files


def written_parts(server):
    """Count the files that DataNodes have been given, by the NameNode's log of its edits."""
    return server.requests("Create")


@pytest.mark.parametrize("scheme", ["hdfs", "webhdfs"])
def test_a_transfer_survives_kills_and_sends_no_proven_part_again(hdfs, tmp_path, source, scheme):
    env = hdfs.environment
    root = hdfs.new_folder()
    url = getattr(hdfs, scheme) + root
    joblist = tmp_path / "joblist"
    commands.run_ok(
        "jobtool", "generate", "-i", tmp_path / "source", "-o", joblist, "-d", url, "--layout",
        "tree", env=env,
    )  # fmt: skip
    killed = 0
    held = 0
    for number in range(KILLS):
        worker = commands.start("jobtool", "transfer", joblist, env=env)
        deadline = time.monotonic() + DEADLINE_SECONDS
        while worker.poll() is None and time.monotonic() < deadline:
            held = len(parts_of(hdfs, root))
            if held > number:
                break
            time.sleep(0.05)
        if worker.poll() is None:
            worker.kill()
            killed += commands.finish(worker).exit_code == -9
    assert killed >= 2, "no worker was killed before it was done"
    done = parts_of(hdfs, root)
    commands.run_ok("jobtool", "transfer", joblist, env=env)
    commands.run_ok("jobtool", "verify", "--deep", joblist, env=env)
    found = {
        each.path.removeprefix(f"{root}/"): hdfs.client.read(each.path).read()
        for each in hdfs.client.list_status(root, recursive=True)
        if not each.isdir
    }
    assert {path: md5_of(data) for path, data in found.items()} == {
        path: hashlib.md5(data).hexdigest() for path, data in source.items()
    }
    assert done


def parts_of(server, root):
    """Return the parts that are there, with their times."""
    try:
        found = list(server.client.list_status(f"{root}", recursive=True))
    except FileNotFoundError:
        return {}
    return {
        each.path: each.modification_time
        for each in found
        if re.search(r"\.part/\d{6}$", each.path) and each.length
    }
