"""The terms of claims: what kind all workers of a joblist use, and who decides it.

The first worker's choice is recorded in the joblist, and whoever comes later uses the same. A
worker that was told otherwise is refused while others are there, and decides anew when there are
none.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import Literal

import msgspec

from jobtool.errors import JoblistUnavailableError, UsageError
from jobtool.jobs.atomic_write import create_file, replace_file
from jobtool.jobs.filesystem import Filesystem, filesystem_of
from jobtool.jobs.joblist import JobList
from jobtool.jobs.membership import Membership
from jobtool.jobs.settings import LeaseSeconds
from jobtool.names import quote

ClaimKind = Literal["lock", "lease"]
Told = Literal["auto", "lock", "lease"]

DEFAULT_LEASE_SECONDS = 60.0

#: Longer than anything that ends by itself stands still: a request to S3 takes ten minutes at most,
#: and is repeated twice.
DEFAULT_STALL_SECONDS = 3600.0

_FILENAME = "terms.json"


class ClaimPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """The ``kind`` of claims, and how long a lease lasts without a heartbeat."""

    kind: ClaimKind
    lease_seconds: LeaseSeconds = DEFAULT_LEASE_SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreedPolicy:
    """The terms in force, and why it is those."""

    claim_policy: ClaimPolicy
    reason: str


def choose(told: Told, filesystem: Filesystem) -> tuple[ClaimKind, str]:
    """Return the kind of claims for a filesystem, and why: a pure decision.

    ======== =================== =====
    told     filesystem          kind
    ======== =================== =====
    auto     of this node        lock
    auto     shared, or unknown  lease
    lock     any                 lock
    lease    any                 lease
    ======== =================== =====
    """
    if told != "auto":
        return told, "as told"
    if filesystem.is_shared:
        return "lease", f"{filesystem.kind} may be shared with other nodes"
    return "lock", f"{filesystem.kind} is local to this node"


def propose(joblist: JobList, told: Told) -> AgreedPolicy:
    """Return what a worker that was told so would use; nothing is agreed upon yet."""
    kind, reason = choose(told, filesystem_of(joblist.path))
    recorded = _recorded(joblist)
    if told == "auto" and recorded is not None and recorded.kind == "lease" != kind:
        # Leases hold everywhere; whoever recorded them may be on another node.
        return AgreedPolicy(claim_policy=recorded, reason="as the joblist's other workers")
    return AgreedPolicy(
        claim_policy=ClaimPolicy(kind=kind, lease_seconds=lease_seconds_of(joblist)), reason=reason
    )


def membership_name(worker: str, proposed: AgreedPolicy) -> str:
    """Return the name under which a worker is present, which says what it would use."""
    return worker + _suffix(proposed.claim_policy)


def _suffix(claim_policy: ClaimPolicy) -> str:
    return f".lease-{claim_policy.lease_seconds:g}" if claim_policy.kind == "lease" else ".lock"


def agree(joblist: JobList, proposed: AgreedPolicy, membership: Membership) -> AgreedPolicy:
    """Agree with the other workers of a joblist; this one must be present already.

    Raises ``UsageError`` if workers that are present use another kind, and
    ``JoblistUnavailableError``.
    """
    wanted = proposed.claim_policy
    path = _path(joblist)
    try:
        recorded = _recorded(joblist)
        if recorded is None:
            create_file(path, msgspec.json.encode(wanted))  # of several at once, one wins
            recorded = _recorded(joblist)
        if recorded is None:  # what stands there can't be read
            replace_file(path, msgspec.json.encode(wanted))
            recorded = wanted
        if recorded == wanted:
            return proposed
        others = _who_want_otherwise(membership, wanted)
        if not others:
            replace_file(path, msgspec.json.encode(wanted))
            # Whoever came since we looked has read what was recorded before.
            others = _who_want_otherwise(membership, wanted)
            if not others:
                return proposed
            replace_file(path, msgspec.json.encode(recorded))
    except OSError as error:
        raise JoblistUnavailableError(
            f"can't write {quote(path)}: {error.strerror or error}"
        ) from None
    if recorded.kind == wanted.kind:
        return AgreedPolicy(claim_policy=recorded, reason="as the joblist's other workers")
    raise UsageError(
        f'{quote(joblist.path)}: its workers use claims = "{recorded.kind}" '
        f"({', '.join(quote(other) for other in others[:3])}"
        f"{', ...' if len(others) > 3 else ''}), and this one was to use "
        f'"{wanted.kind}" ({proposed.reason}). Use --claims {recorded.kind}, or wait '
        "until they have ended."
    )


def _who_want_otherwise(membership: Membership, wanted: ClaimPolicy) -> list[str]:
    """Return the workers present that would use other terms; waits until that is known."""
    return membership.wait_to_know(lambda name: not name.endswith(_suffix(wanted)))


def claim_policy_of(joblist: JobList) -> ClaimPolicy:
    """Return the terms that the joblist's workers use or, if it had none yet, would use."""
    return _recorded(joblist) or propose(joblist, joblist.settings.claims or "auto").claim_policy


def lease_seconds_of(joblist: JobList) -> float:
    """Return how long a lease lasts by the joblist's settings."""
    return joblist.settings.lease_seconds or DEFAULT_LEASE_SECONDS


def stall_seconds_of(joblist: JobList) -> float:
    """Return for how long a worker in which nothing moves keeps its leases, by the settings."""
    return joblist.settings.stall_seconds or DEFAULT_STALL_SECONDS


def _recorded(joblist: JobList) -> ClaimPolicy | None:
    """Return what is recorded, None where nothing is or what is there are no terms."""
    # ValueError: what is no JSON, no UTF-8 or out of bounds; RecursionError: nested too deep.
    unreadable = (OSError, ValueError, RecursionError)
    with contextlib.suppress(*unreadable), open(_path(joblist), "rb") as file:
        return msgspec.json.decode(file.read(), type=ClaimPolicy)
    return None


def _path(joblist: JobList) -> str:
    return os.path.join(joblist.claims_path, _FILENAME)
