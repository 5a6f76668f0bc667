"""Where a file lies that a job names: in which store, under which path."""

from __future__ import annotations

from jobtool.errors import FileError
from jobtool.jobs.job import Job
from jobtool.names import quote
from jobtool.stores.location import anchor_of, inside, is_absolute
from jobtool.stores.store import check_path


def resolve(path: str, root: str | None) -> tuple[str, str]:
    """Return the root of the store that a named file is in, and its path there.

    ``root`` is the job's folder. Raises ``FileError`` for a path that would leave its root, or for
    one that is relative to a folder that the job doesn't name.
    """
    if is_absolute(path):
        anchor, path = anchor_of(path)
        return anchor, check_path(path)
    if root is None:
        raise FileError(f"{quote(path)} is relative, and the job names no folder that it is in")
    return root.rstrip("/") or "/", check_path(path)


def resolve_destination(path: str, job: Job) -> tuple[str, str]:
    """Resolve a destination as relative wherever it can be: links below the job's are refused."""
    if path.startswith("/") and job.destination is not None:
        below = inside(job.destination, path)
        if below:
            return job.destination.rstrip("/") or "/", check_path(below)
    return resolve(path, job.destination)
