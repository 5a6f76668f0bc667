"""``clean_jobs``: what workers left unfinished."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from jobtool.api.places import Place, opened
from jobtool.events import Emit, ignore, unfailing

if TYPE_CHECKING:
    from jobtool.audit.events import LeftAlone, Leftover
    from jobtool.jobs.joblist import JobList


class Cleaned(msgspec.Struct, frozen=True, kw_only=True):
    """What was left unfinished, and the jobs that could not be looked at, with the reasons."""

    leftovers: tuple[Leftover, ...]
    left_alone: tuple[LeftAlone, ...]

    @property
    def exit_code(self) -> int:
        """1 if something can't be looked at, 4 if that is a whole store, else 0."""
        return max((one.exit_code for one in self.left_alone), default=0)


def clean_jobs(
    joblist: Place | JobList,
    *,
    remove: bool = False,
    trust: bool = False,
    on_event: Emit = ignore,
) -> Cleaned:
    """Find unfinished uploads and temporary files of a joblist; with ``remove`` remove them.

    It touches only what belongs to this joblist, and no job that a worker holds. What is removed is
    sent again when its job is taken up.

    Args:
        joblist: The folder, or an open joblist.
        remove: Remove what is found.
        trust: Run the commands that joblist.toml names for credentials, even if others could have
            written it.
        on_event: Called with each event. An exception from it stops nothing.

    Raises:
        UsageError: There is nothing at the path.
        JoblistError: The folder isn't a joblist, or its joblist.toml can't be used or trusted.
        JoblistUnavailableError: The joblist can't be read or written.

    Examples:
        >>> jobtool.clean_jobs("joblist").leftovers
        ()
    """
    from jobtool.audit.clean import clean
    from jobtool.audit.events import Leftover
    from jobtool.transfer.stores_of import stores_of

    joblist = opened(joblist, trust=trust)
    emit = unfailing(on_event)
    leftovers: list[Leftover] = []
    left_alone: list[LeftAlone] = []
    for event in clean(joblist, stores_of(joblist), remove=remove):
        emit(event)
        if isinstance(event, Leftover):
            leftovers.append(event)
        else:
            left_alone.append(event)
    return Cleaned(leftovers=tuple(leftovers), left_alone=tuple(left_alone))
