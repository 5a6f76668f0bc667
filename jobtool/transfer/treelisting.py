"""Listing a tree into its plan. After a retryable error the listing continues."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator

from jobtool.errors import StoppedError, StoreError
from jobtool.names import quote
from jobtool.stores.store import Entry, Special, Unlisted
from jobtool.transfer.plan import MAX_FAILURES, Plan, Route
from jobtool.transfer.retry import Retry, Successes
from jobtool.transfer.selecting import fail_unseen, is_left_out, list_selected
from jobtool.transfer.throttle import Throttle

#: How many entries are listed between two checks of the stop.
_ENTRIES_PER_LOOK = 64

#: How many entries count as one page of a listing: about what stores send at a time.
_ENTRIES_PER_PAGE = 16 * _ENTRIES_PER_LOOK


class TreeListing:
    """Lists a tree into its plan. The try after a failure adds the entries after the last one.

    What the plan's ``selection`` leaves out is only counted, in ``plan.excluded``.

    ``on_entry`` is called after each entry. ``throttle`` limits the requests: a thousand entries
    count as one.
    """

    def __init__(
        self, plan: Plan, route: Route, finish: Callable[[Plan], None], retry: Retry
    ) -> None:
        self.plan = plan
        self.route = route
        self.retry = retry
        self._successes = Successes(retry.monotonic)
        self.on_entry: Callable[[], None] | None = None
        self.throttle: Throttle | None = None
        self._finish = finish
        self._entries: Iterator[Entry | Special | Unlisted] | None = None
        self._last = b""  # the key of the entry that was added last
        self._previous = b""  # the key of the entry that this pass has seen last
        self._skip_to = b""  # the last key that earlier passes added: nothing is new up to there
        self._is_in_order = True

    def run(self, *, seconds: float | None = None) -> bool:
        """List the rest, for no longer than ``seconds``; return True if all is listed.

        Raises the errors of the source after the last try, and ``StoppedError`` once the stop of
        ``retry`` is set.
        """
        return self.retry.call(lambda: self._try(seconds), own=self._successes)

    def _try(self, seconds: float | None) -> bool:
        end = None if seconds is None else time.monotonic() + seconds
        if self._entries is None:
            self._skip_to, self._previous = self._last, b""
            if self._skip_to and not self._is_in_order:
                raise self._unsorted()
        entries = self._entries or list_selected(self.route.source, self.plan.selection, self.retry)
        self._entries = None  # a failed pass begins again
        try:
            for count, entry in enumerate(entries):
                if count % _ENTRIES_PER_LOOK == 0:
                    self._require_going()
                    if self.throttle is not None and count % _ENTRIES_PER_PAGE == 0:
                        self.throttle.request(self.route.source, self._require_going)
                    if end is not None and count and time.monotonic() >= end:
                        self._add(entry)
                        self._entries, entries = entries, iter(())
                        return False
                self._add(entry)
        finally:
            close = getattr(entries, "close", None)
            if close is not None:
                close()
        fail_unseen(self.plan, self.route, self.retry, MAX_FAILURES + 1)
        self._finish(self.plan)
        return True

    def _require_going(self) -> None:
        if self.retry.stop.is_set():
            raise StoppedError(f"stopped while listing {quote(self.route.source.url)}")

    def _unsorted(self) -> StoreError:
        return StoreError(
            f"{quote(self.route.source.url)}: its listing failed midway, and can't go on since it "
            "isn't sorted"
        )

    def _add(self, entry: Entry | Special | Unlisted) -> None:
        key = _sort_key(entry)
        if key <= self._previous:
            self._is_in_order = False
            if self._skip_to:  # skipped entries may be new
                raise self._unsorted()
        self._previous = key
        if self._skip_to and key <= self._skip_to:
            return
        self._last = key
        self._successes.note()
        if self.plan.selection is not None and self.plan.selection.names is not None:
            self.plan.selection.names.see(entry.path)
        if is_left_out(self.plan.selection, entry):
            self.plan.excluded += 1
        elif isinstance(entry, Special):
            self.plan.add_special(entry)
        elif isinstance(entry, Unlisted):
            self.plan.fail(self.route.source.url_of(entry.path), entry.error)
        else:
            self.plan.add(entry)
            if self.on_entry is not None:
                self.on_entry()


def _sort_key(entry: Entry | Special | Unlisted) -> bytes:
    # Folders sort as if their names ended in a slash.
    is_folder = (
        entry.what in ("empty-folder", "excluded-folder")
        if isinstance(entry, Special)
        else isinstance(entry, Unlisted) and entry.is_folder
    )
    return os.fsencode(entry.path) + b"/" * is_folder
