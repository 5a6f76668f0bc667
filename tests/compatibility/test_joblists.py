"""Joblists of an earlier version are taken up: what they prove isn't sent again, the rest is done.

The commit before the restructuring of November 2026 wrote them (``make_joblists.py``). Where work
is under way, workers of that version were killed in the middle of it.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from jobtool.jobs.joblist import JobList
from jobtool.jobs.journal import Journal
from jobtool.jobs.records import PartRecord, Receipt, Record, UploadRecord
from jobtool.jobs.table import read_table
from tests.commands import Done, finish, run_ok, start_module
from tests.compatibility.place import (
    JOBLISTS,
    ROOT,
    SOURCES,
    bucket_of,
    destination_of,
    make_source,
)
from tests.faults.proxy import proxy_before
from tests.trees import contents, events, snapshot, statuses

_LOCK = f"{ROOT}.lock"


@pytest.fixture
def place() -> Iterator[None]:
    """The place that the joblists name, for one test at a time."""
    with open(_LOCK, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        shutil.rmtree(ROOT, ignore_errors=True)
        ROOT.mkdir(mode=0o700)
        try:
            yield
        finally:
            shutil.rmtree(ROOT)


@dataclass
class Earlier:
    """A joblist as an earlier version left it, with its source and what had arrived."""

    case: str
    server: object = None
    sent: int = 0
    path: Path = field(init=False)
    wanted: dict[str, bytes] = field(init=False)
    arrived: dict[str, bytes] = field(init=False)
    proven: set[str] = field(init=False)
    part_bytes: int = field(init=False)

    def __post_init__(self) -> None:
        folder = ROOT / self.case
        self.path = folder / "list"
        ignored = shutil.ignore_patterns("arrived.json")
        shutil.copytree(JOBLISTS / self.case, self.path, ignore=ignored)
        for name in ("journals", "receipts", ".claims/workers"):  # git keeps no empty folders
            (self.path / name).mkdir(parents=True, exist_ok=True)
        self.wanted = contents(make_source(self.case))
        names = json.loads((JOBLISTS / self.case / "arrived.json").read_text())
        self.arrived = {name: self.wanted[name] for name in names if not name.endswith(".part")}
        assert {name: len(data) for name, data in self.arrived.items()}.items() <= names.items()
        self._fill_destination()
        records = self.records()
        self.proven = {self._name_of(each) for each in records if isinstance(each, Receipt)}
        # An upload that was completed has a receipt as well as parts.
        self.part_bytes = sum(each.size for each in records if isinstance(each, PartRecord))

    def records(self) -> list[Record]:
        """Everything in tables, journals and the journals of blocks."""
        joblist = JobList.open(str(self.path))
        found: list[Record] = []
        for job in joblist.job_ids():
            found += read_table(joblist.table_path_of(job))
        for journal in sorted((self.path / "journals").rglob("*.jsonl")):
            found += Journal(str(journal)).read()
        return found

    def _name_of(self, record: Receipt | UploadRecord) -> str:
        return record.dst_path.removeprefix(destination_of(self.case) + "/")

    def _fill_destination(self) -> None:
        if self.case.endswith("-s3"):
            bucket = bucket_of(self.case)
            self.server.client.create_bucket(Bucket=bucket)
            for name, data in self.arrived.items():
                self.server.client.put_object(Bucket=bucket, Key=name, Body=data)
        else:
            for name, data in self.arrived.items():
                path = ROOT / self.case / "out" / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
                shutil.copystat(ROOT / self.case / "in" / name, path)
        records = self.records()
        for upload in (each for each in records if isinstance(each, UploadRecord)):
            data = self.wanted[self._name_of(upload)]
            parts = [
                each
                for each in records
                if isinstance(each, PartRecord) and each.token == upload.token
            ]
            pieces = [(each, data[each.offset : each.offset + each.size]) for each in parts]
            if self.case.endswith("-s3"):
                self._begin_upload(upload, pieces)
            else:
                with open(upload.token, "xb") as file:
                    for part, piece in pieces:
                        os.pwrite(file.fileno(), piece, part.offset)

    def _begin_upload(self, upload: UploadRecord, pieces: list[tuple[PartRecord, bytes]]) -> None:
        """Send the recorded parts again. Only the server's name for the upload is new."""
        where = {"Bucket": bucket_of(self.case), "Key": self._name_of(upload)}
        where["UploadId"] = self.server.client.create_multipart_upload(**where)["UploadId"]
        for part, piece in pieces:
            self.server.client.upload_part(**where, PartNumber=part.number, Body=piece)
        for journal in (self.path / "journals").rglob("*.jsonl"):
            text = journal.read_text()
            journal.write_text(text.replace(upload.token, where["UploadId"]))

    def spoil_proven_sources(self) -> None:
        """Change the bytes of proven files at the source, so that sending one again shows."""
        for name in self.proven:
            path = ROOT / self.case / "in" / name
            stat = path.stat()
            path.write_bytes(bytes(stat.st_size))
            os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))

    def work(self) -> Done:
        """Have a worker of this version do the rest, and count what it sends."""
        options = ("-i", str(self.path), "--threads", "2")
        note = ROOT / "written"
        with self._environment() as env:
            done = finish(start_module("tests.compatibility.counted", str(note), *options, env=env))
        if not self.case.endswith("-s3"):
            self.sent = int(note.read_text())
        return done

    @contextmanager
    def _environment(self) -> Iterator[dict[str, str]]:
        if not self.case.endswith("-s3"):
            yield {}
            return
        with proxy_before(self.server.endpoint_url) as proxy:
            yield {**self.server.environment, "AWS_ENDPOINT_URL": proxy.endpoint_url}
            # What the server itself refused had to be sent again.
            self.sent = proxy.uploaded - sum(size for _, _, size in proxy.refused)

    def assert_all_done(self) -> None:
        """All jobs are done, and each file is the same on both sides, and proven once."""
        assert set(statuses(self.path).values()) == {"success"}
        if self.case.endswith("-s3"):
            assert contents(self.server.folder / bucket_of(self.case)) == self.wanted
        else:
            assert contents(ROOT / self.case / "out") == self.wanted
        names = [self._name_of(record) for record in self.records()]
        assert sorted(names) == sorted(self.wanted)
        assert os.listdir(self.path / "journals") == []


