"""What a package leaves behind at a site, and freeing it: for the step and for a dry run."""

from __future__ import annotations

import contextlib
from functools import partial

from jobtool.errors import JobFileError, JobtoolError, NotYetError
from jobtool.jobs.job import Job, JobStatus
from jobtool.jobs.joblist import JobList
from jobtool.jobs.lastreceipts import last_at
from jobtool.jobs.packagechain import landing_of, legs_of, task_of
from jobtool.jobs.packagesettings import PackageSettings
from jobtool.jobs.packagetask import job_name
from jobtool.jobs.records import Receipt
from jobtool.names import filename_of, quote
from jobtool.packages.manifest import tar_name
from jobtool.packages.memberfile import read_members
from jobtool.release.context import ReleaseContext
from jobtool.release.deletionlog import DeletionLog, read_deletions
from jobtool.release.emptying import empty_trash
from jobtool.release.events import JobReleased
from jobtool.release.ownership import require_own
from jobtool.release.packages import (
    PackedAt,
    Required,
    UnpackedAt,
    release_package,
    release_source,
)
from jobtool.release.records import TrashedRecord
from jobtool.stores.location import join
from jobtool.worker.packages.copies import buffers_of, kept_manifest
from jobtool.worker.packages.way import LOOK_AGAIN_SECONDS


class VanishedError(JobtoolError):
    """What is to be freed isn't there, and nothing says that it was freed."""

    retryable = True


class StillNeededError(NotYetError):
    """Another job of the package may still read what would be freed."""


def free(joblist: JobList, job: Job, context: ReleaseContext, *, trust: bool) -> JobReleased:
    """Free what a package leaves behind at the site of a job of the step ``release``.

    Returns the sum, which the caller emits; what stays is told by events. What is freed in buffers
    is removed at once, what is freed of the source lies in the trash for as long as ``[packages]``
    says. With a context that is a dry run nothing is changed.

    Raises ``StillNeededError``, ``JoblistError`` for a joblist that others could have written
    unless ``trust``, ``JobFileError``, and the errors of stores and of claims.
    """
    try:
        return _free(joblist, job, context, trust=trust)
    except FileNotFoundError as error:
        raise _needed(
            f"a job of the package isn't there yet: {quote(str(error.filename))}"
        ) from None


def _free(joblist: JobList, job: Job, context: ReleaseContext, *, trust: bool) -> JobReleased:
    task, job_id = task_of(job), filename_of(job.name)
    settings, site = joblist.settings.packages, task.to
    manifest = kept_manifest(joblist, task.package)
    if settings is None or manifest is None:
        raise JobFileError(
            f"job {quote(job.name)}: expected a table [packages] in joblist.toml and the manifest "
            f"of {quote(task.package)}; one of them is missing"
        )
    require_own(
        joblist,
        *_deciding(joblist, settings, job),
        files=(joblist.members_path_of(task.package), joblist.manifest_path_of(task.package)),
        trust=trust,
    )
    is_origin = settings.origin is not None and settings.origin.partition(".")[0] == site
    if settings.receive is not None:
        required = _required_here(joblist, settings, task.package)
    else:
        required = [
            _required(joblist, settings, task.package, to)
            for to in settings.to
            if is_origin or to == site or _passes(joblist, task.package, to, site)
        ]
    files = size = stay = 0
    for url, place in buffers_of(joblist, job):
        _require_unneeded(joblist, settings, task.package, place)
        done = release_package(
            joblist,
            job_id,
            task.package,
            tar=join(url, tar_name(task.package)),
            required=required,
            context=context,
            keep_days=0,
            trust=trust,
        )
        files, size, stay = files + done.files, size + done.bytes, stay + done.stay
        if not (done.files or done.stay):
            _require_freed(joblist, job_id, join(url, tar_name(task.package)))
        if not context.is_dry_run:
            log = DeletionLog(joblist.deletions_path_of(job_id), context.require_held)
            empty_trash(task.package, job_id, log, joblist_id=joblist.settings.id, context=context)
    frees_source = is_origin and settings.release == "source"
    if frees_source and joblist.settings.source is not None and not stay:
        done = release_source(
            joblist,
            job_id,
            task.package,
            source=joblist.settings.source,
            members=read_members(joblist.members_path_of(task.package)),
            manifest=manifest,
            required=required,
            context=context,
            keep_days=settings.keep_days,
            trust=trust,
        )
        files, size, stay = files + done.files, size + done.bytes, stay + done.stay
    return JobReleased(
        job=job.name, files=files, bytes=size, stay=stay, is_dry_run=context.is_dry_run
    )


