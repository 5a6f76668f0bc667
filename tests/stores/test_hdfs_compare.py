"""Files that another program has brought from HDFS to HDFS: proven by checksums of both sides."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
import threading
import zlib
from pathlib import Path

import google_crc32c
import pytest
from hypothesis import given
from hypothesis import strategies as st

import jobtool
from jobtool.errors import StoppedError
from jobtool.md5 import md5_of
from jobtool.stores.hdfs import comparing
from jobtool.stores.hdfs.client import Checksummed
from jobtool.stores.hdfs.comparing import COMPARED_BYTES, is_still
from jobtool.stores.hdfs.composites import COMPOSITE_BYTES, Composites
from jobtool.stores.hdfs.sums import BlockSums
from jobtool.stores.registry import StoreRegistry
from jobtool.stores.store import Proof, entry_of
from jobtool.testing.store_suite.common import some_bytes
from tests.commands import run, run_ok
from tests.faults.proxy import Answer, Fault, Forward, Request, internal_error, proxy_before
from tests.servers.hdfs import HdfsServer, hdfs_server
from tests.trees import receipts

METHOD = Path(__file__).parent.parent / "extending" / "method_hdfs.py"
LARGE = some_bytes(COMPARED_BYTES + 1)
FILES = {"good": LARGE, "wrong": LARGE, "short": LARGE, "blocks": LARGE, "small": b"small"}


def go_on() -> None:
    pass


def put(cluster: HdfsServer, path: str, data: bytes, block_bytes: int | None = None) -> None:
    from hdfs_native import WriteOptions

    options = WriteOptions(overwrite=True, create_parent=True, block_size=block_bytes)
    with cluster.client.create(path, options) as file:
        for at in range(0, len(data), 1024 * 1024):
            file.write(data[at : at + 1024 * 1024])


class Site:
    """A joblist of a folder on one cluster for a folder on another, and the method ``bring``."""

    def __init__(self, folder: Path, source: HdfsServer, target: HdfsServer) -> None:
        self.joblist = folder / "list"
        self.source, self.target = source, target
        self.source_root, self.target_root = source.new_folder(), target.new_folder()
        site = folder / "site"
        information = site / "bring-1.0.dist-info"
        information.mkdir(parents=True)
        (information / "METADATA").write_text("Metadata-Version: 2.1\nName: bring\nVersion: 1.0\n")
        (information / "entry_points.txt").write_text(
            "[jobtool.methods]\nbring = method_hdfs:Bring\n"
        )
        shutil.copy(METHOD, site)
        path = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")]))
        self.env = {
            **target.environment,
            "PYTHONPATH": path,
            "BRING_FROM": source.hdfs,
            "BRING_TO": target.hdfs,
        }

    def generate(self, source_url: str, target_url: str) -> None:
        places = ("-i", source_url + self.source_root, "-d", target_url + self.target_root)
        options = ("-o", self.joblist, "-l", "tree")
        run_ok("generate-joblist", *places, *options, env=self.env)

    def work(self, *options: object) -> None:
        run_ok(
            "transfer-worker", "-i", self.joblist, "--methods", "bring,stream", *options,
            env=self.env,
        )  # fmt: skip

    def receipts(self) -> dict[str, object]:
        found = receipts(self.joblist)
        return {each.dst_path.rpartition("/")[2]: each for each in found}

    def target_path(self, name: str) -> str:
        (path,) = (
            each.path
            for each in self.target.client.list_status(self.target_root, recursive=True)
            if each.path.endswith(f"/{name}")
        )
        return path


class Counting:
    """A fault that never befalls: it counts what is asked about each file of a NameNode."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.fault = Fault(befalls=self._note, happen=lambda request, forward: forward(request))

    def _note(self, request: Request) -> bool:
        (op,) = request.query["op"]
        self.asked.append((op, request.path.rpartition("/")[2]))
        return False

    def times(self, op: str, name: str) -> int:
        return self.asked.count((op, name))


@pytest.fixture
def site(hdfs, tmp_path):
    made = Site(tmp_path, hdfs, hdfs)
    for name, data in FILES.items():
        put(hdfs, f"{made.source_root}/item/{name}", data)
    return made


