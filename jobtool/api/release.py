"""``release_jobs``: frees the sources of what has been moved."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

import msgspec

from jobtool.api.options import require_threads
from jobtool.api.places import Place, local_path, opened, text_of
from jobtool.api.retry import names_of
from jobtool.errors import (
    InfrastructureError,
    JobFileError,
    JobtoolError,
    StoppedError,
    UsageError,
)
from jobtool.events import Emit, Event, ignore, unfailing
from jobtool.jobs.unknownjob import unknown_job
from jobtool.names import filename_of

if TYPE_CHECKING:
    from jobtool.audit.events import LeftAlone
    from jobtool.jobs.job import Job
    from jobtool.jobs.joblist import JobList
    from jobtool.release.context import ReleaseContext
    from jobtool.release.events import FileStays, JobReleased, TrashWaits
    from jobtool.release.jobplans import Senders
    from jobtool.stop import Stop

DEFAULT_THREADS = 8
DEFAULT_KEEP_DAYS = 30.0


class Released(msgspec.Struct, frozen=True, kw_only=True):
    """What ``release_jobs`` did or, without ``remove``, would do.

    ``jobs`` are the counts of each job, ``stays`` the files that stay with the reason, ``waits``
    the folders of the trash that aren't emptied yet, ``left_alone`` the jobs that a worker holds.
    """

    jobs: tuple[JobReleased, ...]
    stays: tuple[FileStays, ...]
    waits: tuple[TrashWaits, ...]
    left_alone: tuple[LeftAlone, ...]

    @property
    def files(self) -> int:
        """How many files went to the trash."""
        return sum(one.files for one in self.jobs)

    @property
    def bytes(self) -> int:
        """The size of these files."""
        return sum(one.bytes for one in self.jobs)

    @property
    def removed(self) -> int:
        """How many files were removed from the trash."""
        return sum(one.removed for one in self.jobs)

    @property
    def exit_code(self) -> int:
        """1 if a file stays that was to go, or a job file can't be read, else 0."""
        left = max((one.exit_code for one in self.left_alone), default=0)
        return max(left, 1 if self.stays else 0)


def release_jobs(
    joblist: Place | JobList,
    *,
    jobs: Collection[str] = (),
    remove: bool = False,
    only_trash: bool = False,
    keep_days: float = DEFAULT_KEEP_DAYS,
    trash: Place | None = None,
    deep: bool = False,
    threads: int = DEFAULT_THREADS,
    trust: bool = False,
    stop: Stop | None = None,
    on_event: Emit = ignore,
) -> Released:
    """Move the source files of finished jobs to a trash folder; remove what was long enough there.

    Each file is read again, and its copy at each destination is looked at. Only a file that is
    unchanged, and that every destination holds, goes. Without ``remove`` all is checked and nothing
    changed.

    Args:
        joblist: The folder, or an open joblist.
        jobs: The names of the jobs; empty for all that are done.
        remove: Do it. Otherwise the events say what would be done.
        only_trash: Only remove what has been in the trash for long enough.
        keep_days: How long files stay in the trash.
        trash: The trash folder, or the URL of its prefix. By default ``.jobtool-trash`` beside the
            source.
        deep: Read every destination again, too, even where the store computes digests itself.
        threads: How many files to read or look at at a time, 1 to 256.
        trust: Do it even if others could have written the joblist, and run the commands that its
            joblist.toml names for credentials.
        stop: Ends it early, by ``StoppedError``. The next call goes on.
        on_event: Called with each event. An exception from it stops nothing.

    Raises:
        UsageError: There is nothing at the path, a named job doesn't exist, or an argument is
            invalid.
        JoblistError: The folder isn't a joblist, or others could have written it.
        JobFileError: A job file can't be read: it may need the same files.
        StoppedError: ``stop`` was set.
        InfrastructureError: A store or the joblist can't be used.

    Examples:
        >>> jobtool.release_jobs("joblist").stays
        ()
    """
    from jobtool.audit.events import LeftAlone
    from jobtool.release.context import ReleaseContext
    from jobtool.release.events import FileStays, JobReleased, TrashWaits
    from jobtool.release.ownership import require_own
    from jobtool.stop import Stop
    from jobtool.transfer.retry import Retry
    from jobtool.transfer.stores_of import stores_of

    names = names_of(jobs)
    require_threads(threads)
    if not 0 <= keep_days <= 36500:
        raise UsageError(f"keep_days: expected a number from 0 to 36500; found {keep_days}")
    joblist = opened(joblist, trust=trust and not _is_open(joblist))
    require_own(joblist, *joblist.job_ids(), *joblist.job_ids_with_deletions(), trust=trust)
    emit = unfailing(on_event)
    kept: list[Event] = []

    def keep(event: Event) -> None:
        if isinstance(event, FileStays | JobReleased | TrashWaits | LeftAlone):
            kept.append(event)
        emit(event)

    stop = stop or Stop()
    context = ReleaseContext(
        stores=stores_of(joblist, connections=2 * threads),
        emit=keep,
        stop=stop,
        retry=Retry(stop=stop, patience_seconds=_PATIENCE_SECONDS),
        deep=deep,
        is_dry_run=not remove,
        threads=threads,
    )
    place = None if trash is None else _trash_of(trash)
    run = _Run(joblist, context, names, only_trash, keep_days, place)
    for event in run.events():
        keep(event)
    return Released(
        jobs=tuple(one for one in kept if isinstance(one, JobReleased)),
        stays=tuple(one for one in kept if isinstance(one, FileStays)),
        waits=tuple(one for one in kept if isinstance(one, TrashWaits)),
        left_alone=tuple(one for one in kept if isinstance(one, LeftAlone)),
    )


