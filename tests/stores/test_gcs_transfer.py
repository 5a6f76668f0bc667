"""Transfers to and from Google by the commands: killed on the way, proven, nothing sent twice."""

from __future__ import annotations

import collections
import csv
import random
import re
import signal
import threading

import pytest

from tests import commands
from tests.faults.proxy import Fault, proxy_before
from tests.stores.raw import GcsRaw

pytestmark = pytest.mark.wide

PART_BYTES = 5 * 1024 * 1024
PARTS = 6
THREADS = 2
LARGE = "plate01/large image #1.tif"
NAMES = ["with space.txt", "100%.txt", "%2F.txt", "#1.txt", "ü.txt", "a+b&c=d.txt", "deep/er/file"]
STRANGER = "plate01/.jobtool-0123456789ab-0123456789abcdef.part/00001"


@pytest.fixture
def files():
    random_bytes = random.Random(0).randbytes
    small = {f"plate01/{name}": random_bytes(500) for name in NAMES}
    small |= {f"plate01/row/{number:03}": random_bytes(100) for number in range(30)}
    return small | {LARGE: random_bytes((PARTS - 1) * PART_BYTES + 77), "plate01/empty": b""}


class Counted:
    """Counts the parts that arrive at a proxy, and stalls after some of them."""

    def __init__(self, proxy):
        self.proxy = proxy
        self.parts = collections.Counter()
        self.reads = collections.Counter()
        self.left = 0
        self.is_full = threading.Event()
        proxy.faults.append(Fault(self._stalls, proxy.stall, times=10**6))

    def allow(self, number):
        """Let this many parts or reads of the large file pass. Later ones are never answered."""
        self.is_full.clear()
        self.left = number

    def _stalls(self, request):
        part = re.search(rb'"name": "[^"]*\.part/(\d+)".*?"md5Hash": "([^"]+)"', request.body[:999])
        if request.path.startswith("/upload/") and part:
            counter, key = self.parts, part[2]
        elif request.method == "GET" and "range" in request.headers and "large" in request.path:
            counter, key = self.reads, request.headers["range"]
        else:
            return False
        if self.left <= 0:
            self.is_full.set()
            return True
        self.left -= 1
        counter[key] += 1
        return False


@pytest.fixture
def proxied(gcs):
    with proxy_before(gcs.url) as proxy:
        yield Counted(proxy)


@pytest.fixture(autouse=True)
def environment(proxied, monkeypatch):
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", proxied.proxy.endpoint_url)


def run(*arguments):
    done = commands.run("jobtool", *arguments)
    assert done.exit_code == 0, done
    return done.stdout


def killed_in_the_middle(joblist, counted, number):
    """Start a worker. Kill it when ``number`` more pieces of the large file have passed."""
    counted.allow(number)
    worker = commands.start("jobtool", "transfer", joblist)
    try:
        assert counted.is_full.wait(commands.TIMEOUT_SECONDS)
    finally:
        worker.kill()
    assert commands.finish(worker).exit_code == -signal.SIGKILL


def joblist_of(path, source, destination):
    run("generate", "-i", source, "-o", path, "-d", destination, "--layout", "tree")
    with open(path / "joblist.toml", "a") as file:
        file.write(f"\n[transfer]\npart_size_bytes = {PART_BYTES}\nthreads = {THREADS}\n")
    return path


def write(folder, files):
    for path, data in files.items():
        full = folder / path
        full.parent.mkdir(parents=True, exist_ok=True)
        full.write_bytes(data)
    return folder


def proofs_of(joblist, tmp_path):
    """Return how each file was proven, by the end of its path."""
    table = tmp_path / "receipts.csv"
    run("receipts", joblist, "-o", table)
    with open(table, newline="") as file:
        rows = list(csv.DictReader(file))
    return {row["dst_path"].partition("results/")[2]: row["verified_by"] for row in rows}


def test_to_google_killed_twice(tmp_path, files, gcs, proxied):
    source = write(tmp_path / "source", files)
    bucket = gcs.new_bucket()
    raw = GcsRaw(gcs.client, bucket, "results/")
    raw.write(STRANGER, b"data")
    joblist = joblist_of(tmp_path / "jobs", source, f"gs://{bucket}/results")

    killed_in_the_middle(joblist, proxied, 2)
    assert LARGE not in raw.paths()
    killed_in_the_middle(joblist, proxied, 2)
    assert LARGE not in raw.paths()
    assert sum(".part/" in path for path in raw.paths()) >= 3
    proxied.allow(100)
    run("transfer", joblist)

    found = {path: raw.read(path) for path in raw.paths()}
    assert found.pop(STRANGER) == b"data"
    assert found == files
    # What was under way at a kill may arrive twice: it had no record yet.
    assert len(proxied.parts) == PARTS
    assert proxied.parts.total() <= PARTS + 2 * THREADS
    proofs = proofs_of(joblist, tmp_path)
    assert proofs.pop(LARGE) == "stored-crc32c"
    assert proofs == dict.fromkeys(files.keys() - {LARGE}, "stored-md5")
    raw.blob(STRANGER).delete()
    run("verify", joblist)
    run("verify", "--deep", joblist)


def test_clean_removes_the_parts_of_its_own_jobs_only(tmp_path, files, gcs, proxied):
    source = write(tmp_path / "source", files)
    bucket = gcs.new_bucket()
    raw = GcsRaw(gcs.client, bucket, "results/")
    raw.write(STRANGER, b"data")
    joblist = joblist_of(tmp_path / "jobs", source, f"gs://{bucket}/results")
    killed_in_the_middle(joblist, proxied, 2)
    assert sum(".part/" in path for path in raw.paths()) >= 3

    run("clean", joblist, "--yes")
    assert [path for path in raw.paths() if ".part/" in path] == [STRANGER]
    proxied.allow(100)
    run("transfer", joblist)
    assert {path: raw.read(path) for path in raw.paths() - {STRANGER}} == files


def test_from_google_killed_twice(tmp_path, files, gcs, proxied):
    bucket = gcs.new_bucket()
    raw = GcsRaw(gcs.client, bucket, "source/")
    for path, data in files.items():
        raw.write(path, data)
    destination = tmp_path / "results"
    joblist = joblist_of(tmp_path / "jobs", f"gcs://{bucket}/source", destination)

    killed_in_the_middle(joblist, proxied, 2)
    killed_in_the_middle(joblist, proxied, 2)
    assert not (destination / LARGE).exists()
    proxied.allow(100)
    run("transfer", joblist)

    found = [path for path in destination.rglob("*") if path.is_file()]
    assert {str(path.relative_to(destination)): path.read_bytes() for path in found} == files
    assert proxied.reads.total() <= PARTS + 2 * THREADS
    run("verify", "--deep", joblist)