def test_what_a_method_claims_is_proven_without_reading_it(site, hdfs, tmp_path):
    """Wrong bytes, half a file and other blocks are noticed; these and small files are read."""
    counting = Counting()
    web = f"http://127.0.0.1:{hdfs.http_port}"
    with proxy_before(web, counting.fault) as proxy:
        url = proxy.endpoint_url.replace("http://", "webhdfs://")
        site.generate(url, url)
        site.work()
        found = site.receipts()
        how = {name: (one.method, one.verified_by) for name, one in found.items()}
        assert how == {
            "good": ("bring", "same-hdfs-checksum"),
            "blocks": ("bring", "read-back"),
            "small": ("bring", "read-back"),
            "wrong": ("stream", "read-back"),
            "short": ("stream", "read-back"),
        }
        assert counting.times("OPEN", "good") == 0
        assert counting.times("GETFILECHECKSUM", "good") == 2
        assert counting.times("OPEN", "blocks") == 2
        assert found.pop("good").hashsum_src is None
        assert {name: one.hashsum_dst for name, one in found.items()} == {
            name: md5_of(data) for name, data in FILES.items() if name != "good"
        }

        table = tmp_path / "all.csv"
        jobtool.write_receipts(site.joblist, table)
        (row,) = (row for row in csv.DictReader(table.open()) if row["dst_path"].endswith("/good"))
        assert (row["hashsum_src"], row["hashsum_dst"]) == ("", "")
        assert row["checksum"].startswith("MD5-of-4096MD5-of-512CRC32C:")

        told = run_ok("jobtool", "verify", "--deep", site.joblist, env=site.env).lines
        assert "1 file(s) without MD5 were compared with their checksums." in told[-1]
        assert counting.times("OPEN", "good") == 1, "verify --deep reads"
        flipped = LARGE[:-1] + bytes([LARGE[-1] ^ 1])
        path = site.target_path("good")
        mtime_ms = hdfs.client.get_file_info(path).modification_time
        put(hdfs, path, flipped)
        hdfs.client.set_times(path, mtime_ms, 0)
        done = run("jobtool", "verify", "--deep", "--repair", "--json", site.joblist, env=site.env)
        finding, *_ = map(json.loads, done.lines)
        assert (done.exit_code, finding["what"]) == (1, "changed")
        assert finding["path"].endswith("/good")
        site.work("--verify", "read-back")
        assert site.receipts()["good"].hashsum_dst == md5_of(LARGE), "asked for, so it was read"
        assert hdfs.client.read(path).read() == LARGE


def test_files_that_were_there_are_compared_too_unless_checksums_are_refused(site, hdfs):
    """A refusal is no reason to fail: both files are read."""

    def refuse(request: Request, forward: Forward) -> Answer:
        error = {"exception": "AccessControlException", "javaClassName": "AccessControlException"}
        body = json.dumps({"RemoteException": {**error, "message": "denied"}}).encode()
        return Answer(403, [("Content-Type", "application/json")], body)

    def is_asked_of_another(request: Request) -> bool:
        return request.query["op"] == ["GETFILECHECKSUM"] and not request.path.endswith("/good")

    for name, data in FILES.items():
        put(hdfs, f"{site.target_root}/item/{name}", data)
    web = f"http://127.0.0.1:{hdfs.http_port}"
    with proxy_before(web, Fault(is_asked_of_another, refuse, times=1000)) as proxy:
        url = proxy.endpoint_url.replace("http://", "webhdfs://")
        site.generate(url, url)
        site.work()
    how = {name: (one.method, one.verified_by) for name, one in site.receipts().items()}
    assert how == dict.fromkeys(FILES, (None, "read-back")) | {"good": (None, "same-hdfs-checksum")}


@pytest.fixture
def pair(hdfs, monkeypatch):
    """Open the stores of one file and its copy, by a proxy with faults; return what compares."""
    for name, value in hdfs.environment.items():
        monkeypatch.setenv(name, value)
    root = hdfs.new_folder()
    for folder in ("from", "to"):
        put(hdfs, f"{root}/{folder}/file", LARGE)

    def compare(*faults, **options):
        with proxy_before(f"http://127.0.0.1:{hdfs.http_port}", *faults) as proxy:
            url = proxy.endpoint_url.replace("http://", "webhdfs://") + root
            registry = StoreRegistry({}, **options)
            source = registry.open(f"{url}/from", "source")
            entry = entry_of(source, "file")
            target = registry.open(f"{url}/to", "destination")
            return target.compare_inside(source, entry, "file", go_on)

    compare.target = f"{root}/to/file"
    return compare


def is_of(op, path=""):
    return lambda request: request.query["op"] == [op] and request.path.endswith(path)


