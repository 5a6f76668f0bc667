"""The release of one place: what is proven now goes to the trash, all else stays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from jobtool.failpoints import reach
from jobtool.names import quote
from jobtool.release.context import ReleaseContext
from jobtool.release.deletionlog import DeletionLog
from jobtool.release.destinations import UnprovenError
from jobtool.release.events import FileReleased, FileStays, JobReleased
from jobtool.release.moving import NOT_APART, Mover, settle
from jobtool.release.place import FILES, Place
from jobtool.release.plan import Checked, ReleasePlan, Stay
from jobtool.release.trash import encode_record, new_folder_name, record_of
from jobtool.stores.location import join


def release(
    plan: ReleasePlan, log: DeletionLog, *, joblist_id: str, context: ReleaseContext
) -> JobReleased:
    """Move to the trash what a plan's check has proven in this pass.

    ``log`` is that of the job's deletions; each file has its record there before it is moved.
    ``joblist_id`` is the joblist's. Files that stay are events with their reason. With
    ``is_dry_run`` everything is checked and nothing changed. What a killed release has begun is
    finished first.

    Returns the counts, which the caller emits. Raises ``StoppedError``, ``ClaimLostError`` and
    ``InfrastructureError``: what was moved by then has its record, and the next call goes on.
    """
    counts: Counter[str] = Counter()

    def stay(path: str, reason: str) -> None:
        counts["stay"] += 1
        context.emit(FileStays(job=plan.name, path=path, reason=reason))

    if not context.is_dry_run:
        for path, reason in settle(log, context):
            stay(path, reason)
    else:
        try:
            plan.place.check_trash()
        except UnprovenError as error:
            stay(plan.place.url, str(error))
    mover: Mover | None = None
    for batch in plan.check(context):
        context.require_going()
        if mover is not None and mover.has_lost_a_copy:
            stay(plan.place.url, f"the rest: {NOT_APART}")
            break
        going = _sorted_out(plan, batch, stay)
        if not going:
            continue
        if context.is_dry_run:
            for checked in going:
                _tell(plan, checked, _would_be(plan.place, checked), context, counts)
            continue
        reach("before files are moved to the trash")
        if mover is None:
            try:
                mover = _begin(plan, log, joblist_id, context)
            except UnprovenError as error:
                for checked in going:
                    stay(join(plan.place.url, checked.path), str(error))
                break
        for checked, trashed_to, why in mover.move(going, is_whole=plan.is_whole):
            if why is None:
                _tell(plan, checked, trashed_to, context, counts)
            else:
                stay(join(plan.place.url, checked.path), why)
    if mover is not None and not counts["files"]:
        mover.tidy()
    return JobReleased(
        job=plan.name,
        files=counts["files"],
        bytes=counts["bytes"],
        stay=counts["stay"],
        is_dry_run=context.is_dry_run,
    )


def _sorted_out(
    plan: ReleasePlan, batch: Iterable[Checked | Stay], stay: Callable[[str, str], None]
) -> list[Checked]:
    """Return the files that may go, and tell of the others."""
    going: list[Checked] = []
    staying = 0
    for outcome in batch:
        if isinstance(outcome, Checked):
            going.append(outcome)
        else:
            staying += 1
            stay(
                join(plan.place.url, outcome.path) if outcome.path else plan.place.url,
                outcome.reason,
            )
    if not (plan.is_whole and staying):
        return going
    if going:
        shown = f"{len(going)} further file(s) of {quote(plan.name)}"
        stay(plan.place.url, f"{shown}: a package is released as a whole, or not at all")
    return []


def _begin(plan: ReleasePlan, log: DeletionLog, joblist_id: str, context: ReleaseContext) -> Mover:
    """Make a folder in the trash."""
    at = context.now()
    record = record_of(
        joblist=joblist_id,
        job=plan.job_id,
        root=plan.place.url,
        at=at,
        keep_days=plan.keep_days,
        boot_seconds=context.boot_seconds(),
        is_whole=plan.is_whole,
    )
    folder = new_folder_name(at)
    context.require_going()
    plan.place.make_trash(folder, encode_record(record))
    return Mover(plan.place, folder, log, context, are_extra=plan.are_extra)


def _would_be(place: Place, checked: Checked) -> str:
    return join(place.trash_url, f"…/{FILES}/{checked.path}")


def _tell(
    plan: ReleasePlan,
    checked: Checked,
    trashed_to: str,
    context: ReleaseContext,
    counts: Counter[str],
) -> None:
    counts["files"] += 1
    counts["bytes"] += checked.fingerprint.size
    context.emit(
        FileReleased(
            job=plan.name,
            path=join(plan.place.url, checked.path),
            bytes=checked.fingerprint.size,
            md5=checked.md5,
            trashed_to=trashed_to,
            is_dry_run=context.is_dry_run,
        )
    )
