"""A second look at the sources of a joblist's finished jobs: those with changes become ``todo``."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

import msgspec

from jobtool.audit.events import LeftAlone, PutBack
from jobtool.audit.putback import claim_job, left_unreadable
from jobtool.audit.repair import Repair
from jobtool.errors import JobFileError, JoblistError
from jobtool.events import Emit
from jobtool.jobs.claim import Claims
from jobtool.jobs.job import Job, JobStatus
from jobtool.jobs.joblist import JobList
from jobtool.jobs.requirements import require_understood
from jobtool.layouts.destination import with_destination
from jobtool.mirror.deleting import finish, has_extras
from jobtool.mirror.events import SourceChanged, SourceLooked, SourceUnreadable, Updated
from jobtool.mirror.sourcelook import Compare, Look, Looking, look_at_source
from jobtool.release.context import ReleaseContext
from jobtool.release.deletionlog import released_paths
from jobtool.release.events import FileStays
from jobtool.release.jobplans import PACKAGE
from jobtool.release.ownership import require_own
from jobtool.transfer.credentialscopes import credential_scopes_of

#: How often progress is told, in seconds.
_TELL_SECONDS = 10.0

_LEFT = (JobStatus.TODO, JobStatus.ONGOING, JobStatus.ERROR)


class Looked(msgspec.Struct, frozen=True, kw_only=True):
    """A finished job, with its destination, and what was found at its source."""

    job_id: str
    job: Job
    look: Look


class Update:
    """Looks at the sources of finished jobs, and puts jobs with new or changed files back.

    ``context`` has the stores and the stop; with ``is_dry_run`` nothing is changed. What a killed
    deletion has begun is completed first, if nobody else could have written the joblist, or with
    ``trust``.

    After ``run``, ``looked`` are the jobs with extra files, if ``keeps_extra``, and
    ``has_failures`` says whether a part of any source could not be read. ``monotonic`` is the clock
    of progress, in seconds.
    """

    def __init__(
        self,
        joblist: JobList,
        context: ReleaseContext,
        *,
        compare: Compare = "time",
        keeps_extra: bool = False,
        excluded_too: bool = False,
        trust: bool = False,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._joblist, self._context = joblist, context
        self._emit: Emit = context.emit
        self._claims = Claims.of(joblist)
        self._repair = Repair(joblist)
        self._counts: Counter[str] = Counter()
        self._trust = trust
        self._monotonic = monotonic
        self._told_at = monotonic()
        self._jobs = self._of_jobs = self._files = 0
        self.looked: list[Looked] = []
        self.has_failures = False
        self._looking = Looking(
            stores=context.stores,
            retry=context.retry,
            compare=compare,
            threads=context.threads,
            released=released_paths(joblist),
            keeps_extra=keeps_extra,
            excluded_too=excluded_too,
            on_file=self._count_file,
        )

    def run(self) -> None:
        """Look at all jobs. Raises ``InfrastructureError`` and ``StoppedError``."""
        job_ids = self._joblist.job_ids()
        self._of_jobs = len(job_ids)
        has_put_back = False
        for job_id in job_ids:
            self._jobs += 1
            if not self._context.is_dry_run:
                self._finish(job_id)
            job = self._finished(job_id)
            if job is not None:
                has_put_back |= self._one(job_id, job)
        if has_put_back:
            self._joblist.mark_put_back()

    def result(
        self,
        *,
        extra: int = 0,
        extra_bytes: int = 0,
        deleted: int = 0,
        refused: int = 0,
        awaits_yes: bool = False,
    ) -> Updated:
        """Return the counts, with those of the deletion."""
        counts = self._counts
        return Updated(
            changed=counts["changed"],
            unchanged=counts["unchanged"],
            unreadable=counts["unreadable"],
            todo=counts["todo"],
            ongoing=counts["ongoing"],
            error=counts["error"],
            invalid=counts["invalid"],
            others=counts["others"],
            left_alone=counts["left_alone"],
            new_files=counts["new_files"],
            changed_files=counts["changed_files"],
            gone_files=counts["gone_files"],
            released_files=counts["released_files"],
            uncompared=counts["uncompared"],
            extra=extra,
            extra_bytes=extra_bytes,
            deleted=deleted,
            refused=refused,
            awaits_yes=awaits_yes,
            is_dry_run=self._context.is_dry_run,
        )

    def _finished(self, job_id: str) -> Job | None:
        """Return a finished job that copies files of a source; count any other one."""
        try:
            job, _ = self._joblist.load(job_id)
            require_understood(job.requires)
            if job.status in _LEFT:
                self._counts[job.status.value] += 1
                return None
            if job.export is not None or job.package is not None or PACKAGE in job.requires:
                self._counts["others"] += 1
                return None
            return with_destination(job, self._joblist.settings)
        except FileNotFoundError:
            return None
        except JobFileError as error:
            self._counts["invalid"] += 1
            self._emit(left_unreadable(job_id, error))
            return None

    def _one(self, job_id: str, job: Job) -> bool:
        """Look at one job; return True if it was put back."""
        look = look_at_source(self._joblist, job_id, job, self._looking)
        counts = self._counts
        counts["new_files"] += look.new.count
        counts["changed_files"] += look.changed.count
        counts["gone_files"] += look.gone.count
        counts["released_files"] += look.released
        counts["uncompared"] += look.uncompared
        for reason in look.failures:
            self.has_failures = True
            self._emit(SourceUnreadable(job=job.name, reason=reason))
        if look.extras:
            self.looked.append(Looked(job_id=job_id, job=job, look=look))
        is_put_back = look.has_changed and self._put_back(job_id, job, look)
        if look.has_changed or look.gone.count:
            self._emit(
                SourceChanged(
                    job=job.name,
                    new=look.new.count,
                    changed=look.changed.count,
                    gone=look.gone.count,
                    new_examples=look.new.examples,
                    changed_examples=look.changed.examples,
                    gone_examples=look.gone.examples,
                    is_put_back=is_put_back,
                    is_dry_run=self._context.is_dry_run,
                )
            )
        if look.failures:
            counts["unreadable"] += 1
        elif is_put_back:
            counts["changed"] += 1
        elif look.has_changed:
            counts["left_alone"] += 1
        else:
            counts["unchanged"] += 1
        return is_put_back and not self._context.is_dry_run

    def _put_back(self, job_id: str, job: Job, look: Look) -> bool:
        if self._context.is_dry_run:
            return True
        result = self._repair.job(job_id, job, look.off, event="update")
        if isinstance(result, LeftAlone):
            self._emit(result)
        return isinstance(result, PutBack)

    def _finish(self, job_id: str) -> None:
        """Complete a deletion of the job's extra files that was killed."""
        try:
            if not has_extras(self._joblist.deletions_path_of(job_id)):
                return
            require_own(self._joblist, job_id, trust=self._trust, function="update_joblist")
            claimed = claim_job(self._joblist, self._claims, job_id, job_id)
            if isinstance(claimed, LeftAlone):
                return
            with claimed:
                job = with_destination(claimed.job, self._joblist.settings)
                held = msgspec.structs.replace(
                    self._context,
                    require_held=claimed.claim.require_held,
                    owner=self._joblist.owner_of(job_id),
                )
                held.stores.reach_job(credential_scopes_of(job))
                failed = finish(self._joblist, self._claims, claimed, job.destination, held)
                for path, reason in failed:
                    self._emit(FileStays(job=claimed.job.name, path=path, reason=reason))
        except JoblistError as error:
            self._emit(LeftAlone(job=job_id, reason=str(error)))
        except JobFileError:
            return  # which is told when the job is looked at

    def _count_file(self) -> None:
        self._files += 1
        if self._files % 256 == 0:
            now = self._monotonic()
            if now - self._told_at >= _TELL_SECONDS:
                self._told_at = now
                self._emit(SourceLooked(jobs=self._jobs, of_jobs=self._of_jobs, files=self._files))