def test_a_file_that_is_written_while_it_is_compared_is_not_proven(pair, hdfs):
    """Its checksum was right, and the file that is there now is another."""

    def write_after(request: Request, forward: Forward) -> Answer:
        answer = forward(request)
        put(hdfs, pair.target, LARGE[::-1])
        return answer

    assert isinstance(pair(), Proof)
    assert pair(Fault(is_of("GETFILECHECKSUM", "/from/file"), write_after)) is None


def test_encrypted_files_are_read_and_so_are_all_if_the_user_wants_that(pair):
    """A real status, as that of a file in an encryption zone. Its checksum is of other bytes."""

    def encrypt(request: Request, forward: Forward) -> Answer:
        answer = forward(request)
        found = json.loads(answer.body)
        found["FileStatus"]["encBit"] = True
        return Answer(answer.status, answer.headers, json.dumps(found).encode())

    assert pair(Fault(is_of("GETFILESTATUS", "/to/file"), encrypt, times=10)) is None
    assert pair(read_back=True) is None


def test_a_composite_crc_decides_where_blocks_have_other_sizes(hdfs, tmp_path, monkeypatch):
    """Hadoop's own command returns it, for any name."""
    for name, value in hdfs.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PATH", str(hdfs.command_in(tmp_path / "bin")), prepend=os.pathsep)
    monkeypatch.setattr(comparing, "COMPOSITE_BYTES", 1)
    root = hdfs.new_folder()
    put(hdfs, f"{root}/from/a b ü", LARGE)
    put(hdfs, f"{root}/to/a b ü", LARGE, 1024 * 1024)
    registry = StoreRegistry({})
    source = registry.open(f"{hdfs.hdfs}{root}/from", "source")
    store = registry.open(f"{hdfs.hdfs}{root}/to", "destination")
    entry = entry_of(source, "a b ü")
    proof = store.compare_inside(source, entry, "a b ü", go_on)
    assert isinstance(proof, Proof)
    assert proof.verified_by == "hdfs-composite-crc"
    assert store.is_still("a b ü", proof.checksum) is True
    put(hdfs, f"{root}/to/a b ü", LARGE[::-1], 1024 * 1024)
    assert store.is_still("a b ü", proof.checksum) is False


def test_where_data_nodes_cannot_be_asked_by_http_the_command_still_is(hdfs, tmp_path, monkeypatch):
    """The fourth time they aren't asked any more."""
    for name, value in hdfs.environment.items():
        monkeypatch.setenv(name, value)
    command(tmp_path, ANSWER)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(comparing, "COMPOSITE_BYTES", 1)
    root = hdfs.new_folder()
    for name in ("file", "copy"):
        put(hdfs, f"{root}/{name}", LARGE)
    failing = Fault(is_of("GETFILECHECKSUM"), internal_error, times=1000)
    with proxy_before(f"http://127.0.0.1:{hdfs.http_port}", failing) as proxy:
        registry = StoreRegistry({"hdfs": {"webhdfs_url": proxy.endpoint_url}})
        store = registry.open(hdfs.hdfs + root, "destination")
        entry = entry_of(store, "file")
        for _ in range(5):
            proof = store.compare_inside(store, entry, "copy", go_on)
            assert proof.checksum == "COMPOSITE-CRC32C:0000000a"
    assert failing.hits == 3


def test_a_wrong_webhdfs_url_proves_nothing(pair, hdfs):
    """It answers for another cluster's file of that name, of the same size; or for the source."""

    def as_another(request: Request, forward: Forward) -> Answer:
        answer = forward(request)
        found = json.loads(answer.body)
        found["FileStatus"]["modificationTime"] += 1
        return Answer(answer.status, answer.headers, json.dumps(found).encode())

    root = pair.target.removesuffix("/to/file")
    moved = Fault(is_of("GETFILESTATUS", "/to/file"), as_another, times=10)
    for folder, faults, is_proof in (("to", [], True), ("to", [moved], False), ("from", [], False)):
        with proxy_before(f"http://127.0.0.1:{hdfs.http_port}", *faults) as proxy:
            registry = StoreRegistry({"hdfs": {"webhdfs_url": proxy.endpoint_url}})
            source = registry.open(f"{hdfs.hdfs}{root}/from", "source")
            target = registry.open(f"{hdfs.hdfs}{root}/{folder}", "destination")
            found = target.compare_inside(source, entry_of(source, "file"), "file", go_on)
            assert isinstance(found, Proof) == is_proof
    other = hdfs.hdfs.replace("127.0.0.1", "localhost")  # of one server by WebHDFS, for two roots
    with proxy_before(f"http://127.0.0.1:{hdfs.http_port}") as proxy:
        registry = StoreRegistry({"hdfs": {"webhdfs_url": proxy.endpoint_url}})
        source = registry.open(f"{other}{root}/from", "source")
        target = registry.open(f"{hdfs.hdfs}{root}/to", "destination")
        assert target.compare_inside(source, entry_of(source, "file"), "file", go_on) is None


