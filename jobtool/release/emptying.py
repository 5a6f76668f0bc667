"""Removing files from the trash, for good, once they were kept as long as was asked for.

The same proof is needed as for the way there: each file is read in the trash, and each of its
copies is looked at anew. Extra files of a destination have no copies: they are read alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from threading import Lock

import msgspec

from jobtool.errors import FileError, NotFoundError
from jobtool.failpoints import reach
from jobtool.jobs.stamps import stamp_of
from jobtool.packages.index import INDEX_SUFFIX, IndexRow
from jobtool.packages.manifest import MANIFEST_SUFFIX
from jobtool.packages.package import open_package
from jobtool.release.buffercheck import look_at_members, members_evidence
from jobtool.release.context import ReleaseContext
from jobtool.release.deletionlog import DeletionLog
from jobtool.release.destinations import (
    Copy,
    Destinations,
    Digests,
    UnprovenError,
    copy_seen,
    read_digests,
    require_apart,
)
from jobtool.release.events import FileRemoved, FileStays, JobReleased, TrashWaits
from jobtool.release.moving import placed, settle
from jobtool.release.place import Fingerprint, Place
from jobtool.release.records import Evidence, IntentRecord, RemovalRecord, RemovedRecord
from jobtool.release.trash import TrashRecord, boot_id, decode_record, why_not_due
from jobtool.stores.location import join, parent_of
from jobtool.transfer.parallel import in_parallel

_BATCH_FILES = 128


class _InTrash(msgspec.Struct, frozen=True, kw_only=True):
    """A file in the trash; ``found`` is None if it is there no more."""

    intent: IntentRecord
    trashed: str
    found: Fingerprint | None = None
    evidence: tuple[Evidence, ...] = ()
    reason: str | None = None


def empty_trash(
    name: str, job_id: str, log: DeletionLog, *, joblist_id: str, context: ReleaseContext
) -> JobReleased:
    """Remove the files of a job that have been in the trash for as long as they are to be kept.

    ``name`` and ``job_id`` are the job's, ``log`` is that of its deletions. Folders that aren't due
    and files that aren't proven any more are events with the reason. Returns the counts, which the
    caller emits. Raises the errors of ``release``.
    """
    counts: Counter[str] = Counter()
    if not context.is_dry_run:
        settle(log, context)
    folders: dict[str, list[IntentRecord]] = {}
    for intent in log.trashed.values():
        folders.setdefault(intent.trash, []).append(intent)
    for trash, intents in sorted(folders.items()):
        context.require_going()
        try:
            place, _, _ = placed(intents[0], context)
            record = _due(place, trash, log, job_id, joblist_id, context)
        except FileError as error:
            context.emit(TrashWaits(job=name, path=trash, reason=str(error)))
            continue
        emptying = _Emptying(name, place, log, context, counts)
        emptying.folder(parent_of(trash)[1], intents, is_whole=record.is_whole)
    return JobReleased(
        job=name,
        stay=counts["stay"],
        removed=counts["files"],
        removed_bytes=counts["bytes"],
        is_dry_run=context.is_dry_run,
    )


def _due(
    place: Place,
    trash: str,
    log: DeletionLog,
    job_id: str,
    joblist_id: str,
    context: ReleaseContext,
) -> TrashRecord:
    """Return the record of a folder that may be emptied. Raises ``UnprovenError`` if it mayn't."""
    folder = parent_of(trash)[1]
    data = place.read_record(folder)
    record = None if data is None else decode_record(data)
    if record is None:
        raise UnprovenError("expected its record release.json; found none that can be read")
    if (record.joblist, record.job, record.root) != (joblist_id, job_id, ascii(place.url)):
        raise UnprovenError(
            "expected the record of this job in its release.json; found one of another release"
        )
    reason = why_not_due(
        record,
        now=context.now(),
        latest=log.latest,
        service_ns=None if context.is_dry_run else place.clock_ns(folder),
        boot=boot_id(),
        boot_seconds=context.boot_seconds(),
    )
    if reason is not None:
        raise UnprovenError(reason)
    return record


