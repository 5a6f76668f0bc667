"""The steps ``unpack`` and ``stage``: members of a package arrive as files."""

from __future__ import annotations

from functools import partial

from jobtool.jobs.claimedjob import ClaimedJob
from jobtool.jobs.packagechain import task_of
from jobtool.packages.manifestfile import read_manifest
from jobtool.staging.disturbance import Undisturbed
from jobtool.steps.step import StepContext
from jobtool.stores.infiles import service_url
from jobtool.worker.copystep import CopyStep
from jobtool.worker.packages.copies import keep_manifest, kept_manifest, tidy_manifest
from jobtool.worker.packages.outcome import note_arrival


class UnpackStep(CopyStep):
    """One attempt at ``unpack``."""

    def run(self, claimed_job: ClaimedJob, context: StepContext) -> None:
        """Copy the members that aren't proven yet.

        Raises what ``CopyStep.run`` does, and ``PackageError`` for a manifest that can't be read.
        """
        joblist, task = self._tools.joblist, task_of(claimed_job.job)
        if claimed_job.job.attempts > 1:
            tidy_manifest(joblist, task.package)
        if kept_manifest(joblist, task.package) is None and claimed_job.job.source is not None:
            folder = context.source(service_url(claimed_job.job.source))
            manifest = read_manifest(folder, task.package, context.retry)
            context.require_held()
            keep_manifest(joblist, manifest)
        super().run(claimed_job, context)
        note_arrival(self._tools, claimed_job, context)


class StageStep(CopyStep):
    """One attempt at ``stage``."""

    def run(self, claimed_job: ClaimedJob, context: StepContext) -> None:
        """Copy the members that aren't proven yet.

        Raises what ``CopyStep.run`` does, and ``DisturbedError`` if staged files of the item were
        deleted meanwhile.
        """
        make = partial(Undisturbed, self._tools.joblist, claimed_job.job, context.stores)
        undisturbed = context.retry.call(make)
        super().run(claimed_job, context)
        note_arrival(self._tools, claimed_job, context)
        undisturbed.require()
