"""Whether a joblist may make jobtool remove files: only if no other user could have written it."""

from __future__ import annotations

import os

from jobtool.errors import JoblistError, reason_of
from jobtool.jobs import settings
from jobtool.jobs.joblist import JobList
from jobtool.jobs.trust import why_untrusted
from jobtool.names import quote


def require_own(joblist: JobList, *job_ids: str, trust: bool = False) -> None:
    """Raise ``JoblistError`` if others could have written what decides about deletions.

    These are joblist.toml and, of each job, its file, its receipts, its journals, its record of
    deletions and the files of its package, with their folders. With ``trust`` nothing is judged.
    """
    if trust:
        return
    paths = [os.path.join(joblist.path, settings.FILENAME)]
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
        try:
            reason = why_untrusted(path)
        except FileNotFoundError:
            continue
        except OSError as error:
            reason = f"{quote(path)} can't be judged: {reason_of(error)}"
        if reason is not None:
            raise JoblistError(
                f"nothing is removed by a joblist that others could have written. {reason} Or, "
                "having read it, use --trust (in Python release_jobs(…, trust=True))."
            )
