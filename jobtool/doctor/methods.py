"""The check of methods: which would move files from here."""

from __future__ import annotations

from collections.abc import Iterator

from jobtool.doctor.checkresult import CheckResult, Subject
from jobtool.errors import JobFileError, JobtoolError
from jobtool.jobs.job import JobStatus
from jobtool.jobs.joblist import JobList
from jobtool.layouts.destination import with_destination
from jobtool.methods.method import OWN_METHODS, SERVER_SIDE
from jobtool.stores.registry import StoreRegistry
from jobtool.stores.store import Store
from jobtool.transfer.methodchoice import method_choices, pairs_of


def methods_results(joblist: JobList, stores: StoreRegistry) -> Iterator[CheckResult]:
    """Yield a result for each pair of places of the first job that isn't done."""
    try:
        pairs = _pairs(joblist, stores)
    except (JobtoolError, FileNotFoundError):
        return  # the checks of source and destination say why
    for source, destination in pairs:
        about = Subject("destination", destination.url)
        names = joblist.settings.transfer.methods or OWN_METHODS
        try:
            choices = method_choices(names, joblist.settings, source, destination)
        except JobtoolError as error:
            yield about.failed("methods", str(error), "Correct joblist.toml.")
            continue
        used = [one.name for one in choices if one.is_used]
        also = [one.name for one in choices if one.place is None and one.why_not is None]
        missing = [one for one in choices if one.place and one.why_not and one.name != SERVER_SIDE]
        told = f"used: {', '.join(used) or 'none'}"
        told += f"; also available: {', '.join(also)}" if also else ""
        told += "".join(f"; not {one.name}: {one.why_not}" for one in missing)
        if used:
            yield about.passed("methods", told)
        else:
            advice = "Install what is missing where workers run, or add stream to methods."
            yield about.failed("methods", told, advice)


def _pairs(joblist: JobList, stores: StoreRegistry) -> list[tuple[Store, Store]]:
    for scanned in joblist.scan():
        if scanned.status in (None, JobStatus.SUCCESS):
            continue
        try:
            job = with_destination(joblist.load(scanned.job_id)[0], joblist.settings)
        except (JobFileError, FileNotFoundError):
            continue
        return pairs_of(job, stores, staging=joblist.staging_url)
    return []
