"""Writing a list of names: any number of them, in any order, in bounded memory.

Names are sorted a million at a time. The sorted runs lie in files without a name, and are merged.
"""

from __future__ import annotations

import contextlib
import heapq
import tempfile
from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import IO

from jobtool.filters.namelist import MOST_BYTES, header_of

_READ_BYTES = 1024 * 1024


class NameWriter:
    """Collects names and writes them to a file.

    A run holds ``run_names`` names in memory, or ``run_bytes``; up to ``most_runs`` are merged at a
    time.
    """

    def __init__(
        self,
        *,
        run_names: int = 500_000,
        run_bytes: int = 64 * 1024 * 1024,
        most_runs: int = 64,
    ) -> None:
        self._run_names, self._run_bytes, self._most_runs = run_names, run_bytes, most_runs
        self._names: set[bytes] = set()
        self._bytes = 0
        self._runs: list[IO[bytes]] = []

    def add(self, name: bytes) -> None:
        """Add a name. Raises ``ValueError`` for one that no file can have."""
        if not name or b"\0" in name or len(name) > MOST_BYTES:
            raise ValueError(f"expected a name of 1 to {MOST_BYTES} bytes without NUL")
        self._names.add(name)
        self._bytes += len(name)
        if len(self._names) >= self._run_names or self._bytes >= self._run_bytes:
            self._end_run()

    def write(self, path: str) -> tuple[str, int]:
        """Write the list to a file, and sync it. Return its digest in hex, and the count.

        The digest is that of the names alone. Raises ``OSError``.
        """
        self._end_run()
        digest, count, size = sha256(), 0, 0
        with tempfile.TemporaryFile() as merged:
            for name in _distinct(heapq.merge(*map(_records, self._runs))):
                record = name + b"\0"
                merged.write(record)
                digest.update(record)
                count += 1
                size += len(record)
            merged.seek(0)
            with open(path, "wb") as file:
                file.write(header_of(count, size))
                while piece := merged.read(_READ_BYTES):
                    file.write(piece)
        return digest.hexdigest(), count

    def close(self) -> None:
        """Remove what was collected."""
        with contextlib.ExitStack() as stack:
            for run in self._runs:
                stack.callback(run.close)
        self._runs, self._names = [], set()

    def _end_run(self) -> None:
        if self._names:
            self._keep(sorted(self._names))
            self._names, self._bytes = set(), 0
        if len(self._runs) >= self._most_runs:
            runs, self._runs = self._runs, []
            self._keep(_distinct(heapq.merge(*map(_records, runs))))
            for run in runs:
                run.close()

    def _keep(self, names: Iterable[bytes]) -> None:
        run = tempfile.TemporaryFile()  # noqa: SIM115 closed by ``close``
        self._runs.append(run)
        run.writelines(name + b"\0" for name in names)


def _records(run: IO[bytes]) -> Iterator[bytes]:
    run.seek(0)
    rest = b""
    while piece := run.read(_READ_BYTES):
        *names, rest = (rest + piece).split(b"\0")
        yield from names


def _distinct(names: Iterable[bytes]) -> Iterator[bytes]:
    last = None
    for name in names:
        if name != last:
            yield name
        last = name
