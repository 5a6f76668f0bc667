"""The log of a job's deletions: lines of JSON in the joblist, appended durably, never rewritten."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator

import msgspec

from jobtool.errors import JobFileError, JoblistUnavailableError, JobtoolError, reason_of
from jobtool.failpoints import reach
from jobtool.jobs.joblist import JobList
from jobtool.jobs.linelog import append_lines, whole_lines
from jobtool.names import filename_of, quote
from jobtool.release.records import (
    DeletionRecord,
    IntentRecord,
    RemovedRecord,
    ReturnedRecord,
    TrashedRecord,
    decode_deletion,
    encode_deletion,
)

#: A longer line is skipped: jobtool writes some paths and digests.
MAX_LINE_BYTES = 1024 * 1024

#: So much of a job's name is at least in the name of its file.
_LONGEST_START_BYTES = 150


class DeletionLog:
    """The deletions of one job. One thread uses it at a time.

    ``unfinished`` has the intents without an end, and ``trashed`` the files in the trash, both by
    where they lie in the trash. ``announced`` has those of ``trashed`` whose removal was begun.
    ``latest`` is the greatest time of all records, empty for none.
    ``require_held`` is called before every write.

    Raises ``JobtoolError`` if the file can't be read.
    """

    def __init__(self, path: str, require_held: Callable[[], None] | None = None) -> None:
        self.path = path
        self.unfinished: dict[str, IntentRecord] = {}
        self.trashed: dict[str, IntentRecord] = {}
        self.announced: set[str] = set()
        self.latest = ""
        self._require_held = require_held
        for record in read_deletions(path):
            self._take(record)

    def append(self, records: Iterable[DeletionRecord]) -> None:
        """Add records, durably. Raises ``JoblistUnavailableError``, ``ClaimLostError``."""
        added = [*records]
        if not added:
            return
        if self._require_held is not None:
            self._require_held()
        reach("before a deletion's record")
        try:
            append_lines(self.path, b"".join(map(encode_deletion, added)))
        except OSError as error:
            raise JoblistUnavailableError(
                f"can't write {quote(self.path)}: {reason_of(error)}. Nothing is removed without "
                "its record."
            ) from None
        reach("after a deletion's record")
        for record in added:
            self._take(record)

    def _take(self, record: DeletionRecord) -> None:
        self.latest = max(self.latest, record.at)
        if isinstance(record, IntentRecord):
            self.unfinished[record.trashed_to] = record
        elif isinstance(record, TrashedRecord):
            intent = self.unfinished.pop(record.trashed_to, None)
            if intent is not None:
                self.trashed[record.trashed_to] = intent
        elif isinstance(record, RemovedRecord | ReturnedRecord):
            self.unfinished.pop(record.trashed_to, None)
            self.trashed.pop(record.trashed_to, None)
            self.announced.discard(record.trashed_to)
        elif record.trashed_to in self.trashed:
            self.announced.add(record.trashed_to)


def read_deletions(path: str) -> Iterator[DeletionRecord]:
    """Yield the records of a log, oldest first; none if the file is missing.

    Torn, invalid and too long lines are skipped: a file without a valid record is never removed.
    Raises ``JobtoolError`` if the file can't be read.
    """
    try:
        for text in whole_lines(path, most_bytes=MAX_LINE_BYTES):
            try:
                yield decode_deletion(text)
            except (msgspec.DecodeError, UnicodeDecodeError, JobFileError, RecursionError):
                continue
    except OSError as error:
        raise JobtoolError(
            f"{quote(path)} can't be read as a log of deletions: {reason_of(error)}"
        ) from None


def released_paths(joblist: JobList, packages: Collection[str] = ()) -> frozenset[str]:
    """Return the paths and URLs of the files that the jobs of a joblist have released.

    With ``packages``, only the logs of the jobs of these are read, so far as their names tell.
    Raises ``JobtoolError`` if a log can't be read.
    """
    released: set[str] = set()
    starts = tuple(f"{filename_of(package)}." for package in packages)
    are_whole = starts and all(len(start.encode()) <= _LONGEST_START_BYTES for start in starts)
    for job_id in joblist.job_ids_with_deletions():
        if are_whole and not job_id.startswith(starts):
            continue
        for record in read_deletions(joblist.deletions_path_of(job_id)):
            if isinstance(record, TrashedRecord):
                released.add(record.path)
            elif isinstance(record, ReturnedRecord):
                released.discard(record.path)
    return frozenset(released)
