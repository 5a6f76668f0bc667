"""Faults that affect calls of a store."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from typing import Literal

import msgspec

from jobtool.stores.store import Store


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """An error that a method raises.

    ``path`` limits it to calls for that path. ``times`` is how often it strikes (None: always), and
    ``skip`` how many calls pass before. With ``late`` the method does its work first, as if its
    answer were lost. A fault of ``list`` or ``children`` strikes before the first item, or with
    ``late`` after the last.
    """

    method: str
    error: Exception
    path: str | None = None
    times: int | None = 1
    skip: int = 0
    late: bool = False


class Corruption(msgspec.Struct, frozen=True, kw_only=True):
    """One flipped byte in data that is sent or received.

    It affects data sent by ``write`` and ``put_part``, and data returned by ``read``. ``path``,
    ``times`` and ``skip`` are those of ``Fault``. Calls without data aren't affected.
    """

    method: Literal["write", "put_part", "read"]
    path: str | None = None
    times: int | None = 1
    skip: int = 0


class Faulty:
    """What all parts of a faulty store share: the wrapped store, its faults, its counts."""

    def __init__(self, inner: Store, faults: Sequence[Fault | Corruption] = ()) -> None:
        self.inner = inner
        self.calls: Counter[str] = Counter()
        self.bytes_written = 0
        self._lock = threading.Lock()
        self._pending = [_Pending(fault) for fault in faults]

    @property
    def faults_left(self) -> list[Fault | Corruption]:
        """The faults that have yet to strike, except those that always do."""
        with self._lock:
            return [pending.fault for pending in self._pending if pending.times_left]

    def strike(self, method: str, path: str) -> Exception | None:
        """Raise the error of a fault that strikes now. Return that of one that strikes late."""
        with self._lock:
            self.calls[method] += 1
            fault = self._take(Fault, method, path)
        if isinstance(fault, Fault):
            if fault.late:
                return fault.error
            raise fault.error
        return None

    def corrupt(self, method: str, path: str, data: bytes | memoryview) -> bytes | memoryview:
        """Return the data, with one byte flipped if a corruption strikes."""
        if not data:
            return data
        with self._lock:
            if self._take(Corruption, method, path) is None:
                return data
        flipped = bytearray(data)
        flipped[len(flipped) // 2] ^= 0x01
        return bytes(flipped)

    def _take(
        self, kind: type[Fault | Corruption], method: str, path: str
    ) -> Fault | Corruption | None:
        for pending in self._pending:
            fault = pending.fault
            fits = isinstance(fault, kind) and fault.method == method and fault.path in (None, path)
            if fits and pending.fires():
                return fault
        return None

    def count(self, size: int) -> None:
        """Count bytes that were written."""
        with self._lock:
            self.bytes_written += size


class _Pending:
    def __init__(self, fault: Fault | Corruption) -> None:
        self.fault = fault
        self.times_left = fault.times
        self._to_skip = fault.skip

    def fires(self) -> bool:
        if self.times_left == 0:
            return False
        if self._to_skip:
            self._to_skip -= 1
            return False
        if self.times_left is not None:
            self.times_left -= 1
        return True
