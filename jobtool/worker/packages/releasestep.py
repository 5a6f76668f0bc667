"""The step ``release``: what is proven at every destination is freed here.

At the site where packages begin this is the buffer and, if asked for, the source; at other sites
the package in the buffer that it has passed. Nothing goes that isn't proven once more in this pass.
"""

from __future__ import annotations

from msgspec.structs import replace

from jobtool.errors import JobtoolError
from jobtool.jobs.claimedjob import ClaimedJob
from jobtool.release.context import ReleaseContext
from jobtool.steps.step import StepContext
from jobtool.worker.filesstep import FilesStep, Totals
from jobtool.worker.packages.copies import copies_made
from jobtool.worker.packages.freeing import free
from jobtool.worker.packages.outcome import record_copies


class StaysError(JobtoolError):
    """Files aren't freed, since not all is as their proofs say. The events have the reasons."""

    retryable = True


class ReleaseStep(FilesStep):
    """One attempt at freeing what a package leaves behind at a site."""

    def run(self, claimed_job: ClaimedJob, context: StepContext) -> None:
        """Free what is proven elsewhere.

        Raises ``StaysError`` if something isn't as its proof says, and the errors of ``free``.
        """
        tools, joblist = self._tools, self._tools.joblist
        releasing = ReleaseContext.of_step(context, threads=tools.options.threads)
        done = free(
            joblist,
            claimed_job.job,
            replace(releasing, now=tools.options.now),
            trust=joblist.is_trusted_anyway,
        )
        claimed_job.log("released", files=done.files, bytes=done.bytes, stay=done.stay)
        record_copies(
            tools, claimed_job, context, lambda: copies_made(joblist, claimed_job.job, ())
        )
        if done.stay:
            raise StaysError(
                f"{done.stay} file(s) stay, since not all is as its proof says: see the lines "
                "above. Nothing of the package is freed here before that is put right."
            )
        self.totals = Totals(files=done.files, bytes=done.bytes)
