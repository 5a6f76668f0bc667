"""Cleaning up: unfinished uploads and temporary files of a joblist, and nothing that isn't ours."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import ClassVar

from jobtool.audit.retry import LeftAlone, take
from jobtool.errors import (
    FileError,
    JoblistUnavailableError,
    JobtoolError,
    NotFoundError,
    Scope,
    WorldError,
)
from jobtool.events import Event
from jobtool.jobs.blocks import Blocks
from jobtool.jobs.claim import Claims
from jobtool.jobs.job import Job, JobStatus
from jobtool.jobs.joblist import JobList
from jobtool.jobs.journal import read_journals
from jobtool.layouts.destination import with_destination
from jobtool.names import quote
from jobtool.stores.location import is_absolute, is_local, parent_of, parse
from jobtool.stores.optional import Multipart, Temporaries
from jobtool.stores.registry import StoreRegistry
from jobtool.stores.store import Attributes, Entry, Unlisted, Upload, kind_of
from jobtool.transfer.credentialscopes import credential_scopes_of
from jobtool.transfer.resume import open_uploads


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover(Event):
    """Something unfinished that a worker of this joblist left behind."""

    kind: ClassVar[str] = "leftover"
    job: str
    what: str
    path: str
    removed: bool

    def text(self) -> str:
        """Return the sentence."""
        verb = "Removed" if self.removed else "Would remove"
        return f"{verb} {self.what} of {quote(self.job)}: {quote(self.path)}"


def clean(
    joblist: JobList, stores: StoreRegistry, *, remove: bool
) -> Iterator[Leftover | LeftAlone]:
    """Yield what was left behind, removing it if ``remove``. Jobs that a worker holds are left.

    Uploads count as ours if a journal of this joblist names them, temporary files if their name
    bears the job's tag. What can't be looked at is yielded with the reason. A bucket that can't be
    used is tried once, unless each job has credentials of its own.

    Raises ``JoblistUnavailableError``.
    """
    claims = Claims.of(joblist)
    broken: dict[str, WorldError] = {}
    for job_id in joblist.job_ids():
        try:
            job = with_destination(joblist.load(job_id)[0], joblist.settings)
            buckets = _buckets(job)
        except FileNotFoundError:
            continue
        except JobtoolError as error:
            yield _unreached(job_id, error)
            continue
        known = next((broken[bucket] for bucket in buckets if bucket in broken), None)
        if known is not None:
            yield _unreached(job.name, known)
            continue
        claimed = take(joblist, claims, job_id, job.name)
        if isinstance(claimed, LeftAlone):
            yield claimed
            continue
        try:
            with claimed:
                job = with_destination(claimed.job, joblist.settings)  # it may be another by now
                yield from _clean(joblist, job_id, job, stores, claims, remove=remove)
        except JoblistUnavailableError:
            raise
        except JobtoolError as error:
            if isinstance(error, WorldError) and len(buckets) == 1 and not _is_per_job(stores):
                broken.update(dict.fromkeys(buckets, error))
            yield _unreached(job.name, error)


def _clean(
    joblist: JobList,
    job_id: str,
    job: Job,
    stores: StoreRegistry,
    claims: Claims,
    *,
    remove: bool,
) -> Iterator[Leftover | LeftAlone]:
    """Yield what one job left behind, and remove it. Raises ``FileError`` and ``WorldError``."""
    if remove:
        joblist.remove_temporaries(job_id)
    stores.reach_job(credential_scopes_of(job))
    yield from _uploads(joblist, job_id, job, stores, remove=remove)
    yield from _temporaries(joblist, job_id, job, stores, remove=remove)
    # Last: the journals in it name uploads.
    yield from _offers(joblist, job_id, job, claims, remove=remove)


def _is_per_job(stores: StoreRegistry) -> bool:
    """Tell whether some job may have other credentials than another."""
    return any(holder.provider.is_per_purpose for holder in stores.credential_holders())


def _unreached(name: str, error: JobtoolError) -> LeftAlone:
    code = error.exit_code if error.scope is Scope.STORE else JobtoolError.exit_code
    return LeftAlone(job=name, reason=str(error), exit_code=code)


def _buckets(job: Job) -> set[str]:
    """Return the buckets that a job's files go to; what folders of this machine are is cheap."""
    return {parse(folder).root for folder in _targets(job) if not is_local(folder)}


def _offers(
    joblist: JobList, job_id: str, job: Job, claims: Claims, *, remove: bool
) -> Iterator[Leftover]:
    """Find what is left of lending once a job is over: its receipts are in the table."""
    if job.status is not JobStatus.SUCCESS:
        return
    path = joblist.blocks_path_of(job_id)
    if os.path.isdir(path):
        if remove:
            Blocks(path, claims).remove()
        yield Leftover(job=job.name, what="what was lent", path=path, removed=remove)


def _uploads(
    joblist: JobList, job_id: str, job: Job, stores: StoreRegistry, *, remove: bool
) -> Iterator[Leftover | LeftAlone]:
    lines = joblist.journal_of(job_id).read()
    lent = read_journals(joblist.blocks_path_of(job_id))
    for token, url in open_uploads(chain(lines, lent)).items():
        folder, name = parent_of(url)
        store = stores.open(folder, "destination", owner=joblist.owner_of(job_id))
        if isinstance(store, Temporaries) or not isinstance(store, Multipart):
            continue  # found by its name, or unknown here
        upload = Upload(path=name, token=token, attributes=Attributes(mtime_ns=0))
        try:
            store.held_parts(upload, ())
            if remove:
                store.abort(upload)
        except NotFoundError:
            continue
        except FileError as error:
            yield _unreached(job.name, error)
            continue
        yield Leftover(job=job.name, what="an unfinished upload", path=url, removed=remove)


def _temporaries(
    joblist: JobList, job_id: str, job: Job, stores: StoreRegistry, *, remove: bool
) -> Iterator[Leftover | LeftAlone]:
    owner = joblist.owner_of(job_id)
    for folder, name in _targets(job).items():
        store = stores.open(folder, "destination", owner=owner)
        if not isinstance(store, Temporaries):
            continue
        try:
            found = store.leftovers(name, 0)
        except FileError as error:
            yield _unreached(job.name, error)
            continue
        for upload in found:
            try:
                if remove:
                    store.abort(upload)
            except FileError as error:
                yield _unreached(job.name, error)
                continue
            yield _temporary(job, upload.token, remove=remove)
    if job.files or job.destination is None:
        return
    store = stores.open(job.destination, "destination", owner=owner)
    if isinstance(store, Temporaries) and kind_of(store, "") == "folder":
        for entry in store.list():
            if isinstance(entry, Unlisted):
                yield _unreached(job.name, entry.error)
            elif isinstance(entry, Entry) and store.is_leftover(entry.path):
                try:
                    if remove:
                        store.delete(entry.path)
                except FileError as error:
                    yield _unreached(job.name, error)
                    continue
                yield _temporary(job, store.url_of(entry.path), remove=remove)


def _targets(job: Job) -> dict[str, str]:
    """Return each folder that gets single files of the job, with the name of one of them."""
    if not job.files:
        return {} if job.destination is None else dict([parent_of(job.destination)])
    root = "" if job.destination is None else job.destination.rstrip("/") + "/"
    paths = (pair.destination for pair in job.files)
    return dict(parent_of(path if is_absolute(path) else root + path) for path in paths)


def _temporary(job: Job, path: str, *, remove: bool) -> Leftover:
    return Leftover(job=job.name, what="a temporary file", path=path, removed=remove)
