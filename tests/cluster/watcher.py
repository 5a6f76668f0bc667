"""Watches a joblist from outside while workers work on it, and keeps what it saw.

In the end a joblist shows only the last version of each file. Frequent looks show what one worker
overwrote of another: a job's log must only ever grow.
"""

from __future__ import annotations

import contextlib
import threading
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from jobtool.jobs.jobfile import SEPARATOR
from jobtool.jobs.journal import Journal
from jobtool.jobs.records import Receipt

_PERIOD_SECONDS = 0.2


class Watcher:
    """``rewritten`` are the jobs whose log has lost lines; ``receipts`` all that were seen."""

    def __init__(self, joblist: Path) -> None:
        self.rewritten: list[str] = []
        self.receipts: dict[str, set[Receipt]] = defaultdict(set)
        self._joblist = joblist
        self._logs: dict[str, bytes] = {}
        self._journals: dict[str, int] = {}

    def look(self) -> None:
        """Read everything once."""
        for path in self._joblist.glob("*.txt"):
            _, _, log = path.read_bytes().partition(f"\n{SEPARATOR}\n".encode())
            before = self._logs.get(path.stem, b"")
            if not log.startswith(before):
                self.rewritten.append(f"{path.stem}: {before!r} became {log!r}")
            self._logs[path.stem] = log
        for path in (self._joblist / "journals").glob("*.jsonl"):
            with contextlib.suppress(FileNotFoundError):
                size = path.stat().st_size
                if self._journals.get(path.stem) != size:
                    self._journals[path.stem] = size
                    records = Journal(str(path)).read()
                    found = {record for record in records if isinstance(record, Receipt)}
                    self.receipts[path.stem] |= found

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Look repeatedly, in a thread, until the block ends, and once more after that."""
        is_over = threading.Event()

        def work() -> None:
            while not is_over.wait(_PERIOD_SECONDS):
                self.look()

        thread = threading.Thread(target=work, name="watcher")
        thread.start()
        try:
            yield
        finally:
            is_over.set()
            thread.join()
            self.look()
