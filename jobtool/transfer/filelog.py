"""What is written down of a file in parts while it is on its way."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from jobtool.jobs.journal import Journal
from jobtool.jobs.records import IntentRecord, UploadRecord
from jobtool.stores.optional import Temporaries
from jobtool.stores.store import Part, Upload
from jobtool.transfer.knowndigests import KnownDigests
from jobtool.transfer.plan import Item
from jobtool.transfer.resume import Resumption, Unfinished, part_record


class FileLog(Protocol):
    """Where a copy in parts writes what it has done, and reads what was done before."""

    @property
    def unfinished(self) -> Unfinished | None:
        """The upload that may be taken up."""

    def beginning(self) -> int | None:
        """Note that an upload is about to be begun.

        Returns when (nanoseconds since 1970) one was about to be that no answer told of, None if
        there was none.
        """

    def begun(self, upload: Upload, part_size: int) -> None:
        """Note an upload."""

    def sent(self, part: Part) -> None:
        """Note a part; called from any thread."""

    def dropped(self) -> None:
        """Forget the upload: it can't be taken up."""

    def digests(self, part_size: int) -> KnownDigests:
        """Return what is known of the file's digests, to be added to; of parts of this size."""

    def hashed(self, known: KnownDigests) -> None:
        """Note what was added to the file's digests."""

    def forget_digests(self) -> None:
        """Forget the digests: the file reads differently now, or is done."""

    def flush(self) -> None:
        """Bring what was noted to disk."""


class JournalledLog:
    """The uploads of one file, in the journal and in memory: a ``FileLog``."""

    def __init__(
        self,
        journal: Journal,
        sync: Callable[[], None],
        resumption: Resumption,
        number: int,
        item: Item,
    ) -> None:
        self._journal = journal
        self._sync = sync
        self._all = resumption.unfinished
        self._intended = resumption.intended
        self._digests = resumption.digests
        self._number = number
        self._item = item

    @property
    def unfinished(self) -> Unfinished | None:
        """Return the upload that may be taken up."""
        return self._all.get(self._number)

    def beginning(self) -> int | None:
        """Note that an upload is about to be begun; see ``FileLog``."""
        if isinstance(self._item.route.destination, Temporaries):
            return None  # they bear their owner's mark
        now_ns = time.time_ns()
        # On disk before the upload: one that no record names can't be told from somebody else's.
        self._journal.append(
            IntentRecord(
                src_path=self._item.source_url,
                dst_path=self._item.destination_url,
                at_ns=now_ns,
            )
        )
        self._journal.flush(self._sync)
        earlier_ns = self._intended.get(self._number)
        self._intended.setdefault(self._number, now_ns)
        return earlier_ns

    def begun(self, upload: Upload, part_size: int) -> None:
        """Note an upload."""
        md5 = upload.attributes.md5
        self._all[self._number] = Unfinished(upload.token, part_size, md5)
        self._intended.pop(self._number, None)
        self._journal.append(
            UploadRecord(
                src_path=self._item.source_url,
                dst_path=self._item.destination_url,
                size=self._item.entry.size,
                mtime_ns=self._item.entry.mtime_ns,
                part_size=part_size,
                token=upload.token,
                md5=md5,
            )
        )
        if not isinstance(self._item.route.destination, Temporaries):
            # At once: with only an intent, somebody else's upload of this key would pass for ours.
            self._journal.flush(self._sync)

    def sent(self, part: Part) -> None:
        """Note a part; called from any thread."""
        unfinished = self._all[self._number]
        unfinished.parts[part.number] = part
        self._journal.append(part_record(unfinished.token, part))

    def dropped(self) -> None:
        """Forget the upload: it can't be taken up."""
        self._all.pop(self._number, None)

    def digests(self, part_size: int) -> KnownDigests:
        """Return what is known of the file's digests, to be added to; see ``FileLog``."""
        known = self._digests.get(self._number)
        if known is None or not known.is_of(self._item, part_size):
            entry = self._item.entry
            known = KnownDigests(size=entry.size, mtime_ns=entry.mtime_ns, part_size=part_size)
            self._digests[self._number] = known
        return known

    def hashed(self, known: KnownDigests) -> None:
        """Note what was added to the file's digests."""
        for record in known.records(self._item):
            self._journal.append(record)

    def forget_digests(self) -> None:
        """Forget the digests: the file reads differently now, or is done."""
        self._digests.pop(self._number, None)

    def flush(self) -> None:
        """Bring what was noted to disk."""
        self._journal.flush(self._sync)
