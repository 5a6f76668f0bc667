"""Plates from each store to another under mpirun, whose ranks are killed on the way.

A plate goes round all stores once. With ``JOBTOOL_TEST_PAIRS=all`` each ordered pair of them moves
a plate of 2,000 files.
"""

from __future__ import annotations

import itertools
import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest

from jobtool.md5 import md5_of
from jobtool.transfer.partranges import MEBIBYTE
from tests import commands
from tests.servers.sftp import sftp_server
from tests.trees import contents, receipts

STORES = ("local", "gs", "az", "hdfs", "sftp", "s3")
ALL = os.environ.get("JOBTOOL_TEST_PAIRS") == "all"
FILES, LARGE_BYTES = (2000, 300 * MEBIBYTE) if ALL else (70, 24 * MEBIBYTE)
NAMES = ("with space", "100%", "%2F", "#hash", "ü", "a+b=c")
KILLS = 2
DEADLINE_SECONDS = 300


@pytest.fixture(scope="module")
def files():
    """The bytes of a plate's files by path."""
    draw = random.Random(0)
    made = {
        f"plate/{NAMES[n % len(NAMES)]}/{n:04}": draw.randbytes(draw.randrange(4000))
        for n in range(FILES)
    }
    # Python can't draw so many bytes at once.
    large = b"".join(draw.randbytes(MEBIBYTE) for _ in range(LARGE_BYTES // MEBIBYTE))
    return made | {"plate/large #1.tif": large + b"the end"}


class Places:
    """A folder for each name in each store, and the environment that reaches them all."""

    def __init__(self, tmp_path, rclone_s3, azurite, gcs, hdfs, sftp):
        servers = (rclone_s3, azurite, gcs, hdfs, sftp)
        self.env = {key: value for each in servers for key, value in each.environment.items()}
        self.filled = {"local"}
        self._folder = tmp_path
        self._roots = {
            "local": str(tmp_path / "local"),
            "gs": f"gs://{gcs.new_bucket()}",
            "az": f"az://{azurite.new_container()}",
            "hdfs": f"{hdfs.hdfs}{hdfs.new_folder()}",
            "sftp": f"sftp://{sftp.authority()}{tmp_path / 'sftp'}",
            "s3": f"s3://{rclone_s3.new_bucket()}",
        }

    def url(self, store, name):
        return f"{self._roots[store]}/{name}"

    def joblist(self, name):
        return self._folder / name

    def move(self, source, destination, name):
        """Move a tree by two ranks, and kill both some times. Return the receipts."""
        joblist = self.joblist(name)
        commands.run_ok(
            *("generate-joblist", "-i", source, "-o", joblist, "-d", destination),
            *("-l", "tree", "-v", "0"),
            env=self.env,
        )
        killed = sum(self._is_killed(joblist) for _ in range(KILLS))
        done = commands.finish(self._start(joblist))
        assert (done.exit_code, done.stderr) == (0, ""), done
        return receipts(joblist), killed

    def _start(self, joblist):
        worker = ("transfer-worker", "-i", joblist, "-v", "0")
        return commands.start_ranks(*[(commands.BIN / worker[0], *worker[1:])] * 2, env=self.env)

    def _is_killed(self, joblist):
        """Kill all ranks once more was recorded. Return False if they were done before."""
        before = recorded(joblist)
        process = self._start(joblist)
        deadline = time.monotonic() + DEADLINE_SECONDS
        while process.poll() is None and recorded(joblist) <= before:
            assert time.monotonic() < deadline, "nothing is recorded"
            time.sleep(0.01)
        for rank in children_of(process.pid):
            os.kill(rank, signal.SIGKILL)
        process.kill()
        return commands.finish(process).exit_code == -signal.SIGKILL


def children_of(root):
    """The IDs of all processes below one, the lowest first."""
    parents = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat") as file:
                parents.setdefault(int(file.read().rpartition(")")[2].split()[1]), []).append(name)
        except OSError:
            continue
    found = [int(name) for name in parents.get(root, ())]
    return [below for child in found for below in children_of(child)] + found


def recorded(joblist):
    """How many bytes the journals of a joblist have."""
    return sum(path.stat().st_size for path in (joblist / "journals").glob("*.jsonl"))


@pytest.fixture
def places(tmp_path, rclone_s3, azurite, gcs, hdfs):
    (tmp_path / "server").mkdir()
    with sftp_server(tmp_path / "server") as sftp:
        yield Places(tmp_path, rclone_s3, azurite, gcs, hdfs, sftp)


def assert_proven(found, files, destination):
    proven = {each.dst_path.removeprefix(f"{destination}/"): each.hashsum_dst for each in found}
    assert proven == {path: md5_of(data) for path, data in files.items()}


def write(folder, files):
    for path, data in files.items():
        full = os.path.join(folder, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "wb") as file:
            file.write(data)


@pytest.mark.wide
def test_a_plate_goes_round_all_stores_though_workers_are_killed(places, tmp_path, files):
    write(places.url("local", "0"), files)
    killed = 0
    for number, (source, destination) in enumerate(itertools.pairwise((*STORES, "local"))):
        target = places.url(destination, str(number + 1))
        found, kills = places.move(places.url(source, str(number)), target, f"list{number}")
        assert_proven(found, files, target)
        killed += kills
    assert contents(tmp_path / "local" / str(len(STORES))) == files
    assert killed >= len(STORES), "workers were done before they were killed"


@pytest.fixture(scope="module")
def lasting(tmp_path_factory, rclone_s3, azurite, gcs, hdfs, files):
    """Places for all pairs: each store is filled once, from local files."""
    folder = tmp_path_factory.mktemp("pairs")
    (folder / "server").mkdir()
    with sftp_server(folder / "server") as sftp:
        places = Places(folder, rclone_s3, azurite, gcs, hdfs, sftp)
        write(places.url("local", "start"), files)
        yield places


def fill(places, store):
    """Have the plate in a store, under ``start``: the move of the pair from local files."""
    if store not in places.filled:
        places.move(places.url("local", "start"), places.url(store, "start"), f"local-{store}")
        places.filled.add(store)


@pytest.mark.skipif(not ALL, reason="JOBTOOL_TEST_PAIRS=all")
@pytest.mark.parametrize(("source", "destination"), [*itertools.permutations(STORES, 2)])
def test_each_pair_of_stores_moves_a_plate(lasting, files, source, destination):
    name = f"{source}-{destination}"
    fill(lasting, source)
    if source == "local":
        fill(lasting, destination)
        found, end = receipts(lasting.joblist(name)), lasting.url(destination, "start")
    else:
        end = lasting.url(destination, f"from-{source}")
        found, _ = lasting.move(lasting.url(source, "start"), end, name)
    assert_proven(found, files, end)
    if destination == "local":
        assert contents(Path(end)) == files
        shutil.rmtree(end)
    else:
        commands.run_ok(
            "jobtool", "verify", "--deep", lasting.joblist(name), "-v", "0", env=lasting.env
        )
