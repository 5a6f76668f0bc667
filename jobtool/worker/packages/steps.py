"""Which class does a step of a package."""

from __future__ import annotations

from jobtool.jobs.packagetask import PackageTask
from jobtool.worker.filesstep import FilesStep
from jobtool.worker.packages.movestep import MembersStep, MoveStep


def step_of(task: PackageTask) -> type[FilesStep]:
    """Return the class that does a task."""
    if task.step in ("unpack", "stage"):
        return MembersStep
    return MoveStep
