"""Membership: which workers of a joblist are running.

Each worker holds a lease in a folder of the joblist, whatever the kind of claims. So workers on
other nodes see it.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator

from filelock import LeaseCompromise, LeaseSettingsMismatch, SoftFileLease, Timeout

from jobtool.errors import JoblistUnavailableError, MembershipLostError, reason_of
from jobtool.jobs.joblist import WORKERS_FOLDER
from jobtool.jobs.lease import SUFFIX, LeaseWatch, holds, is_in_place
from jobtool.jobs.process import is_process
from jobtool.names import quote

_LOOK_SECONDS = 0.2


class Membership:
    """The workers of a joblist. ``folder`` has a marker for each."""

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
        self._checked_at = float("-inf")
        self._host: str | None = None  # filelock's name for this host
        self._prefix = ""  # of the names of this host's workers

    @contextlib.contextmanager
    def joined(self, name: str, on_loss: Callable[[], None] | None = None) -> Iterator[None]:
        """Make this worker a member, as ``name`` (``HOST-PID-…``), for the duration of the block.

        ``on_loss`` is called from another thread if other workers regard this one as dead. Raises
        ``JoblistUnavailableError`` if the folder can't be written.
        """
        try:
            os.makedirs(self.folder, exist_ok=True)
            lease = self._lease(name, on_loss)
            lease.acquire(timeout=0)
        except (OSError, Timeout) as error:
            raise JoblistUnavailableError(
                f"can't write in {quote(self.folder)}: {reason_of(error)}"
            ) from None
        owner = lease.owner
        self._host = None if owner is None else owner.hostname
        self._own, self._token = lease, lease.token or ""
        self._checked_at = self._monotonic()
        self._prefix = name.rpartition(f"-{os.getpid()}-")[0] + "-"
        try:
            yield
        finally:
            self._own = None
            lease.release()

    def require_present(self) -> None:
        """Raise ``MembershipLostError`` if other workers may regard this one as dead.

        They do so after one lease duration without a heartbeat. So the marker is checked once in
        half a duration. That is in time also after this process was frozen, and hardly any call
        asks the filesystem.
        """
        now = self._monotonic()
        own = self._own
        if own is None:
            return
        if self._is_given_up:
            raise MembershipLostError(
                "this worker hung for too long, so it gave up its jobs. It stops; start it again."
            )
        if own.compromise is None and now - self._checked_at < self._lease_seconds / 2:
            return
        if not holds(lambda: is_in_place(own, self._token)):
            raise MembershipLostError(
                f"this worker sent no heartbeat in {quote(self.folder)} for too long, or its "
                "marker was removed: other workers may use another kind of claims now. It stops; "
                "start it again."
            )
        self._checked_at = now

    def give_up(self) -> None:
        """End the membership of this worker, which hangs. Called from a thread that doesn't."""
        self._is_given_up = True
        own = self._own
        if own is not None:
            with contextlib.suppress(OSError):
                own.release()

    def count(self) -> int:
        """Return the number of members; remove the dead ones of this host first.

        Dead workers of other hosts are still counted.
        """
        names = self._names()
        return len(names) - sum(
            self._may_be_dead(name) and not self.is_present(name) for name in names
        )

    def _names(self) -> list[str]:
        return [name.removesuffix(SUFFIX) for name in os.listdir(self.folder)]

    def _may_be_dead(self, name: str) -> bool:
        """Return True if a worker of this host has no process. The filesystem isn't used."""
        pid = name.removeprefix(self._prefix).partition("-")[0]
        if not name.startswith(self._prefix) or not (pid.isascii() and pid.isdigit()):
            return False
        return not is_process(int(pid))

    def wait_to_know(self, matters: Callable[[str], bool]) -> list[str]:
        """Return the names of the running workers for which ``matters`` returns True.

        Dead ones are removed. Whether a worker on another node is running shows with its next
        heartbeat, so this waits for up to one lease duration.
        """
        while True:
            found = sorted(
                name for name in self._names() if matters(name) and self.is_present(name)
            )
            if not found or not self._watch.is_undecided:
                return found
            time.sleep(_LOOK_SECONDS)

    def is_present(self, name: str) -> bool:
        """Return True if a worker is running, as far as one look shows; remove a dead one.

        A dead worker of another node counts as running until this process has watched it for one
        lease duration.
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
            # Its own lease duration may differ from ours.
            theirs = owner.lease_duration if owner is not None else None
            if not self._watch.is_expired(path, max(self._lease_seconds, theirs or 0)):
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
