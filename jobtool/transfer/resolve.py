"""Where a named file of a job is: in which store, under which path."""

from __future__ import annotations

from functools import lru_cache

from jobtool.errors import FileError
from jobtool.jobs.job import Job
from jobtool.names import quote
from jobtool.stores.location import Location, inside, is_absolute, is_local, join
from jobtool.stores.store import check_path


def resolve(path: str, root: str | None) -> tuple[str, str]:
    """Return the root of the store of a named file, and the file's path in it.

    ``root`` is the job's folder. Raises ``FileError`` for a path that would leave its root, and for
    a relative path if the job doesn't name a folder.
    """
    if is_absolute(path):
        file = Location.of_file(path)
        return file.root, file.path
    if root is None:
        raise FileError(f"{quote(path)} is relative, and the job doesn't name its folder")
    return _normal(root), check_path(path)


def resolve_destination(path: str, job: Job) -> tuple[str, str]:
    """Return the root of the store of a destination, and the path in it.

    A path below the job's destination is resolved relative to that, so links below it are refused.
    """
    root, path = resolve(path, job.destination)
    if job.destination is not None and is_local(root):
        folder = _normal(job.destination)
        below = inside(folder, join(root, path))
        if below:
            return folder, check_path(below)
    return root, path


@lru_cache(maxsize=64)
def _normal(url: str) -> str:
    """Return a folder's location in the one spelling that all its names share."""
    return Location.parse(url).url
