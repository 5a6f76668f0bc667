"""The destination of a job whose file names none, as in the older form of job files."""

from __future__ import annotations

from msgspec.structs import replace

from jobtool.errors import JobFileError, LayoutError, UsageError
from jobtool.jobs.job import Job
from jobtool.jobs.settings import FILENAME, Settings
from jobtool.layouts.layout import layout_of_table
from jobtool.layouts.pattern import Pattern
from jobtool.layouts.template import Template
from jobtool.names import quote
from jobtool.stores.location import Location


def with_destination(job: Job, settings: Settings) -> Job:
    """Return the job with the destination that joblist.toml's layout gives to its source.

    A job that names a destination keeps it, and a step of a package gets one later. Raises
    ``JobFileError`` if the layout doesn't fit the source, for a path or URL that can't be carried,
    and for a path that depends on the folder in which a worker was started.
    """
    source = job.source and _place("source", job.source)
    destination = job.destination and _place("destination", job.destination)
    if (source, destination) != (job.source, job.destination):
        job = replace(job, source=source, destination=destination)
    if job.destination is not None or job.files or job.source is None or job.package is not None:
        return job
    problem = f"it names no destination, and {FILENAME} gives none"
    if settings.destination is None or "pattern" not in settings.layout:
        raise JobFileError(f"{problem}: expected a destination and a [layout] there")
    try:
        layout = layout_of_table(settings.layout, shown=FILENAME)
        fields = Pattern(layout.pattern).match_end(job.source)
        if fields is None or layout.destination is None:
            raise JobFileError(f"{problem}: {quote(job.source)} doesn't match {layout.pattern}")
        root = _place("destination", settings.destination)
        values = {**settings.values, **fields, "destination": root.rstrip("/")}
        filled = Template(layout.destination).fill(values)
        return replace(job, destination=_place("destination", filled), fields=fields)
    except LayoutError as error:
        raise JobFileError(f"{problem}: {error}") from None


def _place(key: str, url: str) -> str:
    try:
        return Location.parse(url).url
    except UsageError as error:
        raise JobFileError(f"{key}: {error}") from None
