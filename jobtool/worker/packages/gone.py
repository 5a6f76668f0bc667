"""A package that was released, and that a step which was put back needs again."""

from __future__ import annotations

import contextlib

from jobtool.errors import FileError, JobFileError, PackageError, SourceError
from jobtool.jobs.job import Job
from jobtool.jobs.joblist import JobList
from jobtool.jobs.packagechain import legs_of, task_of
from jobtool.jobs.packagetask import job_name
from jobtool.names import filename_of, quote
from jobtool.packages.manifest import tar_name
from jobtool.release.deletionlog import released_paths
from jobtool.stores.infiles import service_url
from jobtool.stores.location import join


def explained(joblist: JobList, job: Job, error: SourceError) -> FileError:
    """Return the error for a source that isn't there; how to bring it again if it was released."""
    package = task_of(job).package
    if job.source is None:
        return error
    url = join(service_url(job.source), tar_name(package))
    if url not in released_paths(joblist, {package}):
        return error
    names = [name for name in _bringing(joblist, job) if name != job.name]
    words = " ".join(f"--job {quote(name)}" for name in (*names, job.name))
    return PackageError(
        f"{quote(url)} was released, so there is nothing left to read. To bring the package there "
        f"again, while its source still exists: jobtool retry {words}"
    )


def _bringing(joblist: JobList, job: Job) -> list[str]:
    """Return the names of the jobs that have brought a package to where a job reads it."""
    task, found = task_of(job), []
    packed = job_name(task.package, "pack")
    with contextlib.suppress(FileNotFoundError):
        joblist.status_of(filename_of(packed))
        found.append(packed)
    with contextlib.suppress(FileNotFoundError, JobFileError):
        for leg in legs_of(joblist, task.package, task.to):
            if leg.name == job.name:
                break
            found.append(task_of(leg).brought_by or leg.name)
    return found