class _Emptying:
    """Empties the folders of one place."""

    def __init__(
        self,
        name: str,
        place: Place,
        log: DeletionLog,
        context: ReleaseContext,
        counts: Counter[str],
    ) -> None:
        self._name, self._place, self._log = name, place, log
        self._context, self._counts = context, counts

    def folder(self, folder: str, intents: Sequence[IntentRecord], *, is_whole: bool) -> None:
        """Empty one folder of the trash, and remove it."""
        for batch in _batches(intents, len(intents) if is_whole else _BATCH_FILES):
            looks = _Looks(self._log, self._context)
            check = partial(self._check, looks)
            found = [*in_parallel(check, batch, threads=self._context.threads)]
            staying = [one for one in found if one.reason is not None]
            for one in staying:
                self._counts["stay"] += 1
                path, reason = one.intent.trashed_to, one.reason or ""
                self._context.emit(FileStays(job=self._name, path=path, reason=reason))
            if not (is_whole and staying):
                self._remove([one for one in found if one.reason is None])
        if not self._context.is_dry_run:
            self._place.remove_folder(folder)

    def _check(self, looks: _Looks, intent: IntentRecord) -> _InTrash:
        """Prove one file. Raises ``InfrastructureError``, ``StoppedError``, ``ClaimLostError``."""
        trashed = ""
        try:
            _, _, trashed = placed(intent, self._context)
            found = self._place.fingerprint_in_trash(trashed)
            if found is None:
                return _InTrash(intent=intent, trashed=trashed)
            if (found.size, parent_of(intent.trash)[0]) != (intent.size, self._place.trash_url):
                raise UnprovenError(
                    f"expected {intent.size} bytes, as when it was moved; found {found.size}"
                )
            read = read_digests(
                self._place.trash_store, found.entry(trashed), frozenset(), self._context
            )
            if read.md5 != intent.md5:
                raise UnprovenError(
                    f"expected MD5 {intent.md5}, as when it was moved; read {read.md5} now. "
                    "Somebody has written to it. It stays in the trash."
                )
            for one in intent.evidence:
                require_apart(copy_seen(one), intent.trashed_to, found.file)
            evidence = tuple(looks.look(intent, one, read) for one in intent.evidence)
            if not (evidence or intent.is_extra):
                raise UnprovenError("its record names no destination, so nothing proves it")
        except FileError as error:
            return _InTrash(intent=intent, trashed=trashed, reason=str(error))
        return _InTrash(intent=intent, trashed=trashed, found=found, evidence=evidence)

    def _remove(self, batch: Sequence[_InTrash]) -> None:
        context = self._context
        if not context.is_dry_run:
            self._log.append(
                RemovalRecord(
                    path=one.intent.path,
                    trashed_to=one.intent.trashed_to,
                    at=stamp_of(context.now()),
                    evidence=one.evidence,
                )
                for one in batch
                if one.found is not None
            )
        ends: list[RemovedRecord] = []
        try:
            for one in batch:
                if not context.is_dry_run and not self._remove_one(one):
                    continue
                intent = one.intent
                ends.append(
                    RemovedRecord(
                        path=intent.path, trashed_to=intent.trashed_to, at=stamp_of(context.now())
                    )
                )
                if one.found is not None:
                    self._tell(intent)
        finally:
            if not context.is_dry_run:
                self._log.append(ends)

    def _remove_one(self, one: _InTrash) -> bool:
        """Remove a file; return False if it stays."""
        if one.found is None:
            return True
        self._context.require_going()
        reach("before a file is removed from the trash")
        try:
            self._place.remove(one.trashed, one.found)
        except NotFoundError:
            pass
        except FileError as error:
            self._counts["stay"] += 1
            path = one.intent.trashed_to
            self._context.emit(FileStays(job=self._name, path=path, reason=str(error)))
            return False
        reach("after a file is removed from the trash")
        return True

    def _tell(self, intent: IntentRecord) -> None:
        self._counts["files"] += 1
        self._counts["bytes"] += intent.size
        self._context.emit(
            FileRemoved(
                job=self._name,
                path=intent.path,
                bytes=intent.size,
                trashed_to=intent.trashed_to,
                is_dry_run=self._context.is_dry_run,
            )
        )


class _Looks:
    """Looks at the copies of one batch; at a package once for all its files or members."""

    def __init__(self, log: DeletionLog, context: ReleaseContext) -> None:
        self._log, self._context = log, context
        self._destinations = Destinations(context)
        self._packages: dict[tuple[Copy, str], Evidence] = {}
        self._lock = Lock()

    def look(self, intent: IntentRecord, before: Evidence, read: Digests) -> Evidence:
        """Return the evidence of now. Raises as ``Destinations.look``."""
        copy = copy_seen(before)
        if before.holds not in ("package", "members"):
            return self._destinations.look(copy, read)
        key = copy, intent.trash
        with self._lock:
            if key not in self._packages:
                if before.holds == "members":
                    self._packages[key] = self._look_at_members(intent, before)
                else:
                    digests = Digests(md5=before.md5)
                    self._packages[key] = self._destinations.look(copy, digests)
            return self._packages[key]

    def _look_at_members(self, intent: IntentRecord, before: Evidence) -> Evidence:
        """Prove the members of a package in the trash. Its tar is the first of it to be removed."""
        tar = intent.trashed_to.removesuffix(INDEX_SUFFIX).removesuffix(MANIFEST_SUFFIX)
        removed = msgspec.structs.replace(before, verified_by="removed-before")
        if tar not in self._log.trashed:
            return removed
        try:
            package = open_package(tar, self._context.stores, retry=self._context.retry)
        except NotFoundError:
            if tar in self._log.announced:  # by a process that was killed right after
                return removed
            raise
        manifest = package.manifest
        if manifest is None or manifest.index.md5 != before.md5:
            raise UnprovenError("expected the manifest of the package in the trash; found another")
        package.require_index_digest()

        def copy_for(row: IndexRow) -> Copy:
            url = join(before.url, row.path)
            return Copy(url=url, root=before.url, size=row.size, md5=row.md5)

        at = look_at_members(package, copy_for, self._destinations, self._context)
        return members_evidence(before.url, manifest, at)


def _batches(intents: Sequence[IntentRecord], size: int) -> Iterator[Sequence[IntentRecord]]:
    for start in range(0, len(intents), max(size, 1)):
        yield intents[start : start + size]
