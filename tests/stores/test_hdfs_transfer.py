"""Transfers to HDFS and back by the commands: killed on the way, proven, nothing sent twice."""

from __future__ import annotations

import hashlib
import random
import re
import signal
import time

import pytest

from jobtool.md5 import md5_of
from jobtool.transfer.partranges import MEBIBYTE
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


@pytest.mark.wide
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
    for number in range(KILLS):
        worker = commands.start("jobtool", "transfer", joblist, env=env)
        deadline = time.monotonic() + DEADLINE_SECONDS
        while (
            worker.poll() is None
            and len(proven_parts(joblist)) <= number
            and time.monotonic() < deadline
        ):
            time.sleep(0.02)
        if worker.poll() is None:
            worker.kill()
            killed += commands.finish(worker).exit_code == -signal.SIGKILL
    assert killed >= 2, "fewer than two workers were killed before they were done"
    proven = proven_parts(joblist)
    before = parts_of(hdfs, root)
    assert any(path.rpartition("/")[2] in proven for path in before), (
        "no part was proven before the kills"
    )
    worker = commands.start("jobtool", "transfer", joblist, env=env)
    after = dict(before)
    while worker.poll() is None:
        after |= parts_of(hdfs, root)
        time.sleep(0.02)
    done = commands.finish(worker)
    assert (done.exit_code, done.stderr) == (0, ""), done
    for path, written_ms in before.items():
        if path.rpartition("/")[2] in proven:
            assert after[path] == written_ms, f"{path} was sent again"
    commands.run_ok("jobtool", "verify", "--deep", joblist, env=env)
    found = {
        each.path.removeprefix(f"{root}/"): hdfs.client.read(each.path).read()
        for each in hdfs.client.list_status(root, recursive=True)
        if not each.isdir
    }
    assert {path: md5_of(data) for path, data in found.items()} == {
        path: hashlib.md5(data).hexdigest() for path, data in source.items()
    }


def proven_parts(joblist):
    """Return the file names of the parts that the journals say are proven."""
    found = set()
    for path in joblist.rglob("*"):
        if path.is_file():
            for line in path.read_bytes().splitlines():
                if b'"type":"part"' in line:
                    found.update(
                        f"{int(number):06}" for number in re.findall(rb'"number": ?(\d+)', line)
                    )
    return found


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
