"""Whether a joblist may make jobtool remove files: only if no other user could have written it."""

from __future__ import annotations

import os
from collections.abc import Iterable

from jobtool.errors import JoblistError, reason_of
from jobtool.jobs import settings
from jobtool.jobs.joblist import JobList
from jobtool.jobs.trust import why_folder_untrusted, why_untrusted
from jobtool.names import quote


def require_own(
    joblist: JobList,
    *job_ids: str,
    files: Iterable[str] = (),
    trust: bool = False,
    function: str = "release_jobs",
) -> None:
    """Raise ``JoblistError`` if others could have written what decides about deletions.

    These are joblist.toml and, of each job, its file, its receipts, its journals and its record of
    deletions; other ``files``, such as those of a package; and the folders of all these. Of a file
    that is missing only its folder is judged. With ``trust`` nothing is judged. ``function`` is the
    name of the one in Python that the error tells of.
    """
    if trust:
        return
    paths = [os.path.join(joblist.path, settings.FILENAME), *files]
    for job_id in job_ids:
        paths += [
            joblist.path_of(job_id),
            joblist.table_path_of(job_id),
            joblist.journal_of(job_id).path,
            joblist.deletions_path_of(job_id),
        ]
        blocks = joblist.blocks_path_of(job_id)
        if os.path.isdir(blocks):
            paths += [os.path.join(blocks, name) for name in sorted(os.listdir(blocks))]
    for path in paths:
        reason = _why(path)
        if reason is not None:
            raise JoblistError(
                f"nothing is removed by a joblist that others could have written. {reason} Or, "
                f"having read it, use --trust (in Python {function}(…, trust=True))."
            )


def _why(path: str) -> str | None:
    try:
        try:
            return why_untrusted(path)
        except FileNotFoundError:
            return why_folder_untrusted(os.path.dirname(path))
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"{quote(path)} can't be judged: {reason_of(error)}"
