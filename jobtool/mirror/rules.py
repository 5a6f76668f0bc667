"""Which extra files may be deleted, as pure functions of what was found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from jobtool.mirror.sourcelook import Look
from jobtool.names import quote
from jobtool.stores.location import parent_of

#: More than this share of a job's files is deleted only if a number is given.
LARGEST_SHARE = 0.5


def why_job_stays(look: Look, *, extra: int, has_limit: bool) -> str | None:
    """Return why no extra file of a job is deleted; None if they may be.

    The first matching row counts. ``extra`` is the number of extra files. ``has_limit`` says that
    the largest number of files to delete was given.

    ======================================================== =====
    a part of the source can't be read                       stay
    the source is missing, or holds no file to transfer      stay
    files are new or have changed: they arrive first         stay
    more than ``LARGEST_SHARE`` are gone, and no limit given stay
    else                                                     may go
    ======================================================== =====
    """
    if look.failures:
        return "a part of the source can't be read"
    if look.is_missing or not look.files:
        what = "is missing" if look.is_missing else "holds no file to transfer"
        return (
            f"its source {what}, as if a filesystem weren't mounted. To delete what has arrived "
            "from a source that is meant to be gone, delete it by hand"
        )
    if look.has_changed:
        return (
            "the job has new or changed files, which arrive first. Start a worker, then try again"
        )
    if not has_limit and extra > LARGEST_SHARE * look.received:
        return (
            f"they are {extra} of {look.received} files of the job, more than half. If that is "
            f"meant, allow a number: --max-delete {extra}"
        )
    return None


def why_folder_empty(path: str, empty_folders: Iterable[str]) -> str | None:
    """Return why a file stays whose folder, or one above it, is there and empty; else None.

    An empty folder may be the mount point of a filesystem that isn't mounted.
    """
    empty = frozenset(empty_folders)
    above = path
    while above:
        above = above.rpartition("/")[0]
        if above in empty:
            return (
                f"the folder {quote(above)} of the source is there and empty, as if a filesystem "
                "weren't mounted. If that is meant, remove the folder, too"
            )
    return None


class Overlaps:
    """Which jobs may bring files to the same places. ``roots`` has the places of each job."""

    def __init__(self, roots: Mapping[str, Iterable[str]]) -> None:
        self._roots = {job_id: tuple(found) for job_id, found in roots.items()}
        self._at: dict[str, set[str]] = {}  # the jobs whose root a place is
        self._below: dict[str, set[str]] = {}  # the jobs that have a root below a place
        for job_id, found in self._roots.items():
            for root in found:
                self._at.setdefault(root, set()).add(job_id)

    def of(self, job_id: str, candidates: Iterable[str]) -> set[str]:
        """Return the other jobs with a root at, above or below one of a job's.

        ``candidates`` are the jobs that are asked about; the index is made for them once.
        """
        if not self._below:
            wanted = {root for one in candidates for root in self._roots[one]}
            for root, jobs in self._at.items():
                for above in _with_above(root):
                    if above in wanted:
                        self._below.setdefault(above, set()).update(jobs)
        found: set[str] = set()
        for root in self._roots[job_id]:
            found |= self._below.get(root, set())
            for above in _with_above(root):
                found |= self._at.get(above, set())
        return found - {job_id}


def _with_above(place: str) -> Iterable[str]:
    yield place
    while (above := parent_of(place)[0]) != place:
        place = above
        yield place