def test_a_composite_crc_of_either_kind_is_computed_from_the_bytes():
    """The check values of CRC-32 and CRC-32C. Source: RFC 3720, B.4, and zlib's own."""
    chunks = [b"1234", b"56789"]
    assert is_still("COMPOSITE-CRC32C:e3069283", chunks, None) is True
    assert is_still("COMPOSITE-CRC32:cbf43926", chunks, None) is True
    assert is_still("COMPOSITE-CRC32:e3069283", chunks, None) is False


@given(st.lists(st.binary(max_size=1500)), st.sampled_from((0, 1, 4)), st.data())
def test_a_checksum_is_that_of_the_bytes_however_they_are_read(chunks, blocks, data):
    """And of no others: of those with one bit changed, it isn't."""
    whole = b"".join(chunks)
    sums = BlockSums(blocks * 512 or 2**40)
    sums.update(whole)
    joined = b"".join(map(bytes.fromhex, sums.blocks()))
    padded = joined.ljust(max(32, 1 << (max(len(joined), 1) - 1).bit_length()), b"\0")
    md5 = hashlib.md5(padded).hexdigest()
    recorded = (
        f"COMPOSITE-CRC32C:{google_crc32c.value(whole):08x}",
        f"COMPOSITE-CRC32:{zlib.crc32(whole):08x}",
        f"MD5-of-{blocks}MD5-of-512CRC32C:{md5}",
    )
    assert [is_still(each, chunks, None) for each in recorded] == [True] * 3
    if whole:
        at = data.draw(st.integers(0, len(whole) - 1))
        other = [whole[:at], bytes([whole[at] ^ 1]), whole[at + 1 :]]
        assert [is_still(each, other, None) for each in recorded] == [False, False, None]
        algorithm, _, value = recorded[2].partition(":")
        for says, expected in (("f" * 32, False), (value, None)):
            found = Checksummed(algorithm, says)
            assert is_still(recorded[2], other, lambda found=found: found) is expected


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        (("COMPOSITE-CRC32C", "0" * 8), ("COMPOSITE-CRC32C", "0" * 8), "same"),
        (("COMPOSITE-CRC32C", "0" * 8), ("COMPOSITE-CRC32C", "1" * 8), "different"),
        (("COMPOSITE-CRC32C", "0" * 8), ("COMPOSITE-CRC32", "0" * 8), None),
        (("COMPOSITE-CRC32C", ""), ("COMPOSITE-CRC32C", ""), None),
        (("MD5-of-0MD5-of-512CRC32C", "0" * 32), ("MD5-of-0MD5-of-512CRC32C", "0" * 32), "same"),
        (("MD5-of-0MD5-of-512CRC32C", "0" * 32), ("MD5-of-0MD5-of-512CRC32C", "1" * 32), None),
        (("MD5-of-0MD5-of-512CRC32C", "0" * 32), ("MD5-of-4MD5-of-512CRC32C", "0" * 32), None),
        (("None", "0" * 32), ("None", "0" * 32), None),
        (("MD5-of-0MD5-of-512CRC32C", "0"), ("MD5-of-0MD5-of-512CRC32C", "0"), None),
    ],
)
def test_only_equal_checksums_of_one_known_kind_are_a_proof(ours, theirs, expected):
    checksum = Checksummed(*ours)
    found = comparing._judged(checksum, Checksummed(*theirs))
    assert found == (checksum if expected == "same" else expected)


def command(folder: Path, script: str) -> str:
    """Make a program in place of Hadoop's command, which notes its runs in ``runs``."""
    folder.mkdir(exist_ok=True)
    path = folder / "hdfs"
    path.write_text(f"#!/bin/sh\necho run >> {folder}/runs\n{script}\n")
    path.chmod(0o755)
    return str(path)


def runs_of(folder: Path) -> int:
    return len((folder / "runs").read_text().splitlines())


