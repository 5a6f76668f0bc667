"""Where a named file of a job is: in which store, under which path."""

from __future__ import annotations

from jobtool.errors import FileError
from jobtool.jobs.job import Job
from jobtool.names import quote
from jobtool.stores.location import Location, inside, is_absolute, is_local, without_slash
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
    return without_slash(root), check_path(path)


def resolve_destination(path: str, job: Job) -> tuple[str, str]:
    """Return the root of the store of a destination, and the path in it.

    A path below the job's destination is resolved relative to that, so links below it are refused.
    """
    if job.destination is not None and is_local(path):
        below = inside(job.destination, path)
        if below:
            return without_slash(job.destination), check_path(below)
    return resolve(path, job.destination)
