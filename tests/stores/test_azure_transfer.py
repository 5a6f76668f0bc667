"""Transfers to and from Azure by the commands: killed on the way, proven, nothing sent twice."""

from __future__ import annotations

import base64
import collections
import csv
import hashlib
import random
import signal
import threading

import pytest

from tests import commands
from tests.faults.proxy import Fault, proxy_before
from tests.servers.azure import ACCOUNT, KEY
from tests.stores.raw import AzureRaw

PART_BYTES = 5 * 1024 * 1024
PARTS = 6
THREADS = 2
LARGE = "plate01/large image #1.tif"
NAMES = [
    "with space.txt", "100%.txt", "%2F.txt", "#1.txt", "what?.txt", "ü.txt", "a+b&c=d.txt",
    "emoji 🧬.txt", "deep/er/file", ".hidden", "quote'\".txt",
]  # fmt: skip


@pytest.fixture
def files():
    random_bytes = random.Random(0).randbytes
    small = {f"plate01/{name}": random_bytes(500) for name in NAMES}
    small |= {f"plate01/row/{number:03}": random_bytes(100) for number in range(30)}
    return small | {LARGE: random_bytes((PARTS - 1) * PART_BYTES + 77), "plate01/empty": b""}


class Counted:
    """Counts the blocks that arrive at a proxy, and stalls after some of them."""

    def __init__(self, proxy):
        self.proxy = proxy
        self.blocks = collections.Counter()
        self.gets = collections.Counter()
        self.left = 0
        self.is_full = threading.Event()
        proxy.faults.append(Fault(self._stalls, proxy.stall, times=10**6))

    def allow(self, number):
        """Let this many blocks or reads of the large file pass. Later ones are never answered."""
        self.is_full.clear()
        self.left = number

    def _stalls(self, request):
        if "large" not in request.path:
            return False
        if request.method == "PUT" and request.query.get("comp") == ["block"]:
            counter, key = self.blocks, request.headers.get("content-md5")
        elif request.method == "GET" and "comp" not in request.query:
            counter, key = (
                self.gets,
                request.headers.get("range", request.headers.get("x-ms-range")),
            )
        else:
            return False
        if self.left <= 0:
            self.is_full.set()
            return True
        self.left -= 1
        counter[key] += 1
        return False


@pytest.fixture
def proxied(azurite):
    with proxy_before(azurite.url) as proxy:
        yield Counted(proxy)


@pytest.fixture(autouse=True)
def environment(proxied, monkeypatch):
    endpoint = f"{proxied.proxy.endpoint_url}/{ACCOUNT}"
    told = f"AccountName={ACCOUNT};AccountKey={KEY};BlobEndpoint={endpoint}"
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", told)


def run(*arguments):
    done = commands.run("jobtool", *arguments)
    assert done.exit_code == 0, done
    assert KEY not in done.stdout + done.stderr
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


def proofs_of(joblist, tmp_path):
    """Return how each file was proven, by the end of its path."""
    table = tmp_path / "receipts.csv"
    run("receipts", joblist, "-o", table)
    with open(table, newline="") as file:
        rows = list(csv.DictReader(file))
    return {row["dst_path"].partition("results/")[2]: row["verified_by"] for row in rows}


@pytest.mark.wide
def test_to_azure_killed_twice(tmp_path, files, azurite, proxied):
    source = tmp_path / "source"
    for path, data in files.items():
        full = source / path
        full.parent.mkdir(parents=True, exist_ok=True)
        full.write_bytes(data)
    container = azurite.new_container()
    raw = AzureRaw(azurite.client, container, "results/")
    joblist = joblist_of(tmp_path / "jobs", source, f"az://{container}/results")

    killed_in_the_middle(joblist, proxied, 2)
    assert LARGE not in raw.paths()
    killed_in_the_middle(joblist, proxied, 2)
    assert LARGE not in raw.paths()
    assert len(raw.uncommitted(LARGE)) >= 2
    proxied.allow(100)
    run("transfer", joblist)

    assert {path: raw.read(path) for path in raw.paths()} == files
    # What was under way at a kill may arrive twice: it had no record yet.
    assert len(proxied.blocks) == PARTS
    assert proxied.blocks.total() <= PARTS + 2 * THREADS
    proofs = proofs_of(joblist, tmp_path)
    assert proofs.pop(LARGE) == "checked-blocks"
    assert proofs == dict.fromkeys(files.keys() - {LARGE}, "stored-md5")
    run("verify", joblist)
    run("verify", "--deep", joblist)


