"""Where a named file of a job is: in which store, under which path."""

from __future__ import annotations

from jobtool.errors import FileError
from jobtool.jobs.job import Job
from jobtool.names import quote
from jobtool.stores.location import anchor_of, inside, is_absolute
from jobtool.stores.store import check_path


def resolve(path: str, root: str | None) -> tuple[str, str]:
    """Return the root of the store of a named file, and the file's path in it.

    ``root`` is the job's folder. Raises ``FileError`` for a path that would leave its root, and for
    a relative path if the job doesn't name a folder.
    """
    if is_absolute(path):
        anchor, path = anchor_of(path)
        return anchor, check_path(path)
    if root is None:
        raise FileError(f"{quote(path)} is relative, and the job doesn't name its folder")
    return root.rstrip("/") or "/", check_path(path)


def resolve_destination(path: str, job: Job) -> tuple[str, str]:
    """Return the root of the store of a destination, and the path in it.

    A path below the job's destination is resolved relative to that, so links below it are refused.
    """
    if path.startswith("/") and job.destination is not None:
        below = inside(job.destination, path)
        if below:
            return job.destination.rstrip("/") or "/", check_path(below)
    return resolve(path, job.destination)
