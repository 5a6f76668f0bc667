"""Joblists that are done, whose sources then change, with copies in a folder or in a bucket."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jobtool
from jobtool.jobs.joblist import JobList
from jobtool.jobs.records import Receipt
from jobtool.release.place import FILES, TRASH
from tests.release.worlds import fill, tree
from tests.servers.s3 import S3Server

FILES_OF = {
    "a/1": b"one\n" * 50,
    "a/2": b"two\n",
    "a/3": b"three\n",
    "a/deep/x \n'ü": b"",
    "a/deep/y": b"y" * 3000,
    "b/4": b"four\n" * 70,
    "b/5": b"five\n" * 70,
    "b/\udcff": b"name without UTF-8\n",
}


@dataclass(frozen=True, slots=True)
class World:
    """A source ``data``, its copies, and the joblist. With a ``server`` the copies are objects."""

    folder: Path
    server: S3Server | None = None
    bucket: str = ""
    files: dict[str, bytes] = field(default_factory=lambda: dict(FILES_OF))

    @property
    def source(self) -> Path:
        return self.folder / "data"

    @property
    def joblist(self) -> Path:
        return self.folder / "jobs"

    @property
    def destination(self) -> str:
        return str(self.folder / "copies") if self.server is None else f"s3://{self.bucket}/copies"

    def path(self, name: str) -> Path:
        return self.source / name

    def arrived(self) -> dict[str, bytes]:
        """What is at the destination, by path."""
        return self._below("copies")

    def trashed(self) -> dict[str, bytes]:
        """What is in the trash, by the last part of its path."""
        found = self._below(TRASH)
        marker = f"/{FILES}/"
        return {path.partition(marker)[2]: data for path, data in found.items() if marker in path}

    def _below(self, place: str) -> dict[str, bytes]:
        if self.server is None:
            return tree(self.folder / place)
        client = self.server.client
        listed = client.list_objects_v2(Bucket=self.bucket, Prefix=f"{place}/")
        return {
            one["Key"].removeprefix(f"{place}/"): client.get_object(
                Bucket=self.bucket, Key=one["Key"]
            )["Body"].read()
            for one in listed.get("Contents", [])
        }

    def lose(self, name: str) -> None:
        """Remove a copy, as somebody else would."""
        self._set(name, None)

    def overwrite(self, name: str, data: bytes) -> None:
        """Put other bytes in a copy's place, as somebody else would."""
        self._set(name, data)

    def _set(self, name: str, data: bytes | None) -> None:
        if self.server is None:
            target = self.folder / "copies" / name
            if data is None:
                target.unlink()
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(data)
        elif data is None:
            self.server.client.delete_object(Bucket=self.bucket, Key=f"copies/{name}")
        else:
            self.server.client.put_object(Bucket=self.bucket, Key=f"copies/{name}", Body=data)

    def update(self, **named: Any) -> jobtool.JoblistUpdate:
        return jobtool.update_joblist(str(self.joblist), **named)

    def prune(self, **named: Any) -> jobtool.JoblistUpdate:
        return self.update(**{"delete_extra": True, "yes": True, **named})

    def transfer(self, **named: Any) -> None:
        done = jobtool.transfer_jobs(str(self.joblist), **named)
        assert done.exit_code == 0, done

    def verify(self) -> set[tuple[str, str]]:
        """What ``jobtool verify --deep`` finds: kind and last part of the path."""
        found = jobtool.verify_jobs(str(self.joblist), deep=True).discrepancies
        return {(one.what, one.path.rpartition("/")[2]) for one in found}

    def status(self, job: str) -> str:
        return (self.joblist / f"{job}.txt").read_text().splitlines()[0]

    def receipts(self, job: str) -> dict[str, Receipt]:
        """The receipts of a job by the last part of the source's path."""
        found = JobList.open(str(self.joblist)).receipts_of(job)
        return {one.src_path.rpartition("/")[2]: one for one in found}

    def attempts(self, job: str) -> dict[str, int]:
        """In which attempt each file of a job was proven."""
        return {name: one.attempt for name, one in self.receipts(job).items()}


def done_world(
    folder: Path, server: S3Server | None = None, files: dict[str, bytes] | None = None, **how: Any
) -> World:
    """A world whose jobs are done."""
    bucket = "" if server is None else server.new_bucket()
    world = World(folder, server, bucket, dict(FILES_OF if files is None else files))
    fill(world.source, world.files)
    jobtool.generate_joblist(
        str(world.source),
        str(world.joblist),
        **{"destination": world.destination, "layout": "tree", **how},
    )
    world.transfer()
    return world


def rewrite(path: Path, data: bytes, *, keeps_time: bool = False) -> None:
    """Write a file, if asked for with the time that it had."""
    before = path.stat() if keeps_time else None
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    if before is not None:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def reasons(found: jobtool.JoblistUpdate) -> str:
    """Why files stay, in one text."""
    return "\n".join(one.reason for one in (*found.refused, *found.stays))
