"""Whether staged files were deleted while a job was still bringing others of the item."""

from __future__ import annotations

from jobtool.catalog.folder import CatalogFolder
from jobtool.errors import JobtoolError
from jobtool.jobs.job import Job
from jobtool.jobs.joblist import JobList
from jobtool.names import quote
from jobtool.staging.accessfolder import AccessFolder
from jobtool.staging.accessrecord import Freeing
from jobtool.staging.request import ITEM
from jobtool.stores.registry import StoreRegistry


class DisturbedError(JobtoolError):
    """Files that a job had found or brought may have been deleted since. It looks again."""

    retryable = True


class Undisturbed:
    """Notes which deletions were announced before a stage job begins, to see those after.

    A deletion that doesn't know of the job's arrival is announced before its look at the arrivals.
    The job looks at the announcements after it has recorded its arrival. So one sees the other.
    """

    def __init__(self, joblist: JobList, job: Job, stores: StoreRegistry) -> None:
        packages = joblist.settings.packages
        self._access: AccessFolder | None = None
        if packages is not None and packages.catalog is not None:
            self._access = AccessFolder(CatalogFolder(packages.catalog, stores), stores)
        self._item = job.fields.get(ITEM), job.destination
        self._before = {} if self._access is None else self._access.announced()

    def require(self) -> None:
        """Raise ``DisturbedError`` if files of the item may have been deleted since."""
        if self._access is None:
            return
        now = self._access.announced()
        new = [entry for name, entry in now.items() if name not in self._before]
        for record in self._access.read(new):
            if isinstance(record, Freeing) and (record.item, record.url) == self._item:
                raise DisturbedError(
                    f"{record.who} has freed files of {quote(record.item)} while others were "
                    "brought. What is missing is brought again."
                )
