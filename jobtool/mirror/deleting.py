"""Moving extra files of one job to the trash, by the machinery of ``jobtool.release``.

The order for each batch: the source is asked once more whether it has the file; the file at the
destination must be the one that was brought; its intent is durable; it is moved; the result is
durable. In the end the receipts of what is in the trash are dropped. What a kill leaves, ``finish``
completes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import partial

from jobtool.audit.dropping import drop_receipts
from jobtool.audit.evidence import DELETED
from jobtool.errors import FileError, NotFoundError, UsageError
from jobtool.failpoints import reach
from jobtool.jobs.claim import Claims
from jobtool.jobs.claimedjob import ClaimedJob
from jobtool.jobs.job import Job
from jobtool.jobs.joblist import JobList
from jobtool.jobs.lastreceipts import last_of_each
from jobtool.jobs.records import Receipt
from jobtool.mirror.sourcelook import Extra
from jobtool.names import quote
from jobtool.release.checking import BATCH_FILES
from jobtool.release.context import ReleaseContext
from jobtool.release.deletionlog import DeletionLog
from jobtool.release.destinations import Copy, Destinations, Digests, UnprovenError
from jobtool.release.events import JobReleased
from jobtool.release.moving import placed, settle
from jobtool.release.place import Place
from jobtool.release.plan import Checked, ReleasePlan, Stay, open_place
from jobtool.release.release import release
from jobtool.stores.location import inside, is_local, join, parent_of
from jobtool.stores.optional import ComparesInside, supports
from jobtool.stores.store import Store, kind_of
from jobtool.transfer.parallel import in_parallel


def delete_extras(
    joblist: JobList,
    claimed: ClaimedJob,
    job: Job,
    extras: Sequence[Extra],
    context: ReleaseContext,
    *,
    keep_days: float,
    trash: str | None,
) -> JobReleased:
    """Move extra files of a claimed job to the trash. ``job`` has its destination.

    Files that stay are events with the reason. Returns the counts, which the caller emits. Raises
    ``UnprovenError`` if nothing can be deleted there, ``StoppedError``, ``ClaimLostError`` and
    ``InfrastructureError``.
    """
    assert job.source is not None
    assert job.destination is not None
    log = DeletionLog(joblist.deletions_path_of(claimed.job_id), context.require_held)
    root = _without_links(job.destination)
    above = joblist.settings.destination
    place = open_place(
        root,
        context,
        beside=_beside(above and _without_links(above), root),
        trash=trash,
        role="destination",
    )
    source = context.stores.open(job.source, "source")
    plan = ReleasePlan(
        name=job.name,
        job_id=claimed.job_id,
        place=place,
        check=_Check(place, source, extras).run,
        keep_days=keep_days,
        are_extra=True,
    )
    return release(plan, log, joblist_id=joblist.settings.id, context=context)


def finish(
    joblist: JobList, claims: Claims, claimed: ClaimedJob, root: str | None, context: ReleaseContext
) -> list[tuple[str, str]]:
    """Complete what a killed deletion has begun, and drop the receipts of what is in the trash.

    ``root`` is the job's destination. Returns the paths that couldn't be settled, and why.
    """
    log = DeletionLog(joblist.deletions_path_of(claimed.job_id), context.require_held)
    failed = settle(log, context)
    trashed = {one.path: one for one in log.trashed.values() if one.is_extra}
    if not trashed:
        return failed
    off: set[str] = set()
    left = 0
    for receipt in last_of_each(partial(joblist.receipts_of, claimed.job_id)):
        below = None if root is None else inside(root, receipt.dst_path)
        intent = trashed.get(join(_without_links(root), below)) if root and below else None
        if intent is None:
            left += below is not None
            continue
        try:
            place, path, _ = placed(intent, context)
            place.fingerprint(path)
        except NotFoundError:
            off.add(receipt.dst_path)
        except FileError as error:
            failed.append((receipt.dst_path, str(error)))
    if off:
        reach("before the receipts of deleted files are dropped")
        claimed.log(DELETED, files=left)
        drop_receipts(joblist, claims, claimed, off, are_sent_again=False)
        reach("after the receipts of deleted files are dropped")
    return failed


def has_extras(path: str) -> bool:
    """Return True if a log of deletions has extra files that are, or may be, in the trash."""
    log = DeletionLog(path)
    return any(one.is_extra for one in (*log.unfinished.values(), *log.trashed.values()))


class _Check:
    """Checks extra files right before they go."""

    def __init__(self, place: Place, source: Store, extras: Sequence[Extra]) -> None:
        self._place, self._source, self._extras = place, source, extras

    def run(self, context: ReleaseContext) -> Iterator[list[Checked | Stay]]:
        """Yield the outcomes in batches."""
        check = partial(self._one, Destinations(context), context)
        for start in range(0, len(self._extras), BATCH_FILES):
            batch = self._extras[start : start + BATCH_FILES]
            yield [*in_parallel(check, batch, threads=context.threads)]

    def _one(
        self, destinations: Destinations, context: ReleaseContext, extra: Extra
    ) -> Checked | Stay:
        try:
            context.require_going()
            return self._checked(destinations, context, extra)
        except (FileError, UsageError) as error:
            return Stay(path=extra.place, reason=str(error))

    def _checked(
        self, destinations: Destinations, context: ReleaseContext, extra: Extra
    ) -> Checked:
        path, receipt = extra.place, extra.receipt
        if not extra.is_excluded:
            kind = context.retry.call(lambda: kind_of(self._source, extra.path))
            if kind == "file":
                url = quote(self._source.url_of(extra.path))
                raise UnprovenError(
                    f"expected nothing at {url}; found something, or it can't be looked at"
                )
        before = self._place.fingerprint(path)
        if before.size != receipt.stored_size:
            raise UnprovenError(
                f"expected {receipt.stored_size} bytes, as this joblist has brought; found "
                f"{before.size}. It is another file now."
            )
        md5 = self._proven_md5(destinations, context, path, receipt)
        if self._place.fingerprint(path) != before:
            raise UnprovenError("it has changed while it was read")
        return Checked(path=path, md5=md5, fingerprint=before, evidence=())

    def _proven_md5(
        self, destinations: Destinations, context: ReleaseContext, path: str, receipt: Receipt
    ) -> str:
        """Return the MD5 of the file's bytes, which must be those that were brought."""
        if not receipt.is_proof:
            raise UnprovenError("its receipt has two MD5s, so it proves nothing")
        store, md5 = self._place.store, receipt.stored_md5
        if md5 is None:
            checksum = receipt.checksum or ""
            if not (supports(store, ComparesInside) and store.is_still(path, checksum)):
                raise UnprovenError(
                    f"its receipt has no MD5, and {checksum} can't be compared or is another now"
                )
            return context.retry.call(lambda: store.digest(path))
        copy = Copy(
            url=join(self._place.url, path),
            root=self._place.url,
            size=receipt.stored_size,
            md5=md5,
            part_size=receipt.part_size,
            known_etag=receipt.etag,
        )
        return destinations.look(copy, Digests(md5=md5)).md5


def _without_links(root: str) -> str:
    """Return a destination by its real path: links above it were followed when files arrived."""
    return os.path.realpath(root) if is_local(root) else root


def _beside(destination: str | None, root: str) -> str:
    """Return the folder that the trash is beside: the joblist's destination, if it has a name."""
    if destination is None or inside(destination, root) is None:
        return root
    return destination if parent_of(destination)[1] else root
