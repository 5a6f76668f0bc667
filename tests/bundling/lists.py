"""Joblists of packages for tests: made by the command, and read from their files."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from jobtool.jobs.job import Job
from jobtool.jobs.joblist import JobList
from jobtool.packages.memberfile import read_members
from tests.commands import Done, run
from tests.trees import write


class Place:
    """A source ``in`` and a joblist ``list`` in one test's folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.source = root / "in"
        self.joblist = root / "list"
        self.source.mkdir()

    def item(self, name: str, *sizes: int, mtime: float | None = None) -> Path:
        """Make an item of files of these sizes."""
        for number, size in enumerate(sizes):
            path = write(self.source / name / f"f{number}", b"x" * size)
            if mtime is not None:
                os.utime(path, (mtime, mtime))
        return self.source / name

    def make(self, *options: object, exit_code: int = 0, env: Any = None) -> dict[str, Any]:
        """Run the command; return its result. Standard error must be empty."""
        done = self.run(*options, env=env)
        assert (done.exit_code, done.stderr) == (exit_code, ""), done
        return events(done)[-1]

    def run(self, *options: object, env: Any = None) -> Done:
        base = ["-d", self.root / "out"] if "--sites" not in options else []
        if "-d" in options:
            base = []
        return run(
            "generate-joblist", self.source, "-o", self.joblist, "-l", "packages", "--json",
            "-v", "2", *base, *options, env=env,
        )  # fmt: skip

    def packages(self) -> dict[str, list[str]]:
        """The items of each package, from the lists of members."""
        joblist = JobList.open(str(self.joblist))
        found = sorted((self.joblist / "packages").glob("*.members.jsonl"))
        names = [path.name.removesuffix(".members.jsonl") for path in found]
        return {
            name: [item.name for item in read_members(joblist.members_path_of(name)).items()]
            for name in names
        }

    def members(self, package: str) -> list[tuple[str, int]]:
        joblist = JobList.open(str(self.joblist))
        return [(m.path, m.size) for m in read_members(joblist.members_path_of(package))]

    def jobs(self) -> dict[str, Job]:
        joblist = JobList.open(str(self.joblist))
        return {job.name: job for job, _ in map(joblist.load, joblist.job_ids())}


def events(done: Done) -> list[dict[str, Any]]:
    return [found for found in map(json.loads, done.lines) if found["event"] != "note"]


def of_kind(done: Done, kind: str) -> list[dict[str, Any]]:
    return [event for event in events(done) if event["event"] == kind]
