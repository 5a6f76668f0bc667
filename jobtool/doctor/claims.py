"""Which claims workers would use, and whether those exclude: a decision, no trial."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from jobtool.doctor.finding import Finding, Subject, named
from jobtool.jobs.settings import Settings

ClaimsSetting = Literal["auto", "lock", "lease"]
Claims = Literal["lock", "lease"]

_USE_LEASES = 'Put claims = "lease" into joblist.toml, or start every worker with --claims lease.'


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A rank's view of the joblist's folder: its host and the filesystem that it sees there."""

    host: str
    rank: int
    kind: str
    is_shared: bool

    @property
    def name(self) -> str:
        """The rank and its host, for people."""
        return f"rank {self.rank} ({self.host})"


def setting_of(settings: Settings) -> ClaimsSetting:
    """Return what joblist.toml says of claims; ``auto`` if nothing."""
    # Settings of this version may not have the key yet.
    return getattr(settings, "claims", None) or "auto"


def picked(setting: ClaimsSetting, view: View) -> Claims:
    """Return the claims that a worker with this view uses."""
    if setting == "auto":
        return "lease" if view.is_shared else "lock"
    return setting


def claims_finding(
    joblist: Subject, setting: ClaimsSetting, views: list[View], *, is_excluding: bool
) -> Finding:
    """Judge the claims that workers would use.

    ``is_excluding`` is False if kernel locks were seen not to exclude, between ranks or at all.

    ================ =============== ======================================== =======
    claims           is_excluding    ranks                                    verdict
    ================ =============== ======================================== =======
    locks and leases any             any                                      fail
    locks            no              any                                      fail
    locks            yes             of one node, on a shared filesystem      warn
    locks            yes             of several, or on a node's own           pass
    leases           any             any                                      pass
    ================ =============== ======================================== =======
    """
    check = "claims"
    kinds = named(sorted({view.kind for view in views}))
    by = {picked(setting, view): view for view in views}
    if len(by) > 1:
        return joblist.failed(
            check,
            f"workers would disagree: {by['lock'].name} sees {by['lock'].kind} and would use locks,"
            f" {by['lease'].name} sees {by['lease'].kind} and would use leases",
            _USE_LEASES,
        )
    said = f"{setting} picks" if setting == "auto" else "joblist.toml asks for"
    (claims,) = by
    is_shared = any(view.is_shared for view in views)
    place = f"{kinds}, {'shared with other nodes' if is_shared else 'of this node alone'}"
    if claims == "lease":
        no_locks = "" if is_excluding else "; kernel locks don't exclude here, leases are used"
        return joblist.passed(check, f"{said} leases ({place}){no_locks}")
    if not is_excluding:
        return joblist.failed(
            check, f"{said} locks ({place}), and kernel locks don't exclude here", _USE_LEASES
        )
    if is_shared and len({view.host for view in views}) == 1:
        return joblist.warned(
            check,
            f"{said} locks ({place}), and only one node was tried",
            "Run doctor over two nodes, by mpirun or srun, or use leases.",
        )
    return joblist.passed(check, f"{said} locks ({place})")
