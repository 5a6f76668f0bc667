"""Finished joblists, with a destination on a disk or on S3."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.commands import Done, run, run_ok
from tests.prepare import prepare
from tests.stores.raw import LocalRaw, S3Raw
from tests.trees import make_items

FILES = 3


@dataclass(frozen=True)
class Place:
    """A destination: its URL, its bytes by other means, what a process needs to use it."""

    url: str
    raw: LocalRaw | S3Raw
    env: Mapping[str, str]

    @property
    def is_local(self) -> bool:
        return isinstance(self.raw, LocalRaw)

    def delete(self, path: str) -> None:
        if isinstance(self.raw, S3Raw):
            self.raw.client.delete_object(Bucket=self.raw.bucket, Key=self.raw.prefix + path)
        else:
            Path(self.raw.root.decode(), path).unlink()

    def flip_a_bit(self, path: str) -> None:
        """Change one byte of a file. Its size stays, and on a disk its time."""
        data = bytearray(self.raw.read(path))
        data[len(data) // 2] ^= 1
        if isinstance(self.raw, S3Raw):
            self.raw.write(path, bytes(data))
        else:
            mtime_ns = Path(self.raw.root.decode(), path).stat().st_mtime_ns
            self.raw.write(path, bytes(data), mtime_ns)

    def contents(self) -> dict[str, bytes]:
        return {path: self.raw.read(path) for path in self.raw.paths()}


@pytest.fixture
def local(tmp_path: Path) -> Place:
    (tmp_path / "out").mkdir()
    return Place(str(tmp_path / "out"), LocalRaw(str(tmp_path / "out")), {})


@pytest.fixture
def s3(rclone_s3) -> Place:
    bucket = rclone_s3.new_bucket()
    raw = S3Raw(rclone_s3.client, bucket, "some/prefix/")
    return Place(f"s3://{bucket}/some/prefix", raw, rclone_s3.environment)


@pytest.fixture(params=["local", "s3"])
def place(request: pytest.FixtureRequest) -> Place:
    found: Place = request.getfixturevalue(request.param)
    return found


def make_joblist(folder: Path, place: Place, *, count: int = 3, files: int = FILES) -> Path:
    """Make items in ``folder/in`` and a joblist of them."""
    make_items(folder / "in", count, files=files)
    paths = ("-i", folder / "in", "-o", folder / "list", "-d", place.url, "-l", "tree")
    prepare("generate-joblist", *paths, "-v", 0)
    return folder / "list"


@pytest.fixture
def joblist(tmp_path: Path, place: Place) -> Path:
    """Three jobs of three files each, all of them done."""
    made = make_joblist(tmp_path, place)
    send(made, place)
    return made


def send(joblist: Path, place: Place) -> None:
    """Have the jobs done, for what comes then."""
    prepare("transfer-worker", "-i", joblist, "-v", 0, env=place.env)


def transfer(joblist: Path, place: Place, *options: object) -> list[str]:
    """Run a worker that must succeed; return the destinations of the files that it sent."""
    command = ("transfer-worker", "-i", joblist, "--json", "-v", 3, *options)
    told = run_ok(*command, env=place.env).lines
    events = [json.loads(line) for line in told]
    return [event["destination"] for event in events if event["event"] == "file"]


def verify(what: Path, place: Place, *options: object) -> tuple[int, list[Any]]:
    """Verify; return the exit code and each event, findings as ``(what, path)``."""
    done = run("jobtool", "verify", what, "--json", *options, env=place.env)
    assert done.stderr == "", done
    return done.exit_code, [simple(json.loads(line)) for line in done.lines]


def simple(event: dict[str, Any]) -> Any:
    if event["event"] == "finding":
        return event["what"], event["path"]
    return event


def tally(**found: int) -> dict[str, object]:
    """What the last event must say of the joblist above."""
    names = ("missing", "changed", "extra", "unreadable", "unproven", "unfinished_jobs")
    names += ("by_checksum", "by_source", "members", "of_members")
    counts = {"files": 3 * FILES, **dict.fromkeys(names, 0), **found}
    of_a_sample = {"of_files": None, "seed": None}
    return {"event": "verified", **counts, **of_a_sample, "is_complete": True}


def without_bytes(event: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in event.items() if key != "bytes"}


def words(done: Done) -> list[str]:
    """The lines of a command without their symbols."""
    return [line.partition(" ")[2] for line in done.lines]
