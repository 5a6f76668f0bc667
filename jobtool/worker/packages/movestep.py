"""The steps ``pack``, ``copy``, ``relay`` and ``archive``: a package arrives at a place.

The tar arrives first, then its index, then its manifest: a package with a manifest is complete.
Where the job packs, the tar is composed of its members while it is sent, and the index and the
manifest are made once the tar was proven.
"""

from __future__ import annotations

import os
import shutil
from functools import partial

from jobtool.errors import (
    JobFileError,
    JoblistUnavailableError,
    NotFoundError,
    PackageError,
    SourceError,
    StoreUnavailableError,
    reason_of,
)
from jobtool.failpoints import reach
from jobtool.jobs.claimedjob import ClaimedJob
from jobtool.jobs.job import Job
from jobtool.jobs.lastreceipts import last_at
from jobtool.jobs.packagechain import task_of
from jobtool.jobs.records import Receipt, Record
from jobtool.names import filename_of, quote
from jobtool.packages.manifest import Manifest, index_name, manifest_name, tar_name
from jobtool.packages.manifestfile import read_manifest
from jobtool.packages.memberdigests import MemberDigests
from jobtool.packages.memberfile import read_members
from jobtool.packages.sidecars import write_sidecars
from jobtool.packages.store import PackageStore
from jobtool.steps.step import StepContext
from jobtool.stores.store import Store, entry_of
from jobtool.transfer.plan import Plan, Route
from jobtool.transfer.treelisting import TreeListing
from jobtool.worker.copystep import CopyStep
from jobtool.worker.filesstep import Totals
from jobtool.worker.packages.copies import keep_manifest, kept_manifest, tidy_manifest
from jobtool.worker.packages.gone import explained
from jobtool.worker.packages.outcome import note_arrival

_DIGESTS_SUFFIX = ".digests"


