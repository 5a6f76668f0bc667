"""The deletion of extra files: what is listed, what is refused, what goes."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from jobtool.audit.events import LeftAlone
from jobtool.audit.putback import claim_job
from jobtool.errors import JobtoolError
from jobtool.jobs.claim import Claims
from jobtool.jobs.job import Job, JobStatus
from jobtool.jobs.joblist import JobList
from jobtool.layouts.destination import with_destination
from jobtool.mirror.deleting import delete_extras, finish
from jobtool.mirror.events import DeletionRefused, ExtraFile
from jobtool.mirror.listed import ListedFile, read_list, remove_list, write_list
from jobtool.mirror.mounts import why_unmounted
from jobtool.mirror.rules import Overlaps, why_folder_empty, why_job_stays
from jobtool.mirror.sourcelook import Extra
from jobtool.mirror.updating import Looked, Update
from jobtool.release.context import ReleaseContext
from jobtool.release.destinations import UnprovenError
from jobtool.release.events import FileStays, JobReleased
from jobtool.release.sent import RealFolders
from jobtool.stores.location import absolute, is_local, parent_of
from jobtool.transfer.credentialscopes import credential_scopes_of


class Deletion(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for.

    With ``is_confirmed`` no list is needed. ``max_files`` is the largest number of files to delete,
    None for the rule about a job's share. ``keep_days`` says how long they stay in the trash,
    ``trash`` where that is; None for beside the destination.
    """

    is_confirmed: bool
    max_files: int | None
    keep_days: float
    trash: str | None


class Pruned(msgspec.Struct, kw_only=True):
    """How many extra files there are, their bytes, and how many were deleted or refused."""

    extra: int = 0
    extra_bytes: int = 0
    deleted: int = 0
    refused: int = 0
    awaits_yes: bool = False


class _Candidates(msgspec.Struct, frozen=True, kw_only=True):
    looked: Looked
    extras: list[Extra]


