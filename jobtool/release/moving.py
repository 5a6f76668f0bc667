"""Moving checked files to the trash, and finishing what a killed release has begun.

The order for each batch: the intents are durable, each file is moved, its copies are looked at once
more, the results are durable. After a kill the next release compares the intents without a result
with both places.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from jobtool.errors import FileError, JobtoolError, NotFoundError
from jobtool.failpoints import reach
from jobtool.jobs.stamps import stamp_of
from jobtool.names import quote
from jobtool.release.context import ReleaseContext
from jobtool.release.deletionlog import DeletionLog
from jobtool.release.destinations import Copy, Destinations, UnprovenError, copy_seen
from jobtool.release.place import FILES, Place
from jobtool.release.plan import Checked, open_place
from jobtool.release.records import IntentRecord, ReturnedRecord, TrashedRecord
from jobtool.stores.location import inside, join, parent_of
from jobtool.stores.storetype import Role

_NOT_MOVED = "it wasn't moved"
NOT_APART = "the copy of another file went with it, so source and destination may be one"
_NOT_ALL = "another file of the package stays"


class Mover:
    """Moves files of one place into one folder of its trash."""

    def __init__(
        self,
        place: Place,
        folder: str,
        log: DeletionLog,
        context: ReleaseContext,
        *,
        are_extra: bool = False,
    ) -> None:
        self._place, self._folder, self._log, self._context = place, folder, log, context
        self._are_extra = are_extra
        self._destinations = Destinations(context)
        #: Whether a file was put back, since its copy went with it.
        self.has_lost_a_copy = False

    def move(
        self, batch: Sequence[Checked], *, is_whole: bool
    ) -> list[tuple[Checked, str, str | None]]:
        """Move files. Return each with its URL in the trash, and why it stays or None.

        With ``is_whole`` all are put back if one stays. Raises ``StoppedError``,
        ``ClaimLostError``, ``InfrastructureError``; what was moved by then has its record.
        """
        intents = [self._intent(one, is_whole=is_whole) for one in batch]
        self._log.append(intents)
        results: list[tuple[Checked, str, str | None]] = []
        ends: list[TrashedRecord | ReturnedRecord] = []
        is_over = False
        try:
            for checked, intent in zip(batch, intents, strict=True):
                reason = _NOT_ALL if is_over else None
                if self.has_lost_a_copy:
                    reason = NOT_APART
                if reason is None:
                    self._context.require_going()
                    reason = self._move_one(checked, intent)
                ends.append(_end(intent, reason, self._context))
                results.append((checked, intent.trashed_to, reason))
                is_over = is_whole and reason is not None
            if is_over:
                results, ends = self._all_back(batch, intents, results)
        finally:
            self._log.append(ends)
        return results

    def tidy(self) -> None:
        """Remove the folder of this release from the trash if no file is in it."""
        with contextlib.suppress(JobtoolError):
            self._place.remove_folder(self._folder)

    def _intent(self, checked: Checked, *, is_whole: bool) -> IntentRecord:
        place = self._place
        return IntentRecord(
            path=join(place.url, checked.path),
            size=checked.fingerprint.size,
            mtime_ns=checked.fingerprint.mtime_ns,
            md5=checked.md5,
            evidence=checked.evidence,
            root=place.url,
            trash=join(place.trash_url, self._folder),
            trashed_to=join(place.trash_url, self._trashed(checked)),
            at=stamp_of(self._context.now()),
            is_whole=is_whole,
            is_extra=self._are_extra,
        )

    def _trashed(self, checked: Checked) -> str:
        return f"{self._folder}/{FILES}/{checked.path}"

    def _move_one(self, checked: Checked, intent: IntentRecord) -> str | None:
        """Move one file. Return why it stays, or None."""
        trashed = self._trashed(checked)
        reach("before a file is moved to the trash")
        try:
            self._place.to_trash(checked.path, checked.fingerprint, trashed, checked.md5)
        except FileError as error:
            is_there = self._place.fingerprint_in_trash(trashed) is not None
            if _is_at(self._place, checked.path) or not is_there:
                return str(error)
            # The answer was lost, but the file is in the trash.
        reach("after a file is moved to the trash")
        lost = _return_if_lost(
            self._place, checked.path, trashed, checked.copies, self._destinations
        )
        self.has_lost_a_copy = self.has_lost_a_copy or lost is not None
        return lost

    def _all_back(
        self,
        batch: Sequence[Checked],
        intents: Sequence[IntentRecord],
        results: Sequence[tuple[Checked, str, str | None]],
    ) -> tuple[list[tuple[Checked, str, str | None]], list[TrashedRecord | ReturnedRecord]]:
        """Put back what was moved."""
        found: list[tuple[Checked, str, str | None]] = []
        for checked, trashed_to, reason in results:
            if reason is None:
                self._place.put_back(self._trashed(checked), checked.path)
            found.append((checked, trashed_to, reason or _NOT_ALL))
        return found, [
            _end(intent, reason, self._context)
            for intent, (_, _, reason) in zip(intents, found, strict=True)
        ]


def settle(log: DeletionLog, context: ReleaseContext) -> list[tuple[str, str]]:
    """Finish what a killed release has begun. Return the paths that couldn't be settled, and why.

    A file that is in the trash and whose copies are there is recorded so. One whose copies aren't
    there any more is put back, and so are all files of a package of which not all were moved: they
    are proven again as a whole. Nothing else is moved or removed.
    """
    failed: list[tuple[str, str]] = []
    destinations = Destinations(context)
    folders: dict[str, list[IntentRecord]] = {}
    for intent in log.unfinished.values():
        folders.setdefault(intent.trash, []).append(intent)
    for trash, intents in folders.items():
        context.require_going()
        if intents[0].is_whole:
            moved = [one for one in log.trashed.values() if one.trash == trash]
            if not all(_is_in_trash(one, context) for one in intents):
                for intent in [*intents, *moved]:
                    failed += _settle_one(intent, log, context, None)
                _tidy(intents[0], log, context)
                continue
        for intent in intents:
            failed += _settle_one(intent, log, context, destinations)
        _tidy(intents[0], log, context)
    return failed


def _tidy(intent: IntentRecord, log: DeletionLog, context: ReleaseContext) -> None:
    """Remove the folder of a release from the trash if none of its files is there."""
    if any(one.trash == intent.trash for one in log.trashed.values()):
        return
    with contextlib.suppress(JobtoolError):
        place, _, trashed = placed(intent, context)
        place.remove_folder(trashed.partition("/")[0])


def _settle_one(
    intent: IntentRecord,
    log: DeletionLog,
    context: ReleaseContext,
    destinations: Destinations | None,
) -> list[tuple[str, str]]:
    """Settle a file, without ``destinations`` by putting it back. Return why that failed."""
    reason: str | None = None
    try:
        place, path, trashed = placed(intent, context)
        if place.is_at_both(path, trashed):  # it was to be moved, or put back
            place.put_back(trashed, path)
            reason = _NOT_MOVED if destinations is not None else _NOT_ALL
        elif place.fingerprint_in_trash(trashed) is None:
            reason = _NOT_MOVED
        elif destinations is None:
            if not _is_at(place, path):
                place.put_back(trashed, path)
                reason = _NOT_ALL
        elif not _is_at(place, path):
            copies = tuple(copy_seen(one) for one in intent.evidence if one.holds != "members")
            reason = _return_if_lost(place, path, trashed, copies, destinations)
    except FileError as error:
        return [(intent.path, str(error))]
    log.append([_end(intent, reason, context)])
    return []


def _is_in_trash(intent: IntentRecord, context: ReleaseContext) -> bool:
    try:
        place, _, trashed = placed(intent, context)
        return place.fingerprint_in_trash(trashed) is not None
    except FileError:
        return False


def _end(
    intent: IntentRecord, reason: str | None, context: ReleaseContext
) -> TrashedRecord | ReturnedRecord:
    at = stamp_of(context.now())
    if reason is None:
        return TrashedRecord(path=intent.path, trashed_to=intent.trashed_to, at=at)
    return ReturnedRecord(path=intent.path, trashed_to=intent.trashed_to, at=at, reason=reason)


def placed(intent: IntentRecord, context: ReleaseContext) -> tuple[Place, str, str]:
    """Return the place of an intent, the file's path there, and its path in the trash.

    Raises ``UnprovenError`` if the three don't fit together, as in a forged record.
    """
    path = inside(intent.root, intent.path)
    trash_url, folder = parent_of(intent.trash)
    if not path or not folder or intent.trashed_to != f"{intent.trash}/{FILES}/{path}":
        raise UnprovenError(
            f"its record of {intent.at} names {quote(intent.trashed_to)}, which isn't where a "
            "release puts it. It isn't touched."
        )
    role: Role = "destination" if intent.is_extra else "source"
    place = open_place(intent.root, context, trash=trash_url, role=role)
    return place, path, f"{folder}/{FILES}/{path}"


def _is_at(place: Place, path: str) -> bool:
    """Return False if nothing is at a path of a place."""
    try:
        place.fingerprint(path)
    except NotFoundError:
        return False
    except FileError:  # something that may not be touched
        return True
    return True


def _return_if_lost(
    place: Place,
    path: str,
    trashed: str,
    copies: Sequence[Copy],
    destinations: Destinations,
) -> str | None:
    """Put a file back whose copies went with it. Return why it was put back, or None.

    So a destination that is the source itself is noticed, whatever mounts or names lead to it.
    """
    try:
        for copy in copies:
            destinations.require_there(copy)
    except FileError as error:
        why = str(error)
    else:
        return None
    try:
        place.put_back(trashed, path)
    except JobtoolError as error:
        return f"after it was moved to the trash: {why}. And {error}"
    return f"after it was moved to the trash: {why}. It was put back"