#: How long a store that doesn't answer is asked again, in seconds.
_PATIENCE_SECONDS = 20.0


class _Run:
    """One call: the jobs in turn, each under its claim."""

    def __init__(
        self,
        joblist: JobList,
        context: ReleaseContext,
        names: frozenset[str],
        only_trash: bool,
        keep_days: float,
        trash: str | None,
    ) -> None:
        from jobtool.jobs.claim import Claims

        self._joblist, self._context, self._names = joblist, context, names
        self._only_trash, self._keep_days, self._trash = only_trash, keep_days, trash
        self._claims = Claims.of(joblist)

    def events(self) -> Iterator[Event]:
        """Release the jobs, and yield what the context hasn't told."""
        from jobtool.release.jobplans import Senders

        with_trash = frozenset(self._joblist.job_ids_with_deletions())
        named = {filename_of(name) for name in self._names}
        known = frozenset(self._joblist.job_ids())
        missing = named - known - with_trash
        if missing:
            raise unknown_job(min(missing), known, joblist=self._joblist.path)
        for job_id in sorted(with_trash):
            if not named or job_id in named:
                yield from self._one(job_id, None)
        if self._only_trash:
            return
        senders = Senders(self._joblist)
        for job_id in sorted(senders.jobs):
            job = senders.jobs[job_id]
            if self._names and job.name not in self._names:
                continue
            if job.package is not None:
                yield from self._of_package(job)
            elif self._names or (job.export is None and job.status == "success"):
                yield from self._one(job_id, senders)

    def _of_package(self, job: Job) -> Iterator[Event]:
        """Tell what a step of a package would free. Workers do it."""
        from jobtool.release.events import FileStays
        from jobtool.worker.packages.freeing import free

        assert job.package is not None
        if job.package.step != "release":
            if self._names:
                reason = "expected a job that copies files, or the step release; found another one"
                yield FileStays(job=job.name, path=job.origin, reason=reason)
        elif job.status == "success":
            return
        elif not self._context.is_dry_run:
            reason = "it is a step of a package, which workers do: transfer-worker"
            yield FileStays(job=job.name, path=job.origin, reason=reason)
        else:
            try:
                yield free(self._joblist, job, self._context, trust=True)
            except (InfrastructureError, StoppedError):
                raise
            except JobtoolError as error:
                yield FileStays(job=job.name, path=job.origin, reason=str(error))

    def _one(self, job_id: str, senders: Senders | None) -> Iterator[Event]:
        """Release one job or, without ``senders``, empty its trash."""
        from jobtool.audit.events import LeftAlone
        from jobtool.audit.putback import claim_job

        if self._context.is_dry_run:
            yield from self._released(job_id, job_id, senders, self._context)
            return
        claimed = claim_job(self._joblist, self._claims, job_id, job_id)
        if isinstance(claimed, LeftAlone):
            yield claimed
            return
        with claimed:
            held = msgspec.structs.replace(
                self._context,
                require_held=claimed.claim.require_held,
                owner=self._joblist.owner_of(job_id),
            )
            if senders is not None:
                senders.refresh(job_id, claimed.job)
            yield from self._released(job_id, claimed.job.name, senders, held)

    def _released(
        self, job_id: str, name: str, senders: Senders | None, context: ReleaseContext
    ) -> Iterator[Event]:
        from jobtool.release.deletionlog import DeletionLog
        from jobtool.release.destinations import UnprovenError
        from jobtool.release.emptying import empty_trash
        from jobtool.release.events import FileStays
        from jobtool.release.jobplans import plan_of_job
        from jobtool.release.release import release
        from jobtool.transfer.credentialscopes import credential_scopes_of

        log = DeletionLog(self._joblist.deletions_path_of(job_id), context.require_held)
        joblist_id = self._joblist.settings.id
        if senders is None:
            if log.trashed or log.unfinished:
                done = empty_trash(name, job_id, log, joblist_id=joblist_id, context=context)
                if done.removed or done.stay:
                    yield done
            return
        job = senders.jobs[job_id]
        context.stores.reach_job(credential_scopes_of(job))
        try:
            plan = plan_of_job(
                self._joblist,
                job_id,
                senders,
                context,
                keep_days=self._keep_days,
                trash=self._trash,
            )
        except (UnprovenError, JobFileError) as error:
            yield FileStays(job=job.name, path=job.origin, reason=str(error))
            return
        yield release(plan, log, joblist_id=joblist_id, context=context)


def _trash_of(trash: Place) -> str:
    text = text_of(trash)
    return text if "://" in text else local_path(text)


def _is_open(joblist: Place | JobList) -> bool:
    from jobtool.jobs.joblist import JobList

    return isinstance(joblist, JobList)
