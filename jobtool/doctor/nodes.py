"""The joblist's folder as several ranks see it."""

from __future__ import annotations

import contextlib
import os
import time

import msgspec
from filelock import FileLock, Timeout

from jobtool.doctor.checkresult import CheckResult, Subject, Verdict, in_seconds, named
from jobtool.doctor.claims import View
from jobtool.doctor.folder import judge_clock
from jobtool.doctor.ranks import Ranks
from jobtool.errors import reason_of
from jobtool.jobs.atomic_write import replace_file
from jobtool.stores.storetype import StoreType

#: How many seconds another rank may take to see what rank 0 has written.
_SEEN_SECONDS = 10.0
_LATE_SECONDS = 2.0
_POLL_SECONDS = 0.01

_ROUNDS = 10

_OLD, _NEW = b"todo\n", b"ongoing\n"


class _Sight(msgspec.Struct, frozen=True):
    """The seconds a rank took to see a new file and a replaced one; None if it didn't see it."""

    created: float | None
    replaced: float | None


class Between(msgspec.Struct, frozen=True):
    """The results of checks between ranks, and whether kernel locks were seen not to exclude."""

    results: tuple[CheckResult, ...] = ()
    is_excluding: bool = True


def look_between(
    nodes: Subject,
    ranks: Ranks,
    folder: str,
    views: list[View],
    *,
    may_lock: bool,
    strictest: StoreType | None,
) -> Between:
    """Try what works between the ranks. All ranks call this; rank 0 gets the results.

    ``folder`` is this rank's path of the probe's folder. The other parameters are used at rank 0
    only: ``views`` are those of all ranks, ``may_lock`` is True if locks work on its node,
    ``strictest`` is that of ``judge_clock``. Raises ``RanksLostError``, and ``OSError`` if rank 0
    can't use the folder.
    """
    seen = ranks.broadcast(_see_each_other(nodes, ranks, folder, views))
    if seen is not None and seen.verdict is Verdict.FAIL:
        return Between((seen,))  # the ranks see different folders: nothing else can be checked
    takers = _lock_takers(ranks, folder) if ranks.broadcast(may_lock) else None
    lock = None if ranks.rank or takers is None else _judge_lock(nodes, views, takers)
    race = _race(nodes, ranks, folder, views)
    clocks = _compare_clocks(nodes, ranks, views, strictest=strictest)
    results = tuple(result for result in (seen, lock, race, clocks) if result is not None)
    return Between(results, is_excluding=not takers)


def _lock_takers(ranks: Ranks, folder: str) -> list[int]:
    """Return, at rank 0, the ranks that could take a kernel lock while rank 0 held it.

    A rank that can't lock at all for another reason has not taken it.
    """
    path = os.path.join(folder, "lock-between-ranks")
    with contextlib.ExitStack() as held:
        if ranks.rank == 0:
            held.enter_context(FileLock(path, timeout=_SEEN_SECONDS))
        ranks.broadcast(None)
        took = False
        if ranks.rank:
            with contextlib.suppress(Timeout, OSError), FileLock(path, timeout=0):
                took = True
        return [rank for rank, taken in enumerate(ranks.gather(took)) if taken]


def _judge_lock(nodes: Subject, views: list[View], takers: list[int]) -> CheckResult:
    check = "lock between ranks"
    if not takers:
        hosts = named(sorted({view.host for view in views}))
        return nodes.passed(check, f"a kernel lock excludes between all ranks (on {hosts})")
    whom = named([views[rank].name for rank in takers])
    return nodes.warned(
        check,
        f"kernel locks don't exclude between {views[0].name} and {whom}",
        "Don't start workers with --claims lock. The check 'claims' above says what they use "
        "by themselves.",
    )


