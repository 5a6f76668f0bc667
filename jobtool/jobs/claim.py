"""Claims: one worker per job.

There are two kinds. A *lock* is a kernel lock on a file. The kernel frees it when its process dies,
however that happens, so a job left ``ongoing`` can be claimed at once. But many shared filesystems
don't carry locks from node to node. A *lease* (see ``jobtool.jobs.lease``) holds between any nodes.
It expires after its duration. All workers of a joblist use the same kind.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from jobtool.errors import JoblistUnavailableError, reason_of
from jobtool.failpoints import reach
from jobtool.jobs.claimpolicy import ClaimPolicy, claim_policy_of
from jobtool.jobs.joblist import JobList
from jobtool.jobs.kernellock import KernelLock
from jobtool.jobs.lease import Lease, LeaseWatch
from jobtool.names import quote

LOCK_SUFFIX = ".lock"


class Claim:
    """The right to work on something, held until released, until the process ends, or until lost.

    ``token`` is unique to this claim. Under leases ``generation`` is higher than that of every
    earlier holder. Under locks it is 0.
    """

    def __init__(
        self,
        held: KernelLock | Lease,
        require_present: Callable[[], None],
        on_release: Callable[[Claim], None],
    ) -> None:
        self._held = held
        self._require_present = require_present
        self._on_release = on_release
        if isinstance(held, Lease):
            self.token, self.generation = held.token, held.generation
        else:
            self.token, self.generation = secrets.token_hex(16), 0

    def require_held(self) -> None:
        """Raise ``ClaimLostError`` unless the claim is still held. Call it before every write."""
        self._require_present()
        if isinstance(self._held, Lease):
            self._held.require_held()

    def remove_older(self) -> None:
        """Remove the markers of dead holders. Call it once the job file names this claim."""
        if isinstance(self._held, Lease):
            self._held.remove_older()

    def release(self) -> None:
        """Release the claim. A lock's file stays: two workers could lock two files otherwise."""
        reach("before the claim's release")
        self._on_release(self)
        self._held.release()
        reach("after the claim's release")

    def lose(self) -> None:
        """Mark the claim as lost, if it is a lease.

        This and ``let_go`` may be called from another thread while the holder's thread hangs. No
        other worker can take a lock as long as its process lives.
        """
        if isinstance(self._held, Lease):
            self._held.lose()

    def let_go(self) -> None:
        """Release the claim for other workers, if it is a lease."""
        if isinstance(self._held, Lease):
            self._held.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()


class Claims:
    """Acquires claims on names in a folder, of the kind that ``claim_policy`` says.

    ``watch`` watches the leases of other workers. Keep it: it needs time to see that one is dead.
    ``require_present`` raises an exception if other workers regard this one as dead. They may use
    another kind of claims then.
    """

    def __init__(
        self,
        folder: str,
        claim_policy: ClaimPolicy,
        watch: LeaseWatch | None = None,
        require_present: Callable[[], None] | None = None,
        held: _Held | None = None,
    ) -> None:
        self._folder = folder
        self._held = held or _Held()
        self._claim_policy = claim_policy
        self._require_present = require_present or _ignore
        self.watch = watch or LeaseWatch(claim_policy.lease_seconds)

    @classmethod
    def of(cls, joblist: JobList) -> Claims:
        """Return the claims on a joblist's jobs, of the kind that its workers use."""
        return cls(joblist.claims_path, claim_policy_of(joblist))

    def within(self, folder: str) -> Claims:
        """Return claims of the same kind on names in another folder."""
        return Claims(folder, self._claim_policy, self.watch, self._require_present, self._held)

    def lose_all(self) -> bool:
        """Mark all leases as lost and release them; return True if claims are leases.

        A thread that still runs calls this when the process hangs. Nothing more is written under
        the lost leases.
        """
        if self._claim_policy.kind != "lease":
            return False
        held = self._held.all()
        for claim in held:  # mark all of them first: releasing one may hang
            claim.lose()
        for claim in held:
            with contextlib.suppress(OSError):  # then its marker expires without heartbeats
                claim.let_go()
        return True

    def acquire(
        self, name: str, *, after: int = 0, on_loss: Callable[[], None] | None = None
    ) -> Claim | None:
        """Claim a name; return None if another worker holds it, or may hold it. Never waits.

        ``after`` is the highest generation known to be over: a job's count of attempts. A dead
        holder's lease can be taken over once repeated calls have seen no heartbeat for its whole
        duration. ``on_loss`` is called from another thread when a lease is found to be lost.

        Raises ``JoblistUnavailableError`` if the folder can't be written.
        """
        base = os.path.join(self._folder, name)
        reach("before the claim")
        try:
            claim = self._acquire(base, after, on_loss or _ignore)
        except OSError as error:
            raise JoblistUnavailableError(
                f"can't claim jobs in {quote(self._folder)}: {reason_of(error)}"
            ) from None
        reach("after the claim")
        return claim

    def _acquire(self, base: str, after: int, on_loss: Callable[[], None]) -> Claim | None:
        # Both kinds make the folder if it is missing.
        if self._claim_policy.kind == "lease":
            lease = Lease.acquire(
                base,
                after=after,
                lease_seconds=self._claim_policy.lease_seconds,
                watch=self.watch,
                on_loss=on_loss,
            )
            return None if lease is None else self._made(lease)
        lock = KernelLock.acquire(base + LOCK_SUFFIX)
        return None if lock is None else self._made(lock)

    def _made(self, held: KernelLock | Lease) -> Claim:
        claim = Claim(held, self._require_present, self._held.remove)
        self._held.add(claim)
        return claim


class _Held:
    """The claims that a process holds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._claims: set[Claim] = set()

    def add(self, claim: Claim) -> None:
        with self._lock:
            self._claims.add(claim)

    def remove(self, claim: Claim) -> None:
        with self._lock:
            self._claims.discard(claim)

    def all(self) -> list[Claim]:
        with self._lock:
            return [*self._claims]


def _ignore() -> None:
    pass
