"""``find_excluded``: what a joblist's filters leave out."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from jobtool.api.places import Place, opened
from jobtool.api.retry import names_of
from jobtool.events import Emit, ignore, unfailing

if TYPE_CHECKING:
    from jobtool.jobs.joblist import JobList
    from jobtool.layouts.excluded import Excluded


def find_excluded(
    joblist: Place | JobList,
    *,
    jobs: Collection[str] = (),
    trust: bool = False,
    on_event: Emit = ignore,
) -> Excluded:
    """List a joblist's source again, and return what its filters leave out, counted by reason.

    Each file is an event ``ExcludedItem``, and so is each folder that isn't opened. Nothing is
    written.

    Args:
        joblist: The folder, or an open joblist.
        jobs: The names of the jobs to look at; empty for all of the source.
        trust: Run the commands that joblist.toml names for credentials, even if others could have
            written it.
        on_event: Called with each event. An exception from it stops nothing.

    Raises:
        UsageError: There is no joblist, a named job doesn't exist, or it can't have filters.
        JoblistError: The folder isn't a joblist, or its joblist.toml can't be used or trusted.
        LayoutError: The table or list of a manifest is malformed.
        SourceError: The source can't be read.
        InfrastructureError: The store of the source or the joblist can't be used.

    Examples:
        >>> jobtool.find_excluded("joblist").files
        0
    """
    from jobtool.layouts.excluded import find_excluded as find
    from jobtool.transfer.stores_of import stores_of

    found = opened(joblist, trust=trust)
    return find(found, stores_of(found), names_of(jobs), unfailing(on_event))
