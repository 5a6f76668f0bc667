"""The files that are still to be done."""

from __future__ import annotations

import threading
from array import array
from collections.abc import Iterable, Sequence

#: Nobody takes more than one of so many parts of what is left.
_TAKERS = 8


class FileQueue:
    """Files to be done, by number. Threads take from the front, a ``Consumer`` from the back."""

    def __init__(self, numbers: Iterable[int]) -> None:
        self._numbers = array("Q", numbers)
        self._front = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._numbers) - self._front

    def first(self) -> int | None:
        """Return the first file without removing it; return None if there is none."""
        with self._lock:
            return self._numbers[self._front] if self._front < len(self._numbers) else None

    def pop_first(self, most: int = 1) -> Sequence[int]:
        """Remove and return the first files, at most ``most``; return none if there are none.

        Near the end there are fewer, so that no other thread waits for this one.
        """
        with self._lock:
            start, left = self._front, len(self)
            self._front += min(most, max(left // _TAKERS, 1), left)
            return self._numbers[start : self._front]

    def pop_last(self) -> int | None:
        """Remove and return the last file; return None if there is none."""
        with self._lock:
            return self._numbers.pop() if self._front < len(self._numbers) else None

    def some_last(self, count: int) -> array[int]:
        """Return the last ``count`` files, or all, without removing them."""
        with self._lock:
            return self._numbers[max(self._front, len(self._numbers) - count) :]

    def put_back(self, numbers: Iterable[int]) -> None:
        """Add files at the end."""
        with self._lock:
            self._numbers.extend(numbers)
