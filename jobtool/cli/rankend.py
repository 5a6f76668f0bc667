"""The end of a rank whose worker has ended."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from jobtool.cli.console import Console
from jobtool.errors import UsageError

if TYPE_CHECKING:
    from jobtool.worker.environment import Environment
    from jobtool.worker.supervisor import Ended


def end_rank(ended: Ended, path: str, *, as_json: bool) -> int:
    """Return the exit code of a rank; after a crash of its worker, once all ranks have ended.

    ``path`` is the joblist's path as the user gave it.
    """
    environment = ended.environment
    if ended.in_order or environment is None or environment.run is None:
        return ended.exit_code
    from jobtool.api.places import existing_path
    from jobtool.jobs.claimpolicy import DEFAULT_LEASE_SECONDS
    from jobtool.jobs.joblist import CLAIMS_FOLDER
    from jobtool.jobs.membership import Membership
    from jobtool.worker.events import WorkerStopped
    from jobtool.worker.rankgroup import RankGroup
    from jobtool.worker.supervisor import outlast

    folder = ""
    with contextlib.suppress(UsageError):  # the worker has printed it
        folder = existing_path(path)
    if not os.path.isdir(folder):  # other nodes may see it; if it is nowhere, rank 0 fails for all
        return ended.exit_code if environment.rank == 0 else 0
    console = Console(as_json=as_json, place=rank_place(environment))
    if ended.killed_by is not None:
        reason = f"worker {environment.worker} was killed ({ended.killed_by.name})"
        console.emit(WorkerStopped(reason=reason))
    claims_path = os.path.join(folder, CLAIMS_FOLDER)
    rank_group = RankGroup(claims_path, environment, Membership(claims_path, DEFAULT_LEASE_SECONDS))
    code = outlast(ended, rank_group)
    if code and ended.killed_by is not None:
        console.emit(WorkerStopped(reason="no rank is left; start again to have the rest done"))
    return code


def rank_place(environment: Environment) -> dict[str, str | int]:
    """Return the prefix of a rank's lines; empty if there is one rank only."""
    if environment.size == 1:
        return {}
    return {"host": environment.host, "rank": environment.rank}
