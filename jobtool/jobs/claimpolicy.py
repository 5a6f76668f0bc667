"""The claim policy: which kind of claims all workers of a joblist use.

The first worker's choice is recorded in the joblist, and later workers use the same. A worker with
another setting is refused while others are running. If none are running, it records its own choice.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Literal

import msgspec

from jobtool import typed
from jobtool.errors import JoblistUnavailableError, UsageError, reason_of
from jobtool.jobs.atomic_write import create_file, replace_file
from jobtool.jobs.filesystem import Filesystem, filesystem_of
from jobtool.jobs.joblist import JobList
from jobtool.jobs.settings import LeaseSeconds
from jobtool.names import quote

if TYPE_CHECKING:
    from jobtool.jobs.membership import Membership

ClaimKind = Literal["lock", "lease"]
ClaimSetting = Literal["auto", "lock", "lease"]

DEFAULT_LEASE_SECONDS = 60.0

#: Longer than any wait that ends by itself. A request to S3 takes ten minutes at most, and is
#: repeated twice.
DEFAULT_STALL_SECONDS = 3600.0

_FILENAME = "terms.json"


class ClaimPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """The ``kind`` of claims. A lease lasts for ``lease_seconds`` without a heartbeat."""

    kind: ClaimKind
    lease_seconds: LeaseSeconds = DEFAULT_LEASE_SECONDS


class AgreedPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """A claim policy, and why it was chosen."""

    claim_policy: ClaimPolicy
    reason: str


def choose(setting: ClaimSetting, filesystem: Filesystem) -> tuple[ClaimKind, str]:
    """Return the kind of claims for a filesystem, and why.

    ======== =================== =====
    setting  filesystem          kind
    ======== =================== =====
    auto     of this node        lock
    auto     shared, or unknown  lease
    lock     any                 lock
    lease    any                 lease
    ======== =================== =====
    """
    if setting != "auto":
        return setting, "as requested"
    if filesystem.is_shared:
        return "lease", f"{filesystem.kind} may be shared with other nodes"
    return "lock", f"{filesystem.kind} is local to this node"


def propose(joblist: JobList, setting: ClaimSetting) -> AgreedPolicy:
    """Return the policy that a worker with this setting would use. Nothing is recorded yet."""
    kind, reason = choose(setting, filesystem_of(joblist.path))
    recorded = _recorded(joblist)
    if setting == "auto" and recorded is not None and recorded.kind == "lease" != kind:
        # Leases work everywhere; the worker that recorded them may be on another node.
        return AgreedPolicy(claim_policy=recorded, reason="as the joblist's other workers")
    return AgreedPolicy(
        claim_policy=ClaimPolicy(kind=kind, lease_seconds=lease_seconds_of(joblist)), reason=reason
    )


def membership_name(worker: str, proposed: AgreedPolicy) -> str:
    """Return a worker's name as a member, which includes the policy that it would use."""
    return worker + _suffix(proposed.claim_policy)


def _suffix(claim_policy: ClaimPolicy) -> str:
    return f".lease-{claim_policy.lease_seconds:g}" if claim_policy.kind == "lease" else ".lock"


def agree(joblist: JobList, proposed: AgreedPolicy, membership: Membership) -> AgreedPolicy:
    """Agree on a policy with the other workers; this one must have joined them already.

    Raises ``UsageError`` if running workers use another kind, and ``JoblistUnavailableError`` if
    the policy can't be recorded.
    """
    wanted = proposed.claim_policy
    path = _path(joblist)
    try:
        recorded = _recorded(joblist)
        if recorded is None:
            create_file(path, msgspec.json.encode(wanted))  # of several at once, one wins
            recorded = _recorded(joblist)
        if recorded is None:  # the file can't be read
            replace_file(path, msgspec.json.encode(wanted))
            recorded = wanted
        if recorded == wanted:
            return proposed
        others = _who_want_otherwise(membership, wanted)
        if not others:
            replace_file(path, msgspec.json.encode(wanted))
            # A worker that has joined since then may have read the earlier policy.
            others = _who_want_otherwise(membership, wanted)
            if not others:
                return proposed
            replace_file(path, msgspec.json.encode(recorded))
    except OSError as error:
        raise JoblistUnavailableError(f"can't write {quote(path)}: {reason_of(error)}") from None
    if recorded.kind == wanted.kind:
        return AgreedPolicy(claim_policy=recorded, reason="as the joblist's other workers")
    raise UsageError(
        f'{quote(joblist.path)}: its workers use claims = "{recorded.kind}" '
        f"({', '.join(quote(other) for other in others[:3])}"
        f"{', ...' if len(others) > 3 else ''}), but this one would use "
        f'"{wanted.kind}" ({proposed.reason}). Use --claims {recorded.kind}, or wait '
        "until they have ended."
    )


def _who_want_otherwise(membership: Membership, wanted: ClaimPolicy) -> list[str]:
    """Return the running workers that would use another policy. Wait until that is known."""
    return membership.wait_to_know(lambda name: not name.endswith(_suffix(wanted)))


def claim_setting_of(joblist: JobList) -> ClaimSetting:
    """Return the setting ``claims`` of the joblist; ``auto`` by default."""
    return joblist.settings.claims or "auto"


def claim_policy_of(joblist: JobList) -> ClaimPolicy:
    """Return the policy that the joblist's workers use, or the one that a first worker would."""
    return _recorded(joblist) or propose(joblist, claim_setting_of(joblist)).claim_policy


def lease_seconds_of(joblist: JobList) -> float:
    """Return how many seconds a lease lasts by the joblist's settings."""
    return joblist.settings.lease_seconds or DEFAULT_LEASE_SECONDS


def stall_seconds_of(joblist: JobList) -> float:
    """Return how many seconds a hanging worker keeps its leases by the joblist's settings."""
    return joblist.settings.stall_seconds or DEFAULT_STALL_SECONDS


def _recorded(joblist: JobList) -> ClaimPolicy | None:
    """Return the recorded policy; None if there is none or it is invalid."""
    # ValueError: not JSON, not UTF-8 or out of bounds; RecursionError: nested too deeply.
    unreadable = (OSError, ValueError, RecursionError)
    with contextlib.suppress(*unreadable), open(_path(joblist), "rb") as file:
        return typed.decode(file.read(), ClaimPolicy)
    return None


def _path(joblist: JobList) -> str:
    return os.path.join(joblist.claims_path, _FILENAME)