ANSWER = r"""shift 3; for each; do printf '%s\tCOMPOSITE-CRC32C\t0000000a\n' "$each"; done"""


def test_a_run_of_the_command_answers_all_who_wait(tmp_path):
    composites = Composites(command(tmp_path, f"sleep 0.5; {ANSWER}"))
    answers = []

    def ask(number: int) -> None:
        answers.append(composites.of([f"hdfs://a/{number}", f"hdfs://b/{number}"], go_on))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [[Checksummed("COMPOSITE-CRC32C", "0000000a")] * 2] * 8
    assert runs_of(tmp_path) < 8


@pytest.mark.parametrize(
    "script",
    [
        "exit 1",
        r"echo hdfs://a/x: No such file >&2; printf 'hdfs://a/y\tCOMPOSITE-CRC32C\t0000000a\n'",
        r"printf 'hdfs://a/x\tMD5-of-0MD5-of-512CRC32C\t00\n'",
        r"printf 'hdfs://a/x\tCOMPOSITE-CRC32C\t0000'",
        r"head -c 2000000 /dev/zero",
        r"printf '\377\376\n'",
    ],
)
def test_anything_but_a_composite_crc_of_the_file_is_no_answer(tmp_path, script):
    composites = Composites(command(tmp_path, script))
    assert composites.of(["hdfs://a/x"], go_on) == [None]


def test_a_command_that_never_answers_is_not_run_again(tmp_path):
    composites = Composites(command(tmp_path, "exit 255"))
    for _ in range(4):
        assert composites.of(["hdfs://a/x"], go_on) == [None]
    assert runs_of(tmp_path) == 2


def test_a_name_that_the_command_would_take_for_a_pattern_is_not_asked(tmp_path):
    composites = Composites(command(tmp_path, ANSWER))
    for name in ("*", "a?", "[a]", "{a}", "\\", "new\nline", "a\tb"):
        assert composites.of(["hdfs://a/x", f"hdfs://a/{name}"], go_on) == [None, None]
    assert not (tmp_path / "runs").exists()


def test_a_stop_ends_the_command_and_what_it_has_started(tmp_path):
    composites = Composites(command(tmp_path, f"sleep 300 & echo $! > {tmp_path}/pid; wait"))

    def stop() -> None:
        if (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip():
            raise StoppedError("stopped")

    with pytest.raises(StoppedError):
        composites.of(["hdfs://a/x"], stop)
    state = Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}/stat")
    for _ in range(200):
        if not state.exists() or state.read_text().split()[2] == "Z":
            return
        threading.Event().wait(0.05)
    raise AssertionError("it still runs")


@pytest.mark.wide
def test_two_clusters_with_other_block_sizes(hdfs, tmp_path):
    """By `hdfs://`, several files in few runs of the command; corrupt blocks are noticed."""
    large = some_bytes(COMPOSITE_BYTES + 1)
    files = {"a": large, "b": large, "wrong": large, "small": b"small", "medium": LARGE}
    with hdfs_server(tmp_path / "other", block_bytes=4 * 1024 * 1024) as other:
        site = Site(tmp_path, hdfs, other)
        site.env["PATH"] = f"{other.command_in(tmp_path / 'bin')}{os.pathsep}{os.environ['PATH']}"
        for name, data in files.items():
            put(hdfs, f"{site.source_root}/item/{name}", data)
        site.generate(hdfs.hdfs, other.hdfs)
        conf = tmp_path / "list" / "joblist.toml"
        urls = [f"http://127.0.0.1:{each.http_port}" for each in (hdfs, other)]
        with conf.open("a") as file:
            file.write(
                f'\n[hdfs.source]\nwebhdfs_url = "{urls[0]}"\n'
                f'\n[hdfs.destination]\nwebhdfs_url = "{urls[1]}"\n'
            )
        site.work()
        how = {name: (one.method, one.verified_by) for name, one in site.receipts().items()}
        assert how == {
            "a": ("bring", "hdfs-composite-crc"),
            "b": ("bring", "hdfs-composite-crc"),
            "medium": ("bring", "read-back"),
            "small": ("bring", "read-back"),
            "wrong": ("stream", "hdfs-checksum"),
        }
        run_ok("jobtool", "verify", "--deep", site.joblist, env=site.env)
        other.damage_blocks(large[:1000])
        done = run("jobtool", "verify", "--deep", site.joblist, env=site.env)
        assert done.exit_code == 1
