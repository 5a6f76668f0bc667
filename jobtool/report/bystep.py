"""How far packages are: their jobs counted by step and by route."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from jobtool.jobs.job import JobStatus
from jobtool.jobs.packagetask import PACKAGE_STEPS, PackageTask, job_name

if TYPE_CHECKING:
    from jobtool.report.jobline import JobLine


class StepLine(msgspec.Struct, frozen=True, kw_only=True):
    """The jobs of one step, and of one route if it has been planned; their numbers.

    ``done`` of the ``jobs`` are a success and have brought ``bytes_done``. ``waiting`` are todo and
    come after jobs that aren't done; ``elsewhere`` of these wait for a job of other sites.
    """

    step: str
    route: str | None
    jobs: int = 0
    done: int = 0
    bytes_done: int = 0
    ongoing: int = 0
    error: int = 0
    waiting: int = 0
    elsewhere: int = 0

    def json(self) -> dict[str, Any]:
        """Return plain values."""
        return {name: getattr(self, name) for name in self.__struct_fields__}


def by_step(lines: Iterable[JobLine]) -> list[StepLine]:
    """Count the jobs of packages, in the order in which the steps are done."""
    tasks: dict[str, tuple[JobLine, PackageTask]] = {
        line.job: (line, line.package) for line in lines if line.package is not None
    }
    before = _Before(tasks)
    counts: dict[tuple[int, str], dict[str, int]] = {}
    for line, task in tasks.values():
        key = PACKAGE_STEPS.index(task.step), task.route or ""
        count = counts.setdefault(key, dict.fromkeys(_COUNTED, 0))
        count["jobs"] += 1
        if line.status is JobStatus.SUCCESS:
            count["done"] += 1
            count["bytes_done"] += line.bytes_done or 0
        elif line.status is JobStatus.ONGOING:
            count["ongoing"] += 1
        elif line.status is JobStatus.ERROR:
            count["error"] += 1
        elif line.status is JobStatus.TODO and (undone := before.undone_before(task)):
            count["waiting"] += 1
            count["elsewhere"] += any(before.is_elsewhere(name, task, set()) for name in undone)
    return [
        StepLine(step=PACKAGE_STEPS[step], route=route or None, **count)
        for (step, route), count in sorted(counts.items())
    ]


_COUNTED = ("jobs", "done", "bytes_done", "ongoing", "error", "waiting", "elsewhere")


class _Before:
    """Which jobs must be done before others."""

    def __init__(self, tasks: Mapping[str, tuple[JobLine, PackageTask]]) -> None:
        self._tasks = tasks
        self._legs: dict[tuple[str, str | None], list[str]] = {}
        for name, (_, task) in tasks.items():
            if task.step in ("copy", "relay"):
                self._legs.setdefault((task.package, task.to), []).append(name)

    def undone_before(self, task: PackageTask) -> list[str]:
        """Return the jobs right before one that aren't a success, by their names."""
        names = [each for name in task.after for each in self._parts_of(name, task)]
        return [name for name in names if not self._is_done(name)]

    def is_elsewhere(self, name: str, asking: PackageTask, seen: set[str]) -> bool:
        """Return True if an undone job, or what it waits for, is for none of a job's sites."""
        if name in seen or name not in self._tasks:
            return False
        seen.add(name)
        task = self._tasks[name][1]
        undone = self.undone_before(task)
        if undone:
            return any(self.is_elsewhere(each, asking, seen) for each in undone)
        return bool(task.at and asking.at) and not set(task.at) & set(asking.at)

    def _parts_of(self, name: str, task: PackageTask) -> list[str]:
        """Return a job's name; for a way to the job's own site, those of all its legs so far."""
        is_way = name == job_name(task.package, "copy", task.to) and task.step != "relay"
        return self._legs.get((task.package, task.to), [name]) if is_way else [name]

    def _is_done(self, name: str) -> bool:
        return name in self._tasks and self._tasks[name][0].status is JobStatus.SUCCESS
