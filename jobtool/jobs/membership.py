"""Presence: each worker's sign of life in a joblist, in a folder of its own.

Always a lease, of whatever kind the claims are, so that workers of other nodes see it.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator

from filelock import LeaseCompromise, LeaseSettingsMismatch, SoftFileLease, Timeout

from jobtool.errors import JoblistUnavailableError, MembershipLostError
from jobtool.jobs.lease import SUFFIX, LeaseWatch, holds, is_in_place
from jobtool.names import quote

_LOOK_SECONDS = 0.2

WORKERS_FOLDER = "workers"


class Membership:
    """The workers of a joblist: ``folder`` has a marker for each."""

    def __init__(
        self,
        claims_path: str,
        lease_seconds: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folder = os.path.join(claims_path, WORKERS_FOLDER)
        self._lease_seconds = lease_seconds
        self._watch = LeaseWatch(lease_seconds, monotonic)
        self._monotonic = monotonic
        self._own: SoftFileLease | None = None
        self._token = ""
        self._is_given_up = False
        self._looked_at = float("-inf")
        self._host: str | None = None  # as filelock names this one
        self._beginning = ""  # of the names of this host's workers

    @contextlib.contextmanager
    def announced(self, name: str, on_loss: Callable[[], None] | None = None) -> Iterator[None]:
        """Be present as ``name``, ``HOST-PID-…``, for the length of the block.

        ``on_loss`` is called from another thread when others have taken this worker for dead.
        Raises ``JoblistUnavailableError`` if the folder can't be written.
        """
        try:
            os.makedirs(self.folder, exist_ok=True)
            lease = self._lease(name, on_loss)
            lease.acquire(timeout=0)
        except (OSError, Timeout) as error:
            raise JoblistUnavailableError(
                f"can't write in {quote(self.folder)}: {getattr(error, 'strerror', None) or error}"
            ) from None
        owner = lease.owner
        self._host = None if owner is None else owner.hostname
        self._own, self._token = lease, lease.token or ""
        self._looked_at = self._monotonic()
        self._beginning = name.rpartition(f"-{os.getpid()}-")[0] + "-"
        try:
            yield
        finally:
            self._own = None
            lease.release()

    def require_present(self) -> None:
        """Raise ``MembershipLostError`` if others may have taken this worker for dead.

        They do so after a lease without a sign of life. So a look each half of one tells in time,
        also after this process was frozen, and hardly any call of this asks the filesystem.
        """
        now = self._monotonic()
        own = self._own
        if own is None:
            return
        if self._is_given_up:
            raise MembershipLostError(
                "this worker hung for too long, so that its jobs were left to others. It ends; "
                "start it again."
            )
        if own.compromise is None and now - self._looked_at < self._lease_seconds / 2:
            return
        if not holds(lambda: is_in_place(own, self._token)):
            raise MembershipLostError(
                f"this worker gave no sign of life in {quote(self.folder)} for too long, or its "
                "marker was removed: others may claim in another way now. It ends; start it again."
            )
        self._looked_at = now

    def give_up(self) -> None:
        """Let others take this worker for dead: it hangs. Called from a thread that doesn't."""
        self._is_given_up = True
        own = self._own
        if own is not None:
            with contextlib.suppress(OSError):
                own.release()

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
        if not name.startswith(self._beginning) or not (pid.isascii() and pid.isdigit()):
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
            # By its own duration: it may have been told another than we were.
            told = owner.lease_duration if owner is not None else None
            if not self._watch.is_expired(path, max(self._lease_seconds, told or 0)):
                return True
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            return False
        lease.release()
        return False

    def _path(self, name: str) -> str:
        return os.path.join(self.folder, name + SUFFIX)

    def _lease(self, name: str, on_loss: Callable[[], None] | None = None) -> SoftFileLease:
        def on_compromise(compromise: LeaseCompromise) -> None:
            if on_loss is not None:
                on_loss()

        return SoftFileLease(
            self._path(name),
            lease_duration=self._lease_seconds,
            thread_local=False,
            on_compromise=on_compromise,
        )
