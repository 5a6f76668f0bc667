"""Leases: one process of any node holds a name as long as its heartbeat lasts.

``filelock.SoftFileLease`` makes the marker, refreshes it and detects its loss. On most shared
filesystems it can't take over the marker of a dead holder: that needs an atomic exchange of two
names, which NFS, FUSE and others lack. Without it the marker would stay for ever. So markers here
are numbered, ``NAME.1.lease``, ``NAME.2.lease``. A process that has watched a marker for its whole
duration without a heartbeat makes the next, by exclusive creation, which every filesystem has. The
highest number holds. A holder that wakes up after such a takeover finds the number above its own.

A lease says which process should be working. It doesn't guarantee that no other is: between a
check and the write that follows it, a process may be frozen for longer than its lease.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable

import msgspec
from filelock import LeaseCompromise, LeaseSettingsMismatch, SoftFileLease, Timeout

from jobtool.errors import ClaimLostError
from jobtool.names import quote

SUFFIX = ".lease"

#: How often a missing or changed marker is checked before the lease counts as lost. A process that
#: tries to take a marker over may move it aside for a moment.
_LOOKS = 3
_LOOK_SECONDS = 0.05

#: After this share of a lease without a heartbeat, its holder may be dead.
_OVERDUE = 0.5


class LeaseWatch:
    """Watches the markers of other workers, each for its whole duration, all at the same time.

    It uses this process's monotonic clock, in seconds. The clocks of nodes are never compared.
    """

    def __init__(
        self, lease_seconds: float, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._lease_seconds = lease_seconds
        self._monotonic = monotonic
        self._seen: dict[str, _Seen] = {}
        #: For names that others hold, the highest generation that is over. It isn't tried again.
        self.over: dict[str, int] = {}
        #: The markers of dead holders below that generation. Who gets the name removes them.
        self.dead: dict[str, list[str]] = {}

    def is_expired(self, path: str, lease_seconds: float | None = None) -> bool:
        """Look at a marker; return True if it had no heartbeat for its whole duration.

        The duration is ``lease_seconds``, by default the watch's own. The first look returns False.
        So does a look at a missing marker.
        """
        lease_seconds = lease_seconds or self._lease_seconds
        try:
            # Opened, since stat alone may be answered from a network client's cache.
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                found = os.fstat(descriptor)
            finally:
                os.close(descriptor)
        except OSError:
            self._seen.pop(path, None)
            return False
        now = self._monotonic()
        key = (found.st_mtime_ns, found.st_ino, found.st_ctime_ns)
        seen = self._seen.get(path)
        if seen is None or seen.key != key:
            self._seen[path] = _Seen(key, now, lease_seconds, has_beaten=seen is not None)
            return False
        return now - seen.since >= seen.lease_seconds

    @property
    def is_undecided(self) -> bool:
        """Whether further looks may show that the holder of some marker is dead.

        That is so for a marker without a heartbeat yet, or with an overdue one: they come three
        times in a lease.
        """
        now = self._monotonic()
        silences = (((now - seen.since) / seen.lease_seconds, seen) for seen in self._seen.values())
        return any(
            silence < 1 and (not seen.has_beaten or silence > _OVERDUE)
            for silence, seen in silences
        )


class _Seen(msgspec.Struct, frozen=True):
    key: tuple[int, int, int]
    since: float
    lease_seconds: float
    has_beaten: bool


class Lease:
    """A name that is held, with a heartbeat, until released or lost.

    ``generation`` is the number of its marker. It is higher than that of every earlier holder.
    """

    def __init__(
        self,
        soft: SoftFileLease,
        base: str,
        generation: int,
        older: list[str],
        on_loss: Callable[[], None],
    ) -> None:
        self.generation = generation
        self.token = soft.token or ""
        self._soft = soft
        self._base = base
        self._older = older
        self._is_lost = False
        self._on_loss = on_loss

    @classmethod
    def acquire(
        cls,
        base: str,
        *,
        after: int,
        lease_seconds: float,
        watch: LeaseWatch,
        on_loss: Callable[[], None],
    ) -> Lease | None:
        """Acquire the name ``base``, a path; return None if another holds it. Never waits.

        ``after`` is the highest generation that the caller knows to be over. ``on_loss`` is called
        from another thread when the heartbeat finds that the lease is lost.

        Raises ``OSError`` if the folder can't be written.
        """
        generation = max(after, watch.over.get(base, 0))
        older: list[str] = []
        while True:
            generation += 1
            path = _marker(base, generation)

            def on_compromise(compromise: LeaseCompromise) -> None:
                on_loss()

            soft = SoftFileLease(
                path, lease_duration=lease_seconds, thread_local=False, on_compromise=on_compromise
            )
            try:
                soft.acquire(timeout=0)
            except (Timeout, LeaseSettingsMismatch):
                if not watch.is_expired(path):
                    watch.over[base] = generation - 1
                    watch.dead.setdefault(base, []).extend(older)
                    return None
                older.append(path)
                continue
            if os.path.lexists(_marker(base, generation + 1)):
                soft.release()  # the number was free because its lease is over
                continue
            if older and not watch.is_expired(older[-1]):
                soft.release()  # its holder has woken up
                return None
            return cls(soft, base, generation, [*watch.dead.pop(base, ()), *older], on_loss)

    def require_held(self) -> None:
        """Raise ``ClaimLostError`` if the marker isn't this lease's or a higher one exists."""
        self._is_lost = self._is_lost or not holds(self._is_in_place)
        if self._is_lost:
            raise ClaimLostError(
                f"the claim on {quote(os.path.basename(self._base))} was lost: this process sent "
                "no heartbeat for too long, or hung, or its marker was removed. Another worker "
                "may have the job now."
            )

    def _is_in_place(self) -> bool:
        above = _marker(self._base, self.generation + 1)
        return is_in_place(self._soft, self.token) and not os.path.lexists(above)

    def remove_older(self) -> None:
        """Remove the earlier markers of dead holders. A holder that wakes up notices that.

        The lowest goes first: a holder whose own marker is the highest takes its lease for held.
        """
        while self._older:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._older.pop(0))

    def lose(self) -> None:
        """Mark the lease as lost. May be called from another thread."""
        self._is_lost = True
        self._on_loss()

    def release(self) -> None:
        """Release the name, and remove the marker if it is still this lease's."""
        self._soft.release()


def is_in_place(soft: SoftFileLease, token: str) -> bool:
    """Return True if a marker exists and has the token it was made with."""
    if soft.compromise is not None:
        return False
    owner = soft.owner
    return owner is not None and owner.token == token


def holds(look: Callable[[], bool]) -> bool:
    """Return True if ``look`` returns True at one of a few tries."""
    for number in range(_LOOKS):
        if number:
            time.sleep(_LOOK_SECONDS)
        if look():
            return True
    return False


def _marker(base: str, generation: int) -> str:
    return f"{base}.{generation}{SUFFIX}"
