"""Presence: each worker's sign of life in a joblist, in a folder of its own.

Always a lease, of whatever kind the claims are, so that workers of other nodes see it.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator

from filelock import LeaseSettingsMismatch, SoftFileLease, Timeout

from jobtool.errors import JoblistUnavailableError
from jobtool.jobs.lease import SUFFIX, LeaseWatch
from jobtool.names import quote

_LOOK_SECONDS = 0.2

WORKERS_FOLDER = "workers"


class Presences:
    """The workers of a joblist: ``folder`` has a marker for each."""

    def __init__(self, claims_path: str, lease_seconds: float) -> None:
        self.folder = os.path.join(claims_path, WORKERS_FOLDER)
        self._lease_seconds = lease_seconds
        self._watch = LeaseWatch(lease_seconds)
        self._host: str | None = None  # as filelock names this one
        self._beginning = ""  # of the names of this host's workers

    @contextlib.contextmanager
    def announced(self, name: str) -> Iterator[None]:
        """Be present as ``name``, ``HOST-PID-…``, for the length of the block.

        Raises ``JoblistUnavailableError`` if the folder can't be written.
        """
        try:
            os.makedirs(self.folder, exist_ok=True)
            lease = self._lease(name)
            lease.acquire(timeout=0)
        except (OSError, Timeout) as error:
            raise JoblistUnavailableError(
                f"can't write in {quote(self.folder)}: {getattr(error, 'strerror', None) or error}"
            ) from None
        owner = lease.owner
        self._host = None if owner is None else owner.hostname
        self._beginning = name.rpartition(f"-{os.getpid()}-")[0] + "-"
        try:
            yield
        finally:
            lease.release()

    def count(self) -> int:
        """Return how many workers have announced themselves; forget dead ones of this host.

        Those of other hosts that died since are included.
        """
        names = self._names()
        return len(names) - sum(
            self._may_be_dead(name) and not self.is_present(name) for name in names
        )

    def _names(self) -> list[str]:
        return [name.removesuffix(SUFFIX) for name in os.listdir(self.folder)]

    def _may_be_dead(self, name: str) -> bool:
        """Tell whether a worker of this host has no process; asks nothing of the filesystem."""
        pid = name.removeprefix(self._beginning).partition("-")[0]
        if not name.startswith(self._beginning) or not pid.isdigit():
            return False
        try:
            os.kill(int(pid), 0)
        except (ProcessLookupError, OverflowError):
            return True
        except PermissionError:
            pass
        return False

    def wait_to_know(self, matters: Callable[[str], bool]) -> list[str]:
        """Return the names of the workers present of which ``matters`` says so; forget dead ones.

        Of those of other nodes it takes until their next sign of life to know, at most a lease.
        """
        while True:
            found = sorted(
                name for name in self._names() if matters(name) and self.is_present(name)
            )
            if not found or not self._watch.is_undecided:
                return found
            time.sleep(_LOOK_SECONDS)

    def is_present(self, name: str) -> bool:
        """Tell whether a worker is there, as far as one look can tell; forget a dead one.

        A dead one of another node counts as present until it was looked at for a whole lease.
        """
        path = self._path(name)
        if not os.path.lexists(path):
            return False
        lease = self._lease(name)
        try:
            lease.acquire(timeout=0)
        except (Timeout, LeaseSettingsMismatch):
            owner = lease.owner
            if owner is not None and owner.hostname == self._host:
                return True  # filelock has seen its process
            if not self._watch.is_expired(path):
                return True
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            return False
        lease.release()
        return False

    def _path(self, name: str) -> str:
        return os.path.join(self.folder, name + SUFFIX)

    def _lease(self, name: str) -> SoftFileLease:
        return SoftFileLease(
            self._path(name), lease_duration=self._lease_seconds, thread_local=False
        )
