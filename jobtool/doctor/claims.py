"""The kind of claims that workers would use, checked without taking any."""

from __future__ import annotations

import msgspec

from jobtool.doctor.checkresult import CheckResult, Subject, named
from jobtool.jobs.claimpolicy import ClaimKind, ClaimSetting, choose
from jobtool.jobs.filesystem import Filesystem

_USE_LEASES = 'Put claims = "lease" into joblist.toml, or start every worker with --claims lease.'


class View(msgspec.Struct, frozen=True, kw_only=True):
    """A rank's view of the joblist's folder: its host, and the filesystem that it sees there."""

    host: str
    rank: int
    filesystem: Filesystem

    @property
    def name(self) -> str:
        """The rank and its host, for people."""
        return f"rank {self.rank} ({self.host})"


def chosen(setting: ClaimSetting, view: View) -> ClaimKind:
    """Return the kind of claims that a worker with this view uses."""
    return choose(setting, view.filesystem)[0]


def claims_result(
    joblist: Subject,
    setting: ClaimSetting,
    recorded: ClaimKind,
    views: list[View],
    *,
    is_excluding: bool,
) -> CheckResult:
    """Judge the claims that workers would use.

    ``recorded`` is the claim policy of the workers, or the one that they would agree on.
    ``is_excluding`` is False if kernel locks were seen not to exclude, between ranks or at all.

    ================ ======== ============ ================================== =======
    claims           recorded is_excluding ranks                              verdict
    ================ ======== ============ ================================== =======
    locks and leases any      any          any                                warn
    locks            any      no           any                                fail
    locks            any      yes          of one node, filesystem is shared  warn
    locks            any      yes          of several, or on a node's own     pass
    leases           locks    no           any                                warn
    leases           locks    yes          any                                pass
    leases           leases   any          any                                pass
    ================ ======== ============ ================================== =======
    """
    check = "claims"
    by = {chosen(setting, view): view for view in views}
    if len(by) > 1:
        lock, lease = by["lock"], by["lease"]
        return joblist.warned(
            check,
            f"workers wouldn't agree: {lock.name} sees {lock.filesystem.kind} and would use locks, "
            f"{lease.name} sees {lease.filesystem.kind} and would use leases",
            f"Some may be refused at their start. {_USE_LEASES}",
        )
    (claims,) = by
    kinds = named(sorted({view.filesystem.kind for view in views}))
    is_shared = any(view.filesystem.is_shared for view in views)
    place = f"{kinds}, {'shared with other nodes' if is_shared else 'of this node alone'}"
    said = "auto picks" if setting == "auto" else "joblist.toml asks for"
    found = f"{said} {claims}s ({place})"
    if claims == "lease":
        if not is_excluding and recorded == "lock":
            return joblist.warned(
                check,
                f"{found}, but its workers have used locks, and kernel locks don't exclude here",
                "End those that still run, and don't start any with --claims lock.",
            )
        no_locks = "" if is_excluding else "; kernel locks don't exclude here, leases are used"
        return joblist.passed(check, found + no_locks)
    if not is_excluding:
        return joblist.failed(check, f"{found}, and kernel locks don't exclude here", _USE_LEASES)
    if is_shared and len({view.host for view in views}) == 1:
        return joblist.warned(
            check,
            f"{found}, and only one node was tried",
            "Run doctor over two nodes, by mpirun or srun, or use leases.",
        )
    return joblist.passed(check, found)