@pytest.mark.parametrize(
    "case",
    # What "lent-s3" has more than "lent" and "ongoing-s3" is that both are in one joblist.
    [pytest.param(case, marks=[pytest.mark.wide] * (case == "lent-s3")) for case in SOURCES],
)
@pytest.mark.usefixtures("place")
def test_nothing_that_had_arrived_is_sent_again_and_all_ends_in_success(
    rclone_s3, case: str
) -> None:
    earlier = Earlier(case, rclone_s3)
    if case == "error":
        run_ok("jobtool", "retry", "-i", earlier.path)
    earlier.spoil_proven_sources()
    done = earlier.work()
    assert (done.exit_code, done.stderr) == (0, "")
    total = sum(map(len, earlier.wanted.values()))
    arrived = sum(map(len, earlier.arrived.values()))
    assert earlier.sent == total - arrived - earlier.part_bytes
    earlier.assert_all_done()


def test_the_joblists_are_in_the_states_that_they_are_named_after() -> None:
    found = {
        case: sorted({path.read_bytes().split(b"\n")[0].decode() for path in folder.glob("*.txt")})
        for case in SOURCES
        for folder in [JOBLISTS / case]
    }
    assert found == {
        "todo": ["todo"],
        "success": ["success"],
        "error": ["error", "success"],
        "ongoing": ["ongoing"],
        "ongoing-s3": ["ongoing"],
        "lent": ["ongoing"],
        "lent-s3": ["ongoing"],
        "older-form": ["todo"],
    }
    for case in ("ongoing", "ongoing-s3"):
        kinds = {
            json.loads(line)["type"]
            for line in (JOBLISTS / case / "journals" / "one.jsonl").read_text().splitlines()
        }
        assert {"file", "upload", "part"} <= kinds
    for case in ("lent", "lent-s3"):
        blocks = JOBLISTS / case / "journals" / "one.blocks"
        assert {path.suffix for path in blocks.iterdir()} >= {".block", ".jsonl", ".helper"}


@pytest.mark.usefixtures("place")
def test_what_was_done_is_told_and_verified_as_done(tmp_path: Path) -> None:
    earlier = Earlier("success")
    before = snapshot(earlier.path)
    told = json.loads(run_ok("summarise-jobs", "-i", earlier.path, "--json").stdout)
    assert told["success"] == len(SOURCES["success"])
    run_ok("jobtool", "verify", earlier.path)
    assert earlier.work().exit_code == 0
    assert earlier.sent == 0
    after = snapshot(earlier.path)
    jobfiles = {path for path in before if path.endswith((".txt", ".parquet", ".toml"))}
    assert jobfiles
    assert {path: after[path] for path in jobfiles} == {path: before[path] for path in jobfiles}


@pytest.mark.usefixtures("place")
def test_the_log_of_a_job_file_is_kept_and_goes_on(tmp_path: Path) -> None:
    earlier = Earlier("ongoing")
    jobfile = earlier.path / "one.txt"
    log = jobfile.read_text().partition("\n---\n")[2]
    assert earlier.work().exit_code == 0
    assert jobfile.read_text().partition("\n---\n")[2].startswith(log)
    first, second = events(jobfile, "claimed")
    assert first.endswith("attempt=1")
    assert second.endswith("attempt=2")
