"""Doubt: whether a refusal is about one job's files, or about the store that all jobs use.

A store answers "denied", or a server "internal error", in the same way for one file and for all
files. What else works shows the difference.
"""

from __future__ import annotations

from collections.abc import Callable

from jobtool.errors import (
    FileError,
    InfrastructureError,
    JobtoolError,
    StoreUnavailableError,
    UnreachableError,
)
from jobtool.stores.optional import AccessCheck, supports
from jobtool.transfer.plan import Item

#: The worker stops after this many jobs in a row for which nothing worked.
MOST_IN_A_ROW = 5

#: How often, and how many seconds apart, a worker looks whether others make progress.
_LOOKS_ELSEWHERE = 20
_LOOK_SECONDS = 0.5


class Doubts:
    """What a worker knows of its stores, over all its jobs.

    ``elsewhere`` returns the number of files and jobs that the other workers of its run have
    finished so far, -1 if there are no others. ``wait`` sleeps for some seconds and returns True if
    the worker is asked to stop.
    """

    def __init__(self, elsewhere: Callable[[], int], wait: Callable[[float], bool]) -> None:
        self._elsewhere = elsewhere
        self._wait = wait
        self._last_arrived: Item | None = None
        self._row: set[str] = set()  # jobs for which nothing worked, since something last did
        self._succeeded = 0
        #: How much had succeeded when each job was last in doubt: here, and in other workers.
        self._in_doubt: dict[str, tuple[int, int]] = {}
        self._elsewhere_before = 0

    def note_arrival(self, item: Item) -> None:
        """Record a file that has arrived. Threads may call it."""
        self._last_arrived = item
        self._end_row()

    def note_success(self) -> None:
        """Record a job that has succeeded."""
        self._end_row()
        self._succeeded += 1

    def _end_row(self) -> None:
        if self._row:
            self._row = set()

    def is_of_the_job(self, job_id: str, proven: Item | None = None) -> bool:
        """Return True if a refusal concerns this job only, because other things work.

        - The last file that arrived can still be read at its source, and its destination can still
          be written to. Or that is so for ``proven``, which arrived in an earlier attempt.
        - Or something else has succeeded, here or in the same run, since the job was last in doubt.

        Raises ``InfrastructureError`` if the store's answer shows that it can't be used.
        """
        before = self._in_doubt.get(job_id)
        if before is not None and (self._succeeded > before[0] or self._elsewhere() > before[1]):
            return True
        arrived = (item for item in (self._last_arrived, proven) if item is not None)
        return any(map(_still_works, arrived))

    @property
    def is_any_open(self) -> bool:
        """Whether nothing has worked since a job was last in doubt."""
        return bool(self._row)

    def is_met_again(self, job_id: str) -> bool:
        """Return True if a job was in doubt before, and nothing has worked since."""
        return job_id in self._row

    def add(self, job_id: str, error: JobtoolError) -> None:
        """Record a job in doubt, which is handed back.

        Raises ``InfrastructureError`` once enough jobs in a row were in doubt, or one job twice,
        while no other worker of the run makes progress.
        """
        elsewhere = self._elsewhere()
        if not self._row:
            self._elsewhere_before = elsewhere
        self._in_doubt[job_id] = (self._succeeded, elsewhere)
        is_met_again = self.is_met_again(job_id)
        self._row.add(job_id)
        is_enough = is_met_again or len(self._row) >= MOST_IN_A_ROW
        if not is_enough or self._wait(0):
            return
        if self._works_elsewhere():
            self._end_row()
            return
        if isinstance(error, InfrastructureError):
            raise error
        raise StoreUnavailableError(
            f"{error}. Nothing was transferred for {len(self._row)} job(s) in a row, so this "
            "may be true of all: check the credentials and permissions, or the server."
        )

    def _works_elsewhere(self) -> bool:
        """Wait for other workers of the run, if there are any, to succeed."""
        for _ in range(_LOOKS_ELSEWHERE):
            now = self._elsewhere()
            if now > self._elsewhere_before:
                return True
            if now < 0:
                return False
            if self._wait(_LOOK_SECONDS):
                return True  # asked to stop: no other job follows
        return False


def _still_works(item: Item) -> bool:
    source, destination = item.route.source, item.route.destination
    try:
        try:
            source.read(item.entry, 0, min(item.entry.size, 1))
        except FileError:
            if not supports(source, AccessCheck):
                return False
            source.check_access(write=False)  # only that file may be gone
        if not supports(destination, AccessCheck):
            return False  # no evidence
        destination.check_access(write=True)
    except (FileError, UnreachableError):  # a temporary error, which proves nothing
        return False
    return True