def _deciding(joblist: JobList, settings: PackageSettings, job: Job) -> set[str]:
    """Return the IDs of the jobs whose files and receipts say what may be freed."""
    package, sites = task_of(job).package, {task_of(job).to, *settings.to}
    if settings.receive is not None:
        sites.add(settings.receive.site)
    names = {job.name, job_name(package, "pack")}
    for site in sites:
        names |= {job_name(package, step, site) for step in ("copy", "unpack", "archive")}
    for to in settings.to:
        names |= {each.name for each in legs_of(joblist, package, to)}
    return {filename_of(name) for name in names}


def _require_freed(joblist: JobList, job_id: str, tar: str) -> None:
    """Raise ``VanishedError`` unless the log says that a package that is gone was freed here."""
    for record in read_deletions(joblist.deletions_path_of(job_id)):
        if isinstance(record, TrashedRecord) and record.path == tar:
            return
    raise VanishedError(
        f"expected the package {quote(tar)}, or a record that this job has freed it; found "
        "neither. Is its filesystem mounted here? If you have removed it yourself, remove this "
        "job's file."
    )


def _passes(joblist: JobList, package: str, to: str, site: str | None) -> bool:
    """Return True if the way of a package to another site leads through this one."""
    places = [place for leg in legs_of(joblist, package, to) for place in task_of(leg).way]
    return any(place.partition(".")[0] == site for place in places)


def _required(joblist: JobList, settings: PackageSettings, package: str, to: str) -> Required:
    """Return what a destination must hold: the archived package, else its members, else the tar.

    Raises ``StillNeededError`` if it hasn't arrived there.
    """
    made = _made_at(joblist, settings, package, to)
    if made is not None:
        return made
    landing = landing_of(joblist, package, to)
    if landing is None:
        raise _needed(f"package {quote(package)} hasn't arrived at {to}")
    return PackedAt(receipt=_tar_receipt(joblist, _finished(joblist, landing.job)))


def _required_here(joblist: JobList, settings: PackageSettings, package: str) -> list[Required]:
    """Return what must hold a package that was received: this site, and the next ones."""
    assert settings.receive is not None
    made = _made_at(joblist, settings, package, settings.receive.site)
    required = [] if made is None else [made]
    for to in settings.to:
        leg = _finished(joblist, job_name(package, "copy", to))
        required.append(PackedAt(receipt=_tar_receipt(joblist, leg)))
    return required


def _made_at(
    joblist: JobList, settings: PackageSettings, package: str, site: str | None
) -> Required | None:
    """Return what the steps at a site have made of a package; None if they make nothing."""
    if "archive" in settings.steps:
        job = _finished(joblist, job_name(package, "archive", site))
        return PackedAt(receipt=_tar_receipt(joblist, job))
    if "unpack" in settings.steps:
        job = _finished(joblist, job_name(package, "unpack", site))
        return UnpackedAt(
            root=str(job.destination),
            receipts=partial(joblist.receipts_of, filename_of(job.name)),
        )
    return None


def _finished(joblist: JobList, name: str) -> Job:
    job, _ = joblist.load(filename_of(name))
    if job.status is not JobStatus.SUCCESS:
        raise _needed(f"job {quote(name)} isn't a success")
    return job


def _tar_receipt(joblist: JobList, job: Job) -> Receipt:
    """Return the last receipt of a package's tar, by the job that has brought it."""
    task = task_of(job)
    if task.brought_by is not None:
        return _tar_receipt(joblist, joblist.load(filename_of(task.brought_by))[0])
    url = join(str(job.destination), tar_name(task.package))
    found = last_at(joblist.receipts_of(filename_of(job.name)), url)
    if found is None:
        raise JobFileError(f"job {quote(job.name)}: expected a receipt of {quote(url)}; found none")
    return found


def _require_unneeded(
    joblist: JobList, settings: PackageSettings, package: str, place: str
) -> None:
    """Raise ``StillNeededError`` if another job may still read the package at a place.

    That is a leg that may begin there, or a step at the site where the package has landed. Each of
    these may have been put back since it was done.
    """
    landed = [] if settings.receive is None else [settings.receive.site]
    for to in settings.to:
        legs = legs_of(joblist, package, to)
        for leg in legs:
            way = task_of(leg).way
            if leg.status is not JobStatus.SUCCESS and (not way or place in way[:-1]):
                raise _needed(f"job {quote(leg.name)} may still read the package at {place}")
        if settings.receive is None and place in task_of(legs[-1]).way[-1:]:
            landed.append(to)
    for site in landed:
        for step in settings.steps:
            name = job_name(package, step, site)
            with contextlib.suppress(FileNotFoundError):
                if joblist.status_of(filename_of(name)) is not JobStatus.SUCCESS:
                    raise _needed(f"job {quote(name)} may still read the package at {place}")


def _needed(why: str) -> StillNeededError:
    return StillNeededError(why, seconds=LOOK_AGAIN_SECONDS, files=0)
