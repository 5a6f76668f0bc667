"""The log of files given to methods other than ``stream``, with their claims of arrival."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

from jobtool.jobs.records import IntentRecord, Record
from jobtool.transfer.plan import Plan

_NEVER_GIVEN = 0
_GONE_ON_WITHOUT = 1
_FIRST_NAME = 2
_MOST_NAMES = 256 - _FIRST_NAME


class MethodLog:
    """Records which method was given each file of a plan, in one byte each. Threads may call it.

    ``append`` writes a record to the job's journal, ``flush`` brings the journal to disk.
    """

    def __init__(
        self, plan: Plan, *, append: Callable[[Record], None], flush: Callable[[], None]
    ) -> None:
        self._plan = plan
        self._append = append
        self._flush = flush
        self._lock = threading.Lock()
        self._names: list[str] = []
        self._given = bytearray()  # a name's place, from _FIRST_NAME on
        self._claimed: set[int] = set()
        self._different: set[int] = set()

    def grow(self, count: int) -> None:
        """Add files that no method was given."""
        self._given.extend(bytes(count))

    def fold(self, number: int, method: str | None) -> None:
        """Add a record: ``method`` was given a file, or (None) the file then went another way."""
        with self._lock:
            if method is not None and method not in self._names:
                if len(self._names) == _MOST_NAMES:  # an honest journal has two or three
                    return
                self._names.append(method)
            if method is not None:
                self._given[number] = _FIRST_NAME + self._names.index(method)
            elif self._given[number] != _NEVER_GIVEN:
                self._given[number] = _GONE_ON_WITHOUT

    def give(self, numbers: Iterable[int], method: str) -> None:
        """Record on disk that a method is about to be given files: those that appear are its own.

        Raises what ``Ledger.flush`` does.
        """
        for number in numbers:
            self.fold(number, method)
            self._note(number, method)
        self._flush()

    def take_back(self, numbers: Iterable[int]) -> None:
        """Record on disk that files that a method was given now go another way.

        Raises what ``Ledger.flush`` does.
        """
        for number in numbers:
            if self.given_to(number) is not None:
                self.fold(number, None)
                self._note(number, None)
        self._flush()

    def _note(self, number: int, method: str | None) -> None:
        item = self._plan.item(number)
        record = IntentRecord(
            src_path=item.source_url,
            dst_path=item.destination_url,
            at_ns=time.time_ns(),
            has_file=True,
            method=method,
        )
        self._append(record)

    def given_to(self, number: int) -> str | None:
        """Return the method that was given a file last; None if the file went another way since."""
        place = self._given[number]
        return self._names[place - _FIRST_NAME] if place >= _FIRST_NAME else None

    def was_given(self, number: int) -> bool:
        """Return True if a method was given a file, so that a file at the destination is ours."""
        return self._given[number] != _NEVER_GIVEN

    def claim(self, number: int) -> None:
        """Record that a method claims a file as arrived: it is compared, not sent."""
        self._claimed.add(number)

    def is_claimed(self, number: int) -> bool:
        """Return True if a method claims a file as arrived and no comparison has refuted that."""
        return number in self._claimed

    def leave(self, number: int) -> None:
        """Record that a comparison found no file, or another one, at the destination."""
        self._claimed.discard(number)
        self._different.add(number)

    def is_different(self, number: int) -> bool:
        """Return True if a comparison found no file, or another one of whatever size."""
        return number in self._different
