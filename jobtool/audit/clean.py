"""Cleaning up: unfinished uploads and temporary files of a joblist, and nothing that isn't ours."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ClassVar

from jobtool.audit.retry import LeftAlone
from jobtool.errors import JobFileError, NotFoundError
from jobtool.events import Event
from jobtool.jobs.blocks import Blocks
from jobtool.jobs.claim import Claims
from jobtool.jobs.held import HeldJob
from jobtool.jobs.job import Job, JobStatus
from jobtool.jobs.joblist import JobList
from jobtool.layouts.destination import with_destination
from jobtool.names import quote
from jobtool.stores.registry import StoreRegistry
from jobtool.stores.store import Attributes, Entry, Upload
from jobtool.stores.urls import is_absolute, parent_of
from jobtool.transfer.purposes import purposes_of
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
    bears the job's tag. Raises ``WorldError``.
    """
    claims = Claims.of(joblist)
    for stem in joblist.stems():
        try:
            job = with_destination(joblist.load(stem)[0], joblist.settings)
        except (JobFileError, FileNotFoundError):
            continue
        held = HeldJob.take(joblist, claims, stem, lambda: datetime.now(UTC))
        if held is None:
            yield LeftAlone(job=job.name, reason="a worker is on it")
            continue
        with held:
            stores.reach_job(purposes_of(job))
            if remove:
                joblist.remove_temporaries(stem)
            yield from _offers(joblist, stem, job, claims, remove=remove)
            yield from _uploads(joblist, stem, job, stores, remove=remove)
            yield from _temporaries(joblist, stem, job, stores, remove=remove)


def _offers(
    joblist: JobList, stem: str, job: Job, claims: Claims, *, remove: bool
) -> Iterator[Leftover]:
    """Find what is left of lending once a job is over: its receipts are in the table."""
    if job.status is not JobStatus.SUCCESS:
        return
    path = joblist.blocks_path_of(stem)
    if os.path.isdir(path):
        if remove:
            Blocks(path, claims).remove()
        yield Leftover(job=job.name, what="what was lent", path=path, removed=remove)


def _uploads(
    joblist: JobList, stem: str, job: Job, stores: StoreRegistry, *, remove: bool
) -> Iterator[Leftover]:
    begun = open_uploads(joblist.journal_of(stem).read())
    for token, url in begun.items():
        folder, name = parent_of(url)
        store = stores.open(folder, "destination", owner=joblist.owner_of(stem))
        if store.capabilities.leaves_temporaries:
            continue  # found by its name
        upload = Upload(path=name, token=token, attributes=Attributes(mtime_ns=0))
        try:
            store.held_parts(upload, ())
        except NotFoundError:
            continue
        if remove:
            with contextlib.suppress(NotFoundError):
                store.abort(upload)
        yield Leftover(job=job.name, what="an unfinished upload", path=url, removed=remove)


def _temporaries(
    joblist: JobList, stem: str, job: Job, stores: StoreRegistry, *, remove: bool
) -> Iterator[Leftover]:
    owner = joblist.owner_of(stem)
    for folder, name in _targets(job).items():
        store = stores.open(folder, "destination", owner=owner)
        for upload in store.leftovers(name, 0) if store.capabilities.leaves_temporaries else ():
            if remove:
                store.abort(upload)
            yield _temporary(job, upload.token, remove=remove)
    if job.files or job.destination is None:
        return
    store = stores.open(job.destination, "destination", owner=owner)
    if store.capabilities.leaves_temporaries and store.kind("") == "folder":
        for entry in store.list():
            if isinstance(entry, Entry) and store.is_leftover(entry.path):
                if remove:
                    store.delete(entry.path)
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
