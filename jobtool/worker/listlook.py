"""How far the whole joblist is, as a worker tells it: looked at by a thread of its own."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from jobtool.report.estimate import Estimate

if TYPE_CHECKING:
    from jobtool.jobs.joblist import JobList
    from jobtool.worker.options import Looks

#: Nothing is looked at before: a short run needn't know.
_FIRST_SECONDS = 2.0

#: How long a look may read new job files.
_LOOK_SECONDS = 0.5

_SHORTEST_PAUSE_SECONDS = 2.0

#: The looks of all workers together take this part of a core, and as much of the filesystem.
_SHARE = 0.05

#: All single workers together read no more job files than this when they begin to look. There may
#: be a thousand of them.
MOST_READS = 20_000

#: How long a worker waits that may not look, before it counts the workers again.
_COUNT_AGAIN_SECONDS = 60.0


class ListLook:
    """Estimates how much there is to do. Nothing here raises.

    Nothing waits for the filesystem but the thread. ``latest`` is None as long as not all jobs have
    been read, or if they can't be.
    """

    def __init__(self, joblist: JobList, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.latest: Estimate | None = None
        self._joblist = joblist
        self._monotonic = monotonic
        self._may_look: Callable[[], bool] = bool
        self._is_over = threading.Event()
        # A daemon: the joblist's filesystem may hang.
        self._thread = threading.Thread(target=self._run, name="list-look", daemon=True)

    def estimate(self) -> Estimate | None:
        """Return the last estimate."""
        return self.latest

    @contextlib.contextmanager
    def looking(self, may_look: Callable[[], bool] | None) -> Iterator[None]:
        """Look at the list during the block, whenever ``may_look`` returns True; never for None."""
        if may_look is not None:
            self._may_look = may_look
            with contextlib.suppress(RuntimeError):  # no thread, because of a limit
                self._thread.start()
        try:
            yield
        finally:
            self._is_over.set()

    def _run(self) -> None:
        from jobtool.report.live import LiveJoblist

        pause = _FIRST_SECONDS
        live: LiveJoblist | None = None
        while not self._is_over.wait(pause):
            began = self._monotonic()
            try:
                if live is None and not self._may_look():
                    pause = _COUNT_AGAIN_SECONDS
                    continue
                live = live or LiveJoblist(self._joblist)
                live.look(_LOOK_SECONDS)
                self.latest = None if live.unread else live.estimate()
                workers = max(len(live.states), 1)
            except Exception:  # also a bug: it is only for people
                workers = 1
            took = self._monotonic() - began
            pause = max(_SHORTEST_PAUSE_SECONDS, took * workers / _SHARE)


def look_rule(
    looks: Looks, *, jobs: int, rank: int, is_alone: bool, workers: Callable[[], int]
) -> Callable[[], bool] | None:
    """Return what ``ListLook.looking`` takes, for a worker of this rank and a list of so many jobs.

    ``workers`` counts those of the joblist, of whom each looks for itself if it is alone.
    """
    if rank or looks == "never":
        return None
    if looks == "always" or not is_alone:
        return lambda: True
    return lambda: jobs * max(workers(), 1) <= MOST_READS
