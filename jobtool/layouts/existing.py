"""The existing contents of a joblist that is about to be generated."""

from __future__ import annotations

import os
from collections.abc import Iterator

from msgspec import structs

from jobtool.errors import JobFileError, JoblistError, LayoutError, UsageError
from jobtool.jobs.atomic_write import target_of
from jobtool.jobs.jobfolder import job_ids_in
from jobtool.jobs.joblist import FIRST_FOLDERS, JobList
from jobtool.jobs.settings import FILENAME, Settings
from jobtool.names import quote
from jobtool.stores.location import Location


def existing_settings(path: str, *, trust: bool) -> Settings | None:
    """Return the settings of the joblist at ``path``; None if it doesn't exist yet.

    Raises ``JoblistError`` if a joblist can't be made there, or if joblist.toml names a command
    that isn't trusted.
    """
    if os.path.exists(os.path.join(path, FILENAME)):
        joblist = JobList.open(path, trust=trust)
        joblist.require_trusted()
        return joblist.settings
    if os.path.exists(path) and not os.path.isdir(path):
        raise JoblistError(
            f"expected a folder for the joblist at {quote(path)}; found a file. "
            "Choose another --output-path."
        )
    if os.path.isdir(path):
        names = [name for name in os.listdir(path) if not _is_of_a_start(name)]
        if names and not any(name.endswith(".txt") for name in names):
            raise JoblistError(
                f"{quote(path)} is neither a joblist nor empty: it holds {quote(min(names))}. "
                "Choose another --output-path, or an empty folder."
            )
    return None


def _is_of_a_start(name: str) -> bool:
    """Return True for what is there before joblist.toml: its writer may have been killed."""
    return name in FIRST_FOLDERS or target_of(name) == FILENAME


def canonical(settings: Settings) -> Settings:
    """Return settings with source and destination as ``generate`` writes them.

    Raises ``JoblistError``.
    """
    try:
        return structs.replace(
            settings,
            source=settings.source and Location.parse(settings.source).url,
            destination=settings.destination and Location.parse(settings.destination).url,
        )
    except UsageError as error:
        raise JoblistError(f"{FILENAME}: {error}") from None


def existing_job_ids(path: str) -> dict[str, str | None]:
    """Return the IDs of existing jobs as the keys of a dict, whose values are None."""
    if not os.path.isdir(path):
        return {}
    return dict.fromkeys(job_ids_in(path))


def existing_source(joblist: JobList, job_id: str) -> str | None:
    """Return the source of an existing job; None if its file can't be read."""
    try:
        return joblist.load(job_id)[0].source
    except (JobFileError, FileNotFoundError):
        return None


def existing_destinations(joblist: JobList) -> Iterator[str]:
    """Yield the destinations of the named files of all existing jobs.

    Raises ``LayoutError`` if a job file is invalid.
    """
    for job_id in existing_job_ids(joblist.path):
        try:
            job, _ = joblist.load(job_id)
        except FileNotFoundError:
            continue
        except JobFileError as error:
            raise LayoutError(
                f"job file {quote(job_id)}.txt is invalid, so its rows of the manifest are "
                f"unknown: {error}. Fix or remove it first."
            ) from None
        yield from (pair.destination for pair in job.files)
