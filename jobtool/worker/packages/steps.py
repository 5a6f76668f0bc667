"""Which class does a step of a package."""

from __future__ import annotations

from jobtool.jobs.packagetask import PackageTask
from jobtool.worker.filesstep import FilesStep
from jobtool.worker.packages.membersteps import StageStep, UnpackStep
from jobtool.worker.packages.movestep import MoveStep
from jobtool.worker.packages.releasestep import ReleaseStep
from jobtool.worker.packages.verifystep import VerifyStep


def step_of(task: PackageTask) -> type[FilesStep]:
    """Return the class that does a task."""
    match task.step:
        case "unpack":
            return UnpackStep
        case "stage":
            return StageStep
        case "verify":
            return VerifyStep
        case "release":
            return ReleaseStep
        case _:
            return MoveStep