def _see_each_other(
    nodes: Subject, ranks: Ranks, folder: str, views: list[View]
) -> CheckResult | None:
    """Have the other ranks look for a file that rank 0 made, and one that it replaced."""
    made, changed = os.path.join(folder, "made"), os.path.join(folder, "changed")
    if ranks.rank == 0:
        replace_file(changed, _OLD)
    ranks.broadcast(None)
    with contextlib.suppress(OSError), open(changed, "rb") as file:
        file.read()  # so that this node's cache holds the old file when it is replaced
    ranks.gather(None)
    if ranks.rank == 0:
        replace_file(made, _NEW)
        replace_file(changed, _NEW)
    ranks.broadcast(None)
    created = _seconds_until(made) if ranks.rank else 0.0
    replaced = None if created is None else _seconds_until(changed) if ranks.rank else 0.0
    sight = _Sight(created, replaced)
    sights = ranks.gather(sight, timeout_seconds=4 * _SEEN_SECONDS)
    if ranks.rank:
        return None
    check = "seen by other ranks"
    blind = [view.name for view, sight in zip(views, sights, strict=True) if sight.created is None]
    stale = [view.name for view, sight in zip(views, sights, strict=True) if sight.replaced is None]
    if blind:
        return nodes.failed(
            check,
            f"a file that {views[0].name} made isn't seen by {named(blind)} within "
            f"{_SEEN_SECONDS:.0f} s",
            "Is it the same folder, on a filesystem that all nodes mount? Give all ranks that one.",
        )
    if stale:
        return nodes.failed(
            check,
            f"a file that {views[0].name} replaced is still the old one for {named(stale)} after "
            f"{_SEEN_SECONDS:.0f} s",
            "A worker could take a job that is done. Mount the folder so that opening a file looks "
            "at the server (for NFS: without nocto), or use workers of one node only.",
        )
    slowest = max(max(sight.created or 0.0, sight.replaced or 0.0) for sight in sights)
    if slowest > _LATE_SECONDS:
        return nodes.warned(
            check,
            f"a change is seen only after {in_seconds(slowest)}",
            "Workers may look at job files that are out of date, and lose time. Mount the folder "
            "with less caching (for NFS: actimeo=1).",
        )
    return nodes.passed(
        check, f"files made and replaced by {views[0].name} are seen within {in_seconds(slowest)}"
    )


def _seconds_until(path: str) -> float | None:
    """Return after how many seconds a file holds the new text, None if not in time."""
    start = time.monotonic()
    while (elapsed := time.monotonic() - start) < _SEEN_SECONDS:
        with contextlib.suppress(OSError), open(path, "rb") as file:
            if file.read() == _NEW:
                return elapsed
        time.sleep(_POLL_SECONDS)
    return None


def _race(nodes: Subject, ranks: Ranks, folder: str, views: list[View]) -> CheckResult | None:
    """Have all ranks create one name at once, in several rounds. Each must have one winner."""
    check = "exclusive create"
    wins: list[list[int]] = []
    failures: list[str] = []
    for number in range(_ROUNDS):
        ranks.broadcast(None)
        won, failure = False, ""
        try:
            path = os.path.join(folder, f"race-{number}")
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
            won = True
        except FileExistsError:
            pass
        except OSError as error:
            failure = reason_of(error)
        ends = ranks.gather((won, failure))
        wins.append([rank for rank, (has_won, _) in enumerate(ends) if has_won])
        failures += [f"{views[rank].name}: {text}" for rank, (_, text) in enumerate(ends) if text]
    if ranks.rank:
        return None
    if failures:
        return nodes.failed(
            check,
            f"can't create files: {named(failures)}",
            "Check the folder's owner and mode, and how those nodes mount it.",
        )
    several = next((winners for winners in wins if len(winners) != 1), None)
    if several is None:
        return nodes.passed(
            check, f"of {ranks.size} ranks that created one file at once, one won, {_ROUNDS} times"
        )
    whom = named([views[rank].name for rank in several]) or "none"
    return nodes.failed(
        check,
        f"of {ranks.size} ranks that created one file at once, {whom} won",
        "Leases need it: put the joblist on another filesystem, or use workers of one node only.",
    )


def _compare_clocks(
    nodes: Subject, ranks: Ranks, views: list[View], *, strictest: StoreType | None
) -> CheckResult | None:
    """Compare the ranks' clocks; a difference counts as far as it exceeds the time of asking."""
    before = time.time()
    ranks.broadcast(None)
    times = ranks.gather(time.time())
    after = time.time()
    if ranks.rank:
        return None
    differences = [max(before - told, told - after, 0.0) for told in times]
    furthest = max(range(ranks.size), key=differences.__getitem__)
    between = f"{views[0].name} and the others"
    if differences[furthest] > 0:
        between = f"{views[0].name} and {views[furthest].name}"
    return judge_clock(
        nodes, "clocks of ranks", differences[furthest], between=between, strictest=strictest
    )