class MoveStep(CopyStep):
    """One attempt at bringing a package to a place."""

    _names: tuple[str, ...] = ()
    _packing: PackageStore | None = None

    def run(self, claimed_job: ClaimedJob, context: StepContext) -> None:
        """Bring the tar, the index and the manifest, in this order.

        Raises what ``CopyStep.run`` does, and ``PackageError`` for a tar that isn't the one of its
        manifest, and if another package of the name is there.
        """
        task, job = task_of(claimed_job.job), claimed_job.job
        if job.destination is None:
            raise JobFileError(f"job {quote(job.name)}: expected a destination; found none")
        if task.brought_by is not None:
            self.totals = Totals(files=0, bytes=0)
            note_arrival(self._tools, claimed_job, context)
            return
        if job.attempts > 1:
            tidy_manifest(self._tools.joblist, task.package)
        self.totals = self._proven(claimed_job, context)
        if self.totals is None:
            self._bring(claimed_job, context)
        note_arrival(self._tools, claimed_job, context)
        if task.packs:
            context.require_held()  # another worker may need what would be removed
            self._remove_scratch(claimed_job)

    def _proven(self, claimed: ClaimedJob, context: StepContext) -> Totals | None:
        """Return the totals of a package that an earlier attempt has brought; None if any lacks.

        Nothing is read then: the members, or the source, may have been released since. What was
        brought must still be there.
        """
        job, package = claimed.job, task_of(claimed.job).package
        assert job.destination is not None
        if not self._records.has_table or self._records.has_lines:
            return None
        if kept_manifest(self._tools.joblist, package) is None:
            return None
        destination = context.destination(job.destination)
        receipts = {each.dst_path: each for each in self._records.receipts() if each.is_proof}
        size = 0
        for name in _names_of(package):
            receipt = receipts.get(destination.url_of(name))
            if receipt is None:
                return None
            try:
                entry = context.retry.call(partial(entry_of, destination, name))
            except NotFoundError:
                return None
            if entry.size != receipt.stored_size:
                return None
            size += receipt.size
        return Totals(files=len(_names_of(package)), bytes=size)

    def _bring(self, claimed: ClaimedJob, context: StepContext) -> None:
        packs = task_of(claimed.job).packs
        self._may_share = not packs
        if packs:
            self._packing = self._package_store(claimed, context)
        try:
            self._require_free(claimed, context)
            self._move(claimed, context)
        except SourceError as error:
            raise explained(self._tools.joblist, claimed.job, error) from None
        finally:
            if self._packing is not None:
                self._packing.close()

    def _move(self, claimed: ClaimedJob, context: StepContext) -> None:
        names = _names_of(task_of(claimed.job).package)
        for count in range(1, len(names) + 1):
            self._names = names[:count]
            plan, transfer = self._copy(claimed, context)
            if count == len(names) or transfer.failures or not transfer.is_complete:
                self._end(claimed, context, plan, transfer)
                return
            if count == 1:
                self._prove_tar(claimed, context)

    def _open(self, job: Job, context: StepContext) -> tuple[Plan, TreeListing | None]:
        """Return the plan of those of the package's files whose turn has come."""
        assert job.destination is not None
        plan, destination = Plan(), context.destination(job.destination)
        names = list(self._names)
        if self._packing is not None:
            plan.start_route(Route(self._packing, destination))
            plan.add(self._packing.entry)
            del names[0]
            source = context.source(self._tools.joblist.sidecars_path_of(filename_of(job.name)))
        else:
            source = self._source_of(job, context)
        if names:
            plan.start_route(Route(source, destination))
        for name in names:
            plan.add(context.retry.call(partial(entry_of, source, name)))
        return plan, None

    def _source_of(self, job: Job, context: StepContext) -> Store:
        if job.source is None:
            raise JobFileError(f"job {quote(job.name)}: expected a source; found none")
        return context.source(job.source)

    def _prove_tar(self, claimed: ClaimedJob, context: StepContext) -> None:
        """Make the index and the manifest; or compare the tar that was read with its manifest."""
        md5 = self._tar_md5(claimed, context)
        joblist, packing = self._tools.joblist, self._packing
        if packing is None:
            manifest = self._require_as_packed(claimed, context, md5)
            context.require_held()
            keep_manifest(joblist, manifest)
            return
        folder = joblist.sidecars_path_of(claimed.job_id)
        try:
            os.makedirs(folder, exist_ok=True)
            sidecars = write_sidecars(
                folder,
                packing,
                tar_md5=md5 or packing.digest(packing.file_name),
                require_going=context.require_held,
            )
            # The same package has the same files: an earlier attempt may have sent them.
            for path in (sidecars.index, sidecars.manifest):
                os.utime(path, ns=(packing.members.newest_ns, packing.members.newest_ns))
        except OSError as error:
            raise StoreUnavailableError(
                f"can't write {quote(folder)}: {reason_of(error)}"
            ) from None
        context.require_held()
        keep_manifest(joblist, sidecars.content)
        reach("after the index was made")

    def _tar_md5(self, claimed: ClaimedJob, context: StepContext) -> str | None:
        """Return the MD5 of the tar as it was read, by its receipt; None if no byte was read."""
        destination = claimed.job.destination
        assert destination is not None
        url = context.destination(destination).url_of(self._names[0])
        found = last_at(self._records.receipts(), url)
        return None if found is None else found.hashsum_src

    def _require_as_packed(
        self, claimed: ClaimedJob, context: StepContext, md5: str | None
    ) -> Manifest:
        """Return the manifest; raise ``PackageError`` unless the tar that was read is that one's.

        What arrived is read again by the next attempt, once the source was mended.
        """
        job = claimed.job
        source = self._source_of(job, context)
        manifest = read_manifest(source, task_of(job).package, context.retry)
        if md5 in (None, manifest.tar.md5):
            return manifest
        url = source.url_of(manifest.tar.name)
        kept: list[Record] = [
            record
            for record in self._records.all()
            if not (isinstance(record, Receipt) and record.src_path == url)
        ]
        self._records.journal.replace(kept)
        self._records.remove_table()
        raise PackageError(
            f"{quote(url)}: expected the MD5 {manifest.tar.md5}, as its manifest says; read {md5}. "
            "The tar was damaged there. Have it copied there again, then: jobtool retry."
        )

    def _require_free(self, claimed: ClaimedJob, context: StepContext) -> None:
        """Raise ``PackageError`` if the destination holds another package of the name."""
        job, package = claimed.job, task_of(claimed.job).package
        assert job.destination is not None
        if next(self._records.receipts(), None) is not None:
            return
        destination = context.destination(job.destination)
        try:
            there = read_manifest(destination, package, context.retry)
        except NotFoundError:
            return
        if self._packing is not None:
            size, items = self._packing.entry.size, tuple(self._packing.members.items())
        else:
            ours = read_manifest(self._source_of(job, context), package, context.retry)
            size, items = ours.tar.size, ours.items
        if (there.tar.size, there.items) != (size, items):
            raise PackageError(
                f"{quote(destination.url)}: expected no other package {quote(package)}; found one "
                f"of {there.tar.size} bytes with {len(there.items)} items, where this one has "
                f"{size} bytes and {len(items)}. Remove the other one, or make the joblist with "
                "another --name."
            )

    def _package_store(self, claimed: ClaimedJob, context: StepContext) -> PackageStore:
        joblist, job = self._tools.joblist, claimed.job
        package = task_of(job).package
        members = read_members(joblist.members_path_of(package))
        folder = joblist.sidecars_path_of(claimed.job_id)
        own = f"{job.attempts}{_DIGESTS_SUFFIX}"
        try:
            os.makedirs(folder, exist_ok=True)
            names = sorted(os.listdir(folder))
        except OSError as error:
            raise JoblistUnavailableError(
                f"can't use {quote(folder)}: {reason_of(error)}"
            ) from None
        others = [
            os.path.join(folder, name)
            for name in names
            if name.endswith(_DIGESTS_SUFFIX) and name != own
        ]
        digests = MemberDigests(members, log=os.path.join(folder, own), others=others)
        return PackageStore(
            package,
            members,
            self._source_of(job, context),
            digests=digests,
            on_thread=self._tools.copier.liveness.join,
        )

    def _remove_scratch(self, claimed: ClaimedJob) -> None:
        """Remove what an attempt needs. What can't be removed does no harm."""
        shutil.rmtree(self._tools.joblist.sidecars_path_of(claimed.job_id), ignore_errors=True)


def _names_of(package: str) -> tuple[str, str, str]:
    """Return the names of a package's files, in the order in which they are sent."""
    return tar_name(package), index_name(package), manifest_name(package)
