"""Transfers to HDFS and back by the commands: killed on the way, proven, nothing sent twice."""

from __future__ import annotations

import hashlib
import random
import re
import signal

import pytest

from jobtool.md5 import md5_of
from jobtool.transfer.partranges import MEBIBYTE
from tests import commands

#: Steps of ``tests.faults.victim``: the second worker has all parts, and dies before it joins them.
KILLS = (("after a part is on record", 2), ("before an upload is completed", 1))
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
    proven: dict[str, int] = {}
    for step, nth in KILLS:
        victim = commands.start_module("tests.faults.victim", step, str(nth), str(joblist), env=env)
        assert commands.finish(victim).exit_code == -signal.SIGKILL, step
        assert_none_was_sent_again(proven, parts_of(hdfs, root))
        names = proven_parts(joblist)
        proven = {p: t for p, t in parts_of(hdfs, root).items() if p.rpartition("/")[2] in names}
        assert len(proven) == len(names) > 0
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


def assert_none_was_sent_again(proven, found):
    """Check that parts which were proven before are still there, with their times."""
    assert proven.items() <= found.items()


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
