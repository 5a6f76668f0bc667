"""The files that are still to be done."""

from __future__ import annotations

import threading
from array import array
from collections.abc import Iterable


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

    def pop_first(self) -> int | None:
        """Remove and return the first file; return None if there is none."""
        with self._lock:
            if self._front == len(self._numbers):
                return None
            self._front += 1
            return self._numbers[self._front - 1]

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
