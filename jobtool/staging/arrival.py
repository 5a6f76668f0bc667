"""What a worker records once a ``stage`` job has brought its files."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Callable
from datetime import datetime

from jobtool.catalog.catalog import Catalog
from jobtool.catalog.copy import Copy
from jobtool.catalog.folder import CatalogFolder
from jobtool.catalog.writer import CatalogWriter
from jobtool.errors import JobFileError
from jobtool.failpoints import reach
from jobtool.jobs.job import Job
from jobtool.jobs.joblist import JobList
from jobtool.names import quote
from jobtool.staging.accessfolder import AccessFolder, file_md5, this_person
from jobtool.staging.accessrecord import Arrived
from jobtool.staging.request import ITEM, LOCATION, MEMBERS, SITE, decode_words
from jobtool.stores.registry import StoreRegistry


def note_staged(
    joblist: JobList,
    job_id: str,
    job: Job,
    stores: StoreRegistry,
    *,
    require_held: Callable[[], None],
    clock: Callable[[], datetime],
) -> None:
    """Record that the files of a stage job have arrived: an access record, and the catalog's copy.

    The job's table of receipts is complete. It is stored beside the access records, so that
    whoever frees the space can see which files were staged. A copy is recorded only for a whole
    item. Doing it again changes nothing. Without a catalog nothing is recorded. Raises
    ``JobFileError``, claim errors and the errors of writing.
    """
    packages = joblist.settings.packages
    if packages is None or packages.catalog is None:
        return
    item, site, location = (job.fields.get(key, "") for key in (ITEM, SITE, LOCATION))
    if not (item and site and location and job.destination and job.source):
        raise JobFileError(
            f"job {quote(job.name)}: expected the fields {ITEM}, {SITE} and {LOCATION}, a source "
            "and a destination; found one missing. jobtool stage makes such jobs"
        )
    members = decode_words(job.fields[MEMBERS]) if MEMBERS in job.fields else ()
    files = size = 0
    for receipt in joblist.receipts_of(job_id):
        files += 1
        size += receipt.stored_size
    folder = CatalogFolder(packages.catalog, stores, role="destination")
    access = AccessFolder(folder, stores, role="destination", clock=clock)
    now = access.now()
    require_held()
    table = joblist.table_path_of(job_id)
    if files and os.path.exists(table):
        facts = (joblist.settings.id or joblist.path, job_id, file_md5(table))
        text = "\0".join(facts).encode("utf-8", "surrogateescape")
        record_id = hashlib.sha256(text).hexdigest()[:24]
        person = this_person()
        name = access.add_table(record_id, table)
        reach("after the receipts of staged files are stored")
        access.add(
            Arrived(
                id=record_id,
                who=person.who,
                host=person.host,
                at=now,
                item=item,
                url=job.destination,
                site=site,
                location=location,
                source=job.source,
                receipts=name,
                files=files,
                bytes=size,
                members=members,
            )
        )
        reach("after an arrival is recorded")
    if members or not files:
        return
    require_held()
    package = job.package.package if job.package is not None else None
    writer = CatalogWriter(folder, f"{socket.gethostname()}.{os.getpid()}", clock=clock)
    writer.add(
        [
            Copy(
                item=item,
                package=package,
                site=site,
                location=location,
                url=job.destination,
                form="files",
                size=size,
                files=files,
                digest=None,
                verified_at=now,
                state="present",
            )
        ],
        after=_last_evidence(folder, item, job.destination),
    )
    writer.flush()
    reach("after a staged copy is in the catalog")


def _last_evidence(folder: CatalogFolder, item: str, url: str) -> datetime | None:
    """Return the time of the evidence that the catalog has for a copy: this one follows from it."""
    return next(
        (copy.verified_at for copy in Catalog(folder).copies(item) if copy.url == url), None
    )
