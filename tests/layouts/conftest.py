"""Generating in this process, with the events."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from jobtool.errors import JobtoolError
from jobtool.events import Event
from jobtool.jobs.job import Job
from jobtool.jobs.joblist import JobList
from jobtool.layouts.events import Generated
from jobtool.layouts.generate import generate
from jobtool.layouts.request import Request
from tests.trees import snapshot


@dataclass
class Outcome:
    """The result and the events of one generation."""

    generated: Generated
    events: list[Event] = field(default_factory=list)

    @property
    def counts(self) -> tuple[int, int]:
        return self.generated.created, self.generated.existing

    def texts(self, kind: str) -> list[str]:
        return [event.text() for event in self.events if event.kind == kind]


class Place:
    """A source tree ``source``, a joblist ``joblist`` and a destination, in one test's folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.source = root / "in"
        self.joblist = root / "list"
        self.destination = str(root / "out")
        self.source.mkdir()

    def generate(self, layout: str | None = None, **changes: Any) -> Outcome:
        events: list[Event] = []
        request: dict[str, Any] = {
            "source": str(self.source),
            "joblist_path": str(self.joblist),
            "destination": self.destination,
            "layout": layout,
        }
        generated = generate(Request(**(request | changes)), events.append)
        return Outcome(generated, events)

    def refused(self, layout: str | None = None, **changes: Any) -> str:
        """The message of a generation that is refused and must have written nothing."""
        before = snapshot(self.root)
        with pytest.raises(JobtoolError) as caught:
            self.generate(layout, **changes)
        assert snapshot(self.root) == before
        assert "\n" not in str(caught.value)
        return str(caught.value)

    def jobs(self) -> dict[str, Job]:
        joblist = JobList.open(str(self.joblist))
        return {job.name: job for job, _ in map(joblist.load, joblist.job_ids())}

    def files(self) -> dict[str, tuple[int, bytes]]:
        """Every job file with its modification time and bytes."""
        return {
            path: found for path, found in snapshot(self.joblist).items() if path.endswith(".txt")
        }


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def layout_file(tmp_path: Path) -> Callable[[str], str]:
    """A function that writes a user's layout and returns its path."""

    def write(text: str) -> str:
        path = tmp_path / "mine.toml"
        path.write_text(f"[layout]\n{text}\n")
        return str(path)

    return write
