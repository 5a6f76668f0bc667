"""A source tree, a joblist and a destination; what must hold after a kill, and at the end."""

from __future__ import annotations

import os
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from jobtool.jobs.job import Job
from jobtool.jobs.joblist import JobList
from jobtool.jobs.journal import Journal
from jobtool.jobs.records import PartRecord, Receipt, Record, UploadRecord
from jobtool.jobs.settings import Settings, TransferSettings
from jobtool.jobs.table import read_table
from tests.faults.proxy import Proxy
from tests.servers.s3 import S3Server
from tests.trees import contents, statuses, write

PART_BYTES = 5 * 1024 * 1024
_TEMPORARY = ".jobtool-"


def make_source(root: Path, jobs: int, *, large_bytes: Mapping[int, int], seed: int) -> Path:
    """Make folders of files: empty, small, metadata, and in some folders a large one."""
    random_bytes = random.Random(seed).randbytes
    for number in range(jobs):
        folder = root / f"job{number:03d}"
        write(folder / "empty", b"")
        write(folder / "0" / "empty too", b"")
        for small in range(3):
            write(folder / "0" / f"small {small}.bin", random_bytes(2000 + 700 * small))
        write(folder / ".zgroup", b'{"zarr_format": 2}')
        if number in large_bytes:
            write(folder / "several parts.bin", random_bytes(large_bytes[number]))
            write(folder / "one part.bin", random_bytes(PART_BYTES))
    return root


class Destination(Protocol):
    """The destination, read by other means than jobtool's."""

    @property
    def url(self) -> str:
        """What a job file says."""

    def files(self) -> dict[str, bytes]:
        """Every file that is visible to a reader, temporary ones too."""

    def unfinished(self) -> list[str]:
        """The unfinished multipart uploads."""


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of this machine."""

    path: Path

    @property
    def url(self) -> str:
        return str(self.path)

    def files(self) -> dict[str, bytes]:
        return contents(self.path)

    def unfinished(self) -> list[str]:
        return []

    def identities(self) -> dict[str, tuple[int, int]]:
        """What changes when a file is written again, of every file that isn't temporary."""
        found = {}
        for name in contents(self.path):
            if _TEMPORARY not in name:
                stat = os.stat(self.path / name)
                found[name] = (stat.st_ino, stat.st_mtime_ns)
        return found


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket of a server that keeps it in a folder."""

    server: S3Server
    name: str

    @property
    def url(self) -> str:
        return f"s3://{self.name}"

    def files(self) -> dict[str, bytes]:
        assert self.server.folder is not None
        return contents(self.server.folder / self.name)

    def unfinished(self) -> list[str]:
        client = self.server.client
        try:
            answer = client.list_multipart_uploads(Bucket=self.name)
        except client.exceptions.NoSuchUpload:  # what rclone's server says if there was never one
            return []
        return [upload["Key"] for upload in answer.get("Uploads", ())]


@dataclass(slots=True)
class World:
    """A joblist of a source tree, and its destination; on S3 a proxy counts what is sent."""

    source: Path
    joblist: Path
    destination: Destination
    environment: dict[str, str] = field(default_factory=dict)
    proxy: Proxy | None = None
    wanted: dict[str, bytes] = field(init=False)

    def __post_init__(self) -> None:
        self.wanted = contents(self.source)

    @property
    def data_bytes(self) -> int:
        """How much there is to send."""
        return sum(map(len, self.wanted.values()))

    def records(self) -> list[Record]:
        """Everything in journals and tables, job by job."""
        folders = JobList.open(str(self.joblist))
        found: list[Record] = []
        for stem in folders.job_ids():
            found += read_table(folders.table_path_of(stem))
            found += Journal(folders.journal_of(stem).path).read()
        return found

    def assert_honest(self) -> int:
        """Check what must hold at any moment, as after each kill; return the safe bytes.

        Visible files are those of the source, and every receipt is for a file that is there.
        Published files are safe, since a file without a receipt is compared and adopted. So are the
        parts that the journal names of uploads under way. Nothing of that is sent again.
        """
        visible = {
            name: data for name, data in self.destination.files().items() if _TEMPORARY not in name
        }
        assert visible.items() <= self.wanted.items()
        records = self.records()
        proven = [record for record in records if isinstance(record, Receipt)]
        assert {self._name_of(record) for record in proven} <= visible.keys()
        uploads = {
            self._name_of(record): record.token
            for record in records
            if isinstance(record, UploadRecord) and self._name_of(record) not in visible
        }
        parts = {
            (record.token, record.number): record.size
            for record in records
            if isinstance(record, PartRecord) and record.token in uploads.values()
        }
        return sum(map(len, visible.values())) + sum(parts.values())

    def assert_perfect(self) -> None:
        """Check what must hold at the end."""
        assert set(statuses(self.joblist).values()) == {"success"}
        found = self.destination.files()
        assert found.keys() == self.wanted.keys()
        assert found == self.wanted
        assert self.destination.unfinished() == []
        proven = [self._name_of(record) for record in self.records()]
        assert sorted(proven) == sorted(self.wanted)
        for record in self.records():
            assert isinstance(record, Receipt)
            assert record.size == len(self.wanted[self._name_of(record)])
        jobs = {path.stem for path in self.joblist.glob("*.txt")}
        left = {str(path.relative_to(self.joblist)) for path in self.joblist.rglob("*")}
        # A killed worker's marker stays until other workers are certain that it is dead.
        left -= {name for name in left if name.startswith(".claims/workers/")}
        left -= {name for name in left if name.startswith(".claims/states")}  # of killed ones, too
        left -= {".claims/put-back"}  # of ``jobtool retry``
        assert left == {
            *("joblist.toml", "receipts", "journals", ".claims"),
            *(".claims/terms.json", ".claims/workers"),
            *(f"{job}.txt" for job in jobs),
            *(f".claims/{job}.lock" for job in jobs),
            *(f"receipts/{job}.parquet" for job in jobs),
        }

    def _name_of(self, record: Receipt | UploadRecord) -> str:
        return record.dst_path.removeprefix(self.destination.url + "/")


def make_joblist(
    path: Path,
    source: Path,
    destination: str,
    *,
    s3: Mapping[str, Any] | None = None,
    credentials: Mapping[str, Any] | None = None,
    **transfer: Any,
) -> Path:
    """Make a joblist whose jobs are the folders in ``source``."""
    settings = Settings(
        source=str(source),
        destination=destination,
        s3=dict(s3 or {}),
        credentials=dict(credentials or {}),
        transfer=TransferSettings(part_size_bytes=PART_BYTES, **transfer),
    )
    joblist = JobList.create(str(path), settings)
    for folder in sorted(source.iterdir()):
        name = folder.name
        joblist.add(Job(name=name, source=str(folder), destination=f"{destination}/{name}"))
    joblist.flush()
    return path