class Pruning:
    """Lists the extra files that an ``update`` has found, and deletes them.

    ``update`` has looked at all jobs. ``context`` is its context.
    """

    def __init__(
        self, joblist: JobList, update: Update, deletion: Deletion, context: ReleaseContext
    ) -> None:
        self._joblist, self._update, self._deletion = joblist, update, deletion
        self._context, self._emit = context, context.emit
        self._claims = Claims.of(joblist)
        self._pruned = Pruned()

    def run(self) -> Pruned:
        """List and, if that is confirmed, delete. Raises the errors of ``delete_extras``."""
        found = [each for each in self._update.looked if each.look.extras]
        count = sum(len(each.look.extras) for each in found)
        reason = self._why_none(count)
        if reason is not None:
            if count:
                self._refuse("", count, reason)
            return self._pruned
        candidates = self._without_other_jobs([*filter(None, map(self._of_job, found))])
        files = [one for each in candidates for one in self._listed(each)]
        for one in files:
            self._emit(ExtraFile(job=one.job, path=one.path, bytes=one.size))
        self._pruned.extra = len(files)
        self._pruned.extra_bytes = sum(one.size for one in files)
        most = self._deletion.max_files
        if most is not None and len(files) > most:
            self._refuse("", len(files), f"no more than {most} may be deleted (--max-delete)")
            return self._pruned
        if not files:
            return self._pruned
        if not self._may_delete(files):
            write_list(self._joblist, files, self._context.now())
            self._pruned.awaits_yes = True
            return self._pruned
        for each in candidates:
            self._delete(each)
        remove_list(self._joblist)
        return self._pruned

    def _may_delete(self, files: Sequence[ListedFile]) -> bool:
        if self._context.is_dry_run:
            return False
        if self._deletion.is_confirmed:
            return True
        return read_list(self._joblist, self._context.now()).holds_all(files)

    def _why_none(self, count: int) -> str | None:
        """Return why nothing of the whole joblist is deleted; None if something may be."""
        if self._update.has_failures:
            return "a part of the source can't be read. Nothing is deleted until all of it can be"
        source = self._joblist.settings.source
        if count and source is not None and is_local(source):
            return why_unmounted(source)
        return None

    def _of_job(self, found: Looked) -> _Candidates | None:
        """Return the extra files of a job that may go."""
        look, job = found.look, found.job
        reason = why_job_stays(
            look, extra=len(look.extras), has_limit=self._deletion.max_files is not None
        )
        if reason is None and job.source is not None and is_local(job.source):
            reason = why_unmounted(job.source)
        if reason is not None:
            self._refuse(job.name, len(look.extras), reason)
            return None
        kept: list[Extra] = []
        hidden: dict[str, int] = {}
        for extra in look.extras:
            why = None if extra.is_excluded else why_folder_empty(extra.path, look.empty_folders)
            if why is None:
                kept.append(extra)
            else:
                hidden[why] = hidden.get(why, 0) + 1
        for why, count in hidden.items():
            self._refuse(job.name, count, why)
        return _Candidates(looked=found, extras=kept) if kept else None

    def _without_other_jobs(self, candidates: list[_Candidates]) -> list[_Candidates]:
        """Leave out files that another job of the joblist has brought, or may bring."""
        if not candidates:
            return []
        jobs, problem = self._all_jobs()
        if problem is not None:
            self._refuse("", sum(len(each.extras) for each in candidates), problem)
            return []
        folders = RealFolders()  # a link may lead two jobs to one place
        overlaps = Overlaps(
            {job_id: [*map(folders.place, _roots(job))] for job_id, job in jobs.items()}
        )
        ids = [each.looked.job_id for each in candidates]
        kept = []
        for each in candidates:
            others = overlaps.of(each.looked.job_id, ids)
            waiting = [one for one in sorted(others) if jobs[one].status is not JobStatus.SUCCESS]
            if waiting:
                name = jobs[waiting[0]].name
                reason = f"the job {name} brings files to the same place, and isn't done"
                self._refuse(each.looked.job.name, len(each.extras), reason)
                continue
            places = {extra.place: folders.file(extra.receipt.dst_path) for extra in each.extras}
            wanted = {*places.values()}
            theirs = {
                place
                for one in others
                for receipt in self._joblist.receipts_of(one)
                if (place := folders.file(receipt.dst_path)) in wanted
            }
            own = [extra for extra in each.extras if places[extra.place] not in theirs]
            if len(own) < len(each.extras):
                reason = "another job of this joblist has brought them, too"
                self._refuse(each.looked.job.name, len(each.extras) - len(own), reason)
            if own:
                kept.append(_Candidates(looked=each.looked, extras=own))
        return kept

    def _all_jobs(self) -> tuple[dict[str, Job], str | None]:
        """Return all jobs, or why one can't be read: it may need the same files."""
        jobs: dict[str, Job] = {}
        for job_id in self._joblist.job_ids():
            try:
                loaded, _ = self._joblist.load(job_id)
                jobs[job_id] = with_destination(loaded, self._joblist.settings)
            except FileNotFoundError:
                continue
            except JobtoolError as error:
                return {}, f"a job can't be read, and may need them: {error}"
        return jobs, None

    def _listed(self, each: _Candidates) -> list[ListedFile]:
        return [
            ListedFile(
                job=each.looked.job.name,
                path=extra.receipt.dst_path,
                source=extra.receipt.src_path,
                size=extra.receipt.stored_size,
            )
            for extra in each.extras
        ]

    def _delete(self, each: _Candidates) -> None:
        """Delete the extra files of a job under its claim."""
        job_id, before = each.looked.job_id, each.looked.job
        claimed = claim_job(self._joblist, self._claims, job_id, before.name)
        if isinstance(claimed, LeftAlone):
            self._emit(claimed)
            self._pruned.refused += len(each.extras)
            return
        with claimed:
            job = with_destination(claimed.job, self._joblist.settings)
            if job != before:
                reason = "the job has changed since its source was looked at"
                self._refuse(job.name, len(each.extras), reason)
                return
            context = msgspec.structs.replace(
                self._context,
                require_held=claimed.claim.require_held,
                owner=self._joblist.owner_of(job_id),
            )
            context.stores.reach_job(credential_scopes_of(job))
            try:
                done: JobReleased = delete_extras(
                    self._joblist,
                    claimed,
                    job,
                    each.extras,
                    context,
                    keep_days=self._deletion.keep_days,
                    trash=self._deletion.trash,
                )
            except UnprovenError as error:
                self._refuse(job.name, len(each.extras), str(error))
                return
            finally:
                failed = finish(self._joblist, self._claims, claimed, job.destination, context)
            for path, reason in failed:
                self._emit(FileStays(job=job.name, path=path, reason=reason))
            self._emit(done)
            self._pruned.deleted += done.files
            self._pruned.refused += done.stay + len(failed)

    def _refuse(self, job: str, files: int, reason: str) -> None:
        self._pruned.refused += files
        self._emit(DeletionRefused(job=job, files=files, reason=reason))


def _roots(job: Job) -> list[str]:
    """Return the places that a job brings files to."""
    if not job.files:
        return [] if job.destination is None else [job.destination]
    return [*{parent_of(absolute(job.destination, pair.destination))[0] for pair in job.files}]
