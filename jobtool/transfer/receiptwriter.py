"""The receipts of files that have arrived."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from jobtool.jobs.forms import ENDINGS
from jobtool.jobs.records import Receipt
from jobtool.transfer.copy import Copied
from jobtool.transfer.ledger import Ledger
from jobtool.transfer.notes import Notes
from jobtool.transfer.plan import Item


class ReceiptWriter:
    """Writes receipts to a ledger. Threads may call it.

    ``worker`` is named in them. Attributes that files arrive without are added to ``notes``.
    """

    def __init__(self, ledger: Ledger, notes: Notes, worker: str) -> None:
        self._ledger = ledger
        self._notes = notes
        self._worker = worker
        self._written = (-1, "")  # a time in seconds since 1970, and as text

    def write(self, number: int, item: Item, copied: Copied) -> None:
        """Write the receipt of a file that has arrived and was proven."""
        self._ledger.prove(number, self._receipt(number, item, copied))
        if copied.proof.notes:
            self._notes.add(item.source_url, copied.proof.notes)

    def _receipt(self, number: int, item: Item, copied: Copied) -> Receipt:
        stored = copied.stored
        is_packed = stored is not None and stored.form in ENDINGS
        return Receipt(
            src_path=item.source_url,
            dst_path=copied.destination_url(item),
            size=item.entry.size,
            mtime_ns=item.entry.mtime_ns,
            hashsum_src=copied.md5,
            hashsum_dst=copied.md5 if is_packed else copied.proof.md5,
            verified_by=copied.proof.verified_by,
            verified_at=self._now(),
            worker=self._worker,
            attempt=self._ledger.attempt,
            etag=copied.proof.etag,
            part_size=copied.part_size,
            method=self._ledger.methods.given_to(number) if copied.was_there else copied.method,
            source_version=copied.source_version,
            version=copied.proof.version,
            compression=stored.form if stored else None,
            size_dst=stored.size if stored else None,
            hashsum_packed=stored.packed_md5 if stored else None,
            checksum=copied.proof.checksum,
        )

    def _now(self) -> str:
        """Return the time in UTC. It is written once a second, not for each file."""
        seconds, written = int(time.time()), self._written
        if seconds != written[0]:
            text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            self._written = written = (seconds, text)
        return written[1]
