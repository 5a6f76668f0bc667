"""Adding records to a catalog."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

from msgspec.structs import replace

from jobtool.catalog.copy import Copy, Record, require_copy
from jobtool.catalog.folder import CatalogFolder, folder_at
from jobtool.catalog.recordfile import write_records
from jobtool.errors import UsageError
from jobtool.md5 import md5_of
from jobtool.stores.registry import StoreRegistry

#: So many records are written even if the caller doesn't flush.
MOST_PENDING = 100_000

_MICROSECOND = timedelta(microseconds=1)


def _now() -> datetime:
    return datetime.now(UTC)


class CatalogWriter:
    """Adds records to the catalog at a URL or path. Threads may share one.

    ``writer`` names who records, such as a host and a process; it is a part of files' names.
    Several writers may have one name. Nothing is contacted before the first ``flush``. Raises
    ``UsageError`` for an empty name, and the errors of ``CatalogFolder``.
    """

    def __init__(
        self,
        place: str | CatalogFolder,
        writer: str,
        *,
        stores: StoreRegistry | None = None,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        if not writer:
            raise UsageError("the writer of a catalog: expected a name; found an empty one")
        self._folder = folder_at(place, stores, role="destination")
        self._writer = writer
        self._clock = clock
        self._pending: list[Record] = []
        self._last: datetime | None = None
        self._files = 0
        self._lock = threading.Lock()

    def add(self, copies: Iterable[Copy], *, after: datetime | None = None) -> None:
        """Record copies. They are durable once ``flush`` has returned.

        ``verified_at`` of each is the time of its evidence. The record whose evidence is the latest
        counts. ``after`` is the time of evidence that these copies follow from, perhaps by another
        host's clock: ``verified_at`` of a record that the caller has read, or when the step before
        ended. Copies that are older by their own clock get the microsecond after it. Raises
        ``UsageError`` for a copy that can't be recorded, and the errors of ``flush``.
        """
        for copy in copies:
            require_copy(copy)
            if after is not None and copy.verified_at <= after:
                copy = replace(copy, verified_at=after + _MICROSECOND)  # noqa: PLW2901
            with self._lock:
                self._pending.append(
                    Record(copy=copy, recorded_at=self._time(), writer=self._writer)
                )
                is_full = len(self._pending) >= MOST_PENDING
            if is_full:
                self.flush()

    def flush(self) -> str | None:
        """Write what was added as one new file, proven and durable; return its URL.

        Returns None if there is nothing to write. After an error the records are kept, so that it
        may be called again. Raises the errors of writing.
        """
        with self._lock:
            if not self._pending:
                return None
            file = io.BytesIO()
            write_records(file, self._pending)
            data = file.getvalue()
            store = self._folder.records
            name = self._folder.new_name(self._writer, self._files)
            self._folder.publish(store, name, lambda: [data], md5_of(data))
            self._files += 1
            self._pending.clear()
        return store.url_of(name)

    def _time(self) -> datetime:
        """Return the time of a record: that of the clock, but later than the record before."""
        now = self._clock().astimezone(UTC)
        if self._last is not None and now <= self._last:
            now = self._last + _MICROSECOND
        self._last = now
        return now
