"""What the attempts at one job have left behind."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain

from jobtool.audit.events import LeftAlone, Leftover
from jobtool.errors import FileError, JobtoolError, NotFoundError, Scope
from jobtool.jobs.claim import Claims
from jobtool.jobs.job import Job, JobStatus
from jobtool.jobs.joblist import JobList
from jobtool.jobs.journal import read_journals
from jobtool.jobs.records import Record
from jobtool.sharing.batches import Batches
from jobtool.stores.location import absolute, parent_of
from jobtool.stores.optional import Multipart, Temporaries, supports
from jobtool.stores.registry import StoreRegistry
from jobtool.stores.store import Attributes, Entry, Unlisted, Upload, kind_of
from jobtool.transfer.credentialscopes import credential_scopes_of
from jobtool.transfer.leftovers import open_streams, open_uploads


class Leftovers:
    """The leftovers of the jobs of a joblist; with ``remove`` they are removed when found."""

    def __init__(
        self, joblist: JobList, stores: StoreRegistry, claims: Claims, *, remove: bool
    ) -> None:
        self._joblist = joblist
        self._stores = stores
        self._claims = claims
        self._remove = remove

    def of(self, job_id: str, job: Job) -> Iterator[Leftover | LeftAlone]:
        """Yield what one job has left behind; the caller holds its claim.

        Raises ``FileError`` and ``InfrastructureError``.
        """
        if self._remove:
            self._joblist.remove_temporaries(job_id)
        self._stores.reach_job(credential_scopes_of(job))
        yield from self._uploads(job_id, job)
        yield from self._temporaries(job_id, job)
        # Last, because the journals of batches name uploads.
        yield from self._blocks(job_id, job)

    def _uploads(self, job_id: str, job: Job) -> Iterator[Leftover | LeftAlone]:
        owner = self._joblist.owner_of(job_id)
        for token, url in open_uploads(self._lines(job_id)).items():
            folder, name = parent_of(url)
            store = self._stores.open(folder, "destination", owner=owner)
            if supports(store, Temporaries) or not supports(store, Multipart):
                continue  # its files are found by their names, or it has no uploads
            upload = Upload(path=name, token=token, attributes=Attributes(mtime_ns=0))
            try:
                store.held_parts(upload, ())
                if self._remove:
                    store.abort(upload)
            except NotFoundError:
                continue
            except FileError as error:
                yield unreachable(job.name, error)
                continue
            yield self._leftover(job, "an unfinished upload", url)
        yield from self._streams(job, owner, open_streams(self._lines(job_id)))

    def _lines(self, job_id: str) -> Iterator[Record]:
        lines = self._joblist.journal_of(job_id).read()
        return chain(lines, read_journals(self._joblist.blocks_path_of(job_id)))

    def _streams(
        self, job: Job, owner: str, begun: dict[str, int]
    ) -> Iterator[Leftover | LeftAlone]:
        """Yield the uploads of streams, which no record names."""
        for url, since_ns in begun.items():
            folder, name = parent_of(url)
            store = self._stores.open(folder, "destination", owner=owner)
            if supports(store, Temporaries) or not supports(store, Multipart):
                continue
            try:
                for upload in store.leftovers(name, since_ns):
                    if self._remove:
                        store.abort(upload)
                    yield self._leftover(job, "an unfinished upload", url)
            except FileError as error:
                yield unreachable(job.name, error)

    def _temporaries(self, job_id: str, job: Job) -> Iterator[Leftover | LeftAlone]:
        owner = self._joblist.owner_of(job_id)
        for folder, name in target_folders(job).items():
            store = self._stores.open(folder, "destination", owner=owner)
            if not supports(store, Temporaries):
                continue
            try:
                found = store.leftovers(name, 0)
            except FileError as error:
                yield unreachable(job.name, error)
                continue
            for upload in found:
                yield self._temporary(job, upload.token, partial(store.abort, upload))
        if job.files or job.destination is None:
            return
        store = self._stores.open(job.destination, "destination", owner=owner)
        if supports(store, Temporaries) and kind_of(store, "") == "folder":
            for entry in store.list():
                if isinstance(entry, Unlisted):
                    yield unreachable(job.name, entry.error)
                elif isinstance(entry, Entry) and store.is_leftover(entry.path):
                    path = entry.path
                    yield self._temporary(job, store.url_of(path), partial(store.delete, path))

    def _temporary(self, job: Job, path: str, remove: Callable[[], None]) -> Leftover | LeftAlone:
        """Remove a temporary file if that is asked for; return the event for it."""
        try:
            if self._remove:
                remove()
        except FileError as error:
            return unreachable(job.name, error)
        return self._leftover(job, "a temporary file", path)

    def _blocks(self, job_id: str, job: Job) -> Iterator[Leftover]:
        """Yield the folder of a finished job's batches, whose receipts are in the table."""
        if job.status is not JobStatus.SUCCESS:
            return
        path = self._joblist.blocks_path_of(job_id)
        if os.path.isdir(path):
            if self._remove:
                Batches(path, self._claims).remove()
            yield self._leftover(job, "shared batches", path)

    def _leftover(self, job: Job, what: str, path: str) -> Leftover:
        return Leftover(job=job.name, what=what, path=path, removed=self._remove)


def unreachable(name: str, error: JobtoolError) -> LeftAlone:
    """Return the event for a job, or a part of it, that can't be cleaned after an error."""
    code = error.exit_code if error.scope is Scope.STORE else JobtoolError.exit_code
    return LeftAlone(job=name, reason=str(error), exit_code=code)


def target_folders(job: Job) -> dict[str, str]:
    """Return each folder that gets named files of the job, with the name of one of them."""
    if not job.files:
        return {} if job.destination is None else dict([parent_of(job.destination)])
    return dict(parent_of(absolute(job.destination, pair.destination)) for pair in job.files)