@pytest.mark.wide
def test_from_azure_killed_twice(tmp_path, files, azurite, proxied):
    container = azurite.new_container()
    raw = AzureRaw(azurite.client, container, "source/")
    for path, data in files.items():
        raw.write(path, data)
    destination = tmp_path / "results"
    joblist = joblist_of(tmp_path / "jobs", f"abfs://{container}/source", destination)

    killed_in_the_middle(joblist, proxied, 2)
    killed_in_the_middle(joblist, proxied, 2)
    assert not (destination / LARGE).exists()
    proxied.allow(100)
    run("transfer", joblist)

    found = [path for path in destination.rglob("*") if path.is_file()]
    assert {str(path.relative_to(destination)): path.read_bytes() for path in found} == files
    assert proxied.gets.total() <= PARTS + 2 * THREADS
    run("verify", "--deep", joblist)


def test_from_azure_to_azure_small_blobs_are_copied_by_the_service(
    tmp_path, files, azurite, proxied
):
    container, out = azurite.new_container(), azurite.new_container()
    raw = AzureRaw(azurite.client, container, "source/")
    for path, data in files.items():
        raw.write(path, data)
    asked = []
    proxied.proxy.faults.append(Fault(asked.append, proxied.proxy.stall))
    proxied.allow(100)
    joblist = joblist_of(tmp_path / "jobs", f"az://{container}/source", f"az://{out}/results")
    run("transfer", joblist)

    copied = AzureRaw(azurite.client, out, "results/")
    assert {path: copied.read(path) for path in copied.paths()} == files
    copies = [each for each in asked if "x-ms-copy-source" in each.headers]
    assert len(copies) == len(files)
    assert {each.headers["x-ms-source-content-md5"] for each in copies} == {
        base64.b64encode(hashlib.md5(data).digest()).decode() for data in files.values()
    }
    assert all("sig=" in each.headers["x-ms-copy-source"] for each in copies)
    assert not [each for each in asked if each.method == "GET" and "comp" not in each.query]
    assert not [each for each in asked if each.method == "PUT" and each.body]
    assert set(proofs_of(joblist, tmp_path).values()) == {"stored-md5"}
    run("verify", "--deep", joblist)


def test_from_azure_to_azure_blocks_that_the_service_does_not_copy_are_sent(
    tmp_path, files, azurite, proxied
):
    """Azurite refuses "Put Block From URL". The upload that was begun is finished by sending."""
    source = tmp_path / "source"
    (source / LARGE).parent.mkdir(parents=True)
    (source / LARGE).write_bytes(files[LARGE])
    container, out = azurite.new_container(), azurite.new_container()
    proxied.allow(100)
    run("transfer", joblist_of(tmp_path / "first", source, f"az://{container}/source"))
    asked = []
    proxied.proxy.faults.append(Fault(asked.append, proxied.proxy.stall))
    joblist = joblist_of(tmp_path / "jobs", f"az://{container}/source", f"az://{out}/results")
    run("transfer", joblist)

    copied = AzureRaw(azurite.client, out, "results/")
    assert copied.read(LARGE) == files[LARGE]
    first = next(each for each in asked if "x-ms-copy-source" in each.headers)
    assert first.query["comp"] == ["block"]
    assert first.headers["x-ms-source-range"].startswith("bytes=")
    md5s = {
        base64.b64encode(hashlib.md5(files[LARGE][offset : offset + PART_BYTES]).digest()).decode()
        for offset in range(0, len(files[LARGE]), PART_BYTES)
    }
    assert first.headers["x-ms-source-content-md5"] in md5s
    assert proofs_of(joblist, tmp_path) == {LARGE: "checked-blocks"}
    (job,) = joblist.glob("*.txt")
    assert " method name=server-side files=0 " in job.read_text()
