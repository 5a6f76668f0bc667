"""``verify_jobs``: checks that the destination still holds what was sent."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from jobtool.api.options import require_threads
from jobtool.api.places import Place, existing_path, opened
from jobtool.api.retry import names_of
from jobtool.errors import UsageError
from jobtool.events import Emit, Event, ignore, unfailing
from jobtool.jobs.joblist import JobList
from jobtool.names import quote

if TYPE_CHECKING:
    from jobtool.audit.events import Finding, LeftAlone, PutBack, Verified

DEFAULT_THREADS = 16


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """What ``verify_jobs`` found.

    ``counts`` say how many files and bytes were compared, and how many are missing, changed, extra,
    unreadable or unproven; ``discrepancies`` are these, with job, path and detail. With ``repair``,
    ``put_back`` are the jobs that are ``todo`` again, and ``left_alone`` those that could not be
    put back.
    """

    counts: Verified
    discrepancies: tuple[Finding, ...]
    put_back: tuple[PutBack, ...]
    left_alone: tuple[LeftAlone, ...]

    @property
    def exit_code(self) -> int:
        """1 if there is any discrepancy, 3 if some jobs aren't finished, else 0."""
        return self.counts.exit_code


def verify_jobs(
    joblist: Place | JobList,
    *,
    jobs: Collection[str] = (),
    deep: bool = False,
    repair: bool = False,
    threads: int = DEFAULT_THREADS,
    sample: str | int | None = None,
    seed: str | None = None,
    trust: bool = False,
    on_event: Emit = ignore,
) -> Verification:
    """Compare the destination with the receipts of the jobs that are done.

    The source is hardly needed; see ``deep``. Without it the destination's listing is compared:
    presence, size, ETag.

    Args:
        joblist: The folder, an open joblist, or a table that ``write_receipts`` wrote. A table
            doesn't show which files are extra.
        jobs: The names of the jobs to compare; empty for all jobs.
        deep: Read every file again and compare its MD5. A file whose receipt has no MD5 is compared
            by its checksum or, if that can't be found out, with its source.
        repair: Put jobs with discrepancies to ``todo``, so that ``transfer_jobs`` sends what is
            missing or changed. The rest isn't sent again.
        threads: How many files to read or look at at a time, 1 to 256.
        sample: Look at a random part of the files, such as ``"1%"``, or at a number of them. Every
            job may be drawn in each run. Extra files aren't found. With ``deep``, packages are read
            in part as well: single members, by their index.
        seed: Draws the sample, the same one each time; by default today's date, in UTC.
        trust: Run the commands that joblist.toml names for credentials, even if others could have
            written it.
        on_event: Called with each event. An exception from it stops nothing.

    Raises:
        UsageError: There is nothing at the path, a named job doesn't exist, or an argument is
            invalid.
        JoblistError: The folder isn't a joblist, or its joblist.toml can't be used or trusted.
        InfrastructureError: The store of a destination or the joblist can't be used.

    Examples:
        >>> jobtool.verify_jobs("joblist", deep=True).discrepancies
        ()
    """
    from jobtool.audit.events import Finding, LeftAlone, PutBack

    kept: list[Event] = []
    emit = unfailing(on_event)

    def keep(event: Event) -> None:
        if isinstance(event, Finding | PutBack | LeftAlone):
            kept.append(event)
        emit(event)

    place = joblist if isinstance(joblist, JobList) else existing_path(joblist)
    if isinstance(place, str) and not os.path.isfile(place):
        place = opened(place, trust=trust)
    counts = audit(
        place,
        keep,
        jobs=jobs,
        deep=deep,
        repair=repair,
        threads=threads,
        sample=None if sample is None else str(sample),
        seed=seed,
    )
    return Verification(
        counts=counts,
        discrepancies=tuple(one for one in kept if isinstance(one, Finding)),
        put_back=tuple(one for one in kept if isinstance(one, PutBack)),
        left_alone=tuple(one for one in kept if isinstance(one, LeftAlone)),
    )


def audit(
    place: str | JobList,
    emit: Emit,
    *,
    jobs: Collection[str],
    deep: bool,
    repair: bool,
    threads: int,
    sample: str | None = None,
    seed: str | None = None,
    watch: Callable[[int], None] | None = None,
) -> Verified:
    """Do what ``verify_jobs`` does for a joblist or the path of a table, and keep no events.

    ``watch`` is called with the number of files that were looked at.
    """
    from jobtool.audit.sample import Share
    from jobtool.audit.verify import Audit
    from jobtool.stores.registry import StoreRegistry
    from jobtool.transfer.stores_of import stores_of

    names = names_of(jobs)
    require_threads(threads)
    if seed is not None and sample is None:
        raise UsageError("seed: expected a sample for it to draw; found none. Give --sample.")
    try:
        share = None if sample is None else Share.parse(sample)
    except ValueError as error:
        raise UsageError(f"sample: {error}") from None
    if isinstance(place, JobList):
        stores = stores_of(place, connections=2 * threads)
    elif names or repair:
        raise UsageError(
            f"expected a joblist, since single jobs or a repair are asked for; found the table "
            f"{quote(place)}. Name the joblist, or audit the whole table without them."
        )
    else:
        stores = StoreRegistry(connections=2 * threads)
    comparing = Audit(
        stores,
        emit,
        deep=deep,
        threads=threads,
        watch=watch,
        sample=share,
        seed=datetime.now(UTC).date().isoformat() if seed is None else seed,
    )
    if isinstance(place, JobList):
        return comparing.joblist(place, names=names, repair=repair)
    return comparing.table(place)
