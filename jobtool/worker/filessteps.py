"""Which class does a job's files: what exports and packages need is imported for these alone."""

from __future__ import annotations

from jobtool.jobs.job import Job
from jobtool.worker.copystep import CopyStep
from jobtool.worker.filesstep import FilesStep


def files_step_of(job: Job) -> type[FilesStep]:
    """Return the class that brings the files of a job, or does its step of a package."""
    if job.package is not None:
        from jobtool.worker.packages.steps import step_of

        return step_of(job.package)
    if job.export is None:
        return CopyStep
    if job.export.kind == "manifest":
        from jobtool.worker.manifeststep import ManifestStep

        return ManifestStep
    from jobtool.worker.exportstep import ExportStep

    return ExportStep
