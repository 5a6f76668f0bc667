"""``summarise_jobs``: the state of a joblist."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobtool.api.places import Place, opened

if TYPE_CHECKING:
    from jobtool.jobs.joblist import JobList
    from jobtool.report.summary import Summary


def summarise_jobs(joblist: Place | JobList) -> Summary:
    """Read every job file of a joblist and add up what they say. Writes nothing.

    Args:
        joblist: The folder, or an open joblist.

    Returns:
        A line for each job in ``jobs``; ``count(status)``; ``needing_attention``, the jobs in error
        and the invalid ones; ``abandoned``, the ongoing jobs that no worker seems to hold; and the
        ``exit_code`` of ``summarise-jobs``. Sizes are in bytes.

    Raises:
        UsageError: There is nothing at the path.
        JoblistError: The folder isn't a joblist, or its joblist.toml can't be used.
        JoblistUnavailableError: The joblist can't be read any more.

    Examples:
        >>> jobtool.summarise_jobs("joblist").count(jobtool.JobStatus.ERROR)
        0
    """
    from jobtool.report.summary import summarise

    return summarise(opened(joblist))
