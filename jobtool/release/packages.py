"""The release of packages: of the source whose files a package holds, and of a package in a buffer.

A package goes as a whole or not at all. A worker's step calls ``release_source`` or
``release_package``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import msgspec

from jobtool.jobs.joblist import JobList
from jobtool.jobs.records import Receipt
from jobtool.packages.manifest import Manifest
from jobtool.packages.members import MemberList
from jobtool.release.context import ReleaseContext
from jobtool.release.deletionlog import DeletionLog
from jobtool.release.destinations import UnprovenError
from jobtool.release.events import FileStays, JobReleased
from jobtool.release.ownership import require_own
from jobtool.release.plan import DEFAULT_KEEP_DAYS, ReleasePlan, open_place
from jobtool.release.release import release
from jobtool.stores.location import parent_of


class PackedAt(msgspec.Struct, frozen=True, kw_only=True):
    """A required destination that holds the package. ``receipt`` is that of its tar there."""

    receipt: Receipt


class UnpackedAt(msgspec.Struct, frozen=True, kw_only=True):
    """A required destination that holds the members as files.

    ``root`` is the URL that they lie below, with their paths in the package. ``receipts`` yields
    those of the unpacking, oldest first.
    """

    root: str
    receipts: Callable[[], Iterator[Receipt]]


#: What a destination must hold.
Required = PackedAt | UnpackedAt


def release_source(
    joblist: JobList,
    job_id: str,
    package: str,
    *,
    source: str,
    members: MemberList,
    manifest: Manifest,
    required: Sequence[Required],
    context: ReleaseContext,
    keep_days: float = DEFAULT_KEEP_DAYS,
    trash: str | None = None,
    trust: bool = False,
) -> JobReleased:
    """Release the source files of a package.

    ``job_id`` is the job whose log of deletions is written, ``source`` the URL that the members'
    source paths are below, ``manifest`` that of the package as it was sent. The tar is composed
    anew of the files as they are now: its MD5 must be that of the manifest, and every one of
    ``required`` must hold it, or the members, now. ``trash`` is the path or URL of another trash.

    Returns the counts; files that stay are events. Raises ``JoblistError`` if others could have
    written the joblist, unless ``trust``, and the errors of ``release``.
    """
    from jobtool.release.sourcecheck import SourceCheck

    def plan() -> ReleasePlan:
        place = open_place(source, context, trash=trash)
        return ReleasePlan(
            name=package,
            job_id=job_id,
            place=place,
            check=SourceCheck(place, package, members, manifest, required).run,
            keep_days=keep_days,
            is_whole=True,
        )

    return _release(joblist, job_id, package, source, plan, required, context, trust)


def release_package(
    joblist: JobList,
    job_id: str,
    package: str,
    *,
    tar: str,
    required: Sequence[Required],
    context: ReleaseContext,
    keep_days: float = DEFAULT_KEEP_DAYS,
    trash: str | None = None,
    trust: bool = False,
) -> JobReleased:
    """Release a package in a buffer: its tar at the path or URL ``tar``, its index and manifest.

    All is read again here, and every one of ``required`` must hold the package, or its members,
    now. For the arguments, the result and the errors see ``release_source``.
    """
    from jobtool.release.buffercheck import BufferCheck

    folder = parent_of(tar)[0]

    def plan() -> ReleasePlan:
        place = open_place(folder, context, trash=trash)
        return ReleasePlan(
            name=package,
            job_id=job_id,
            place=place,
            check=BufferCheck(place, tar, required).run,
            keep_days=keep_days,
            is_whole=True,
        )

    return _release(joblist, job_id, package, tar, plan, required, context, trust)


def _release(
    joblist: JobList,
    job_id: str,
    package: str,
    path: str,
    plan: Callable[[], ReleasePlan],
    required: Sequence[Required],
    context: ReleaseContext,
    trust: bool,
) -> JobReleased:
    require_own(joblist, job_id, trust=trust)
    log = DeletionLog(joblist.deletions_path_of(job_id), context.require_held)
    try:
        if not required:
            raise UnprovenError("no destination is required to have it, so nothing proves it")
        made = plan()
    except UnprovenError as error:
        context.emit(FileStays(job=package, path=path, reason=str(error)))
        return JobReleased(job=package, stay=1, is_dry_run=context.is_dry_run)
    return release(made, log, joblist_id=joblist.settings.id, context=context)
