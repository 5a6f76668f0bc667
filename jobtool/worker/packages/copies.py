"""What a finished step of a package says for the catalog: the copies that it has made.

All of it comes from the job file, the receipts and the package's manifest in the joblist. So the
same records can be made again from a joblist.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta

import msgspec

from jobtool.catalog.copy import Copy
from jobtool.errors import JobFileError, JoblistUnavailableError, reason_of
from jobtool.jobs.atomic_write import remove_temporaries, replace_file
from jobtool.jobs.job import Job, JobStatus
from jobtool.jobs.joblist import JobList
from jobtool.jobs.lastreceipts import last_at
from jobtool.jobs.packagechain import legs_of, task_of
from jobtool.jobs.packagetask import PackageTask, job_name
from jobtool.jobs.records import Receipt
from jobtool.jobs.stamps import time_of
from jobtool.md5 import md5_of
from jobtool.names import filename_of, quote
from jobtool.packages.manifest import Manifest, decode_manifest, encode_manifest, tar_name
from jobtool.release.deletionlog import read_deletions
from jobtool.release.records import TrashedRecord
from jobtool.stores.location import inside, join

#: The site and the location of copies at a destination that isn't one of the sites.
NO_SITE = "-"

#: Where steps bring data within the site that they serve.
_LOCATIONS = {"unpack": "processing", "archive": "archive"}

#: A package that arrived later than it was freed has come by a host whose clock is ahead. If it is
#: more than this, it has come again.
_MOST_AHEAD = timedelta(days=1)

_DIGITS = 32
_MODULUS = 1 << 128


def keep_manifest(joblist: JobList, manifest: Manifest) -> None:
    """Write a package's manifest into the joblist. Raises ``JoblistUnavailableError``."""
    path = joblist.manifest_path_of(manifest.name)
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        replace_file(path, encode_manifest(manifest))
    except OSError as error:
        raise JoblistUnavailableError(f"can't write {quote(path)}: {reason_of(error)}") from None


def tidy_manifest(joblist: JobList, package: str) -> None:
    """Remove the temporary files that a killed worker has left of a package's manifest."""
    remove_temporaries(*os.path.split(joblist.manifest_path_of(package)))


def kept_manifest(joblist: JobList, package: str) -> Manifest | None:
    """Return a package's manifest in the joblist; None without. Raises ``PackageError``."""
    path = joblist.manifest_path_of(package)
    try:
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise JoblistUnavailableError(f"can't read {quote(path)}: {reason_of(error)}") from None
    return decode_manifest(data, where=path)


def copies_made(joblist: JobList, job: Job, receipts: Iterable[Receipt]) -> Iterator[Copy]:
    """Yield the copies that a job has made, by its receipts; none for other steps.

    Raises ``JobFileError``, ``PackageError``, ``JoblistUnavailableError``.
    """
    task = task_of(job)
    manifest = kept_manifest(joblist, task.package)
    if manifest is None or task.brought_by is not None:
        return
    if task.step == "release":
        yield from _released(joblist, job, task, manifest)
    if job.destination is None:
        return
    if task.step in ("pack", "copy", "relay", "archive"):
        yield from _packed(job, task, manifest, receipts)
    elif task.step == "unpack":
        yield from _open(job, task, manifest, receipts)


def copies_of_joblist(joblist: JobList) -> Iterator[Copy]:
    """Yield all copies that the finished jobs of a joblist with packages have made or freed.

    Raises the errors of ``copies_made``.
    """
    for job_id in joblist.job_ids():
        try:
            job, _ = joblist.load(job_id)
        except FileNotFoundError:
            continue
        if job.package is not None and job.status is JobStatus.SUCCESS:
            yield from copies_made(joblist, job, joblist.receipts_of(job_id))


def _released(joblist: JobList, job: Job, task: PackageTask, manifest: Manifest) -> Iterator[Copy]:
    """Yield the copies that a job of the step ``release`` has freed, by its log of deletions."""
    places = {join(url, manifest.tar.name): place for url, place in buffers_of(joblist, job)}
    for record in read_deletions(joblist.deletions_path_of(filename_of(job.name))):
        if not isinstance(record, TrashedRecord) or record.path not in places:
            continue
        site, _, location = places[record.path].partition(".")
        freed_at = time_of(record.at).replace(tzinfo=UTC)
        arrived_at = _arrived_at(joblist, task.package, record.path)
        if arrived_at is not None and freed_at <= arrived_at <= freed_at + _MOST_AHEAD:
            freed_at = arrived_at + timedelta(microseconds=1)
        for item in manifest.items:
            yield Copy(
                item=item.name,
                package=task.package,
                site=site,
                location=location,
                url=record.path,
                form="package",
                size=item.bytes,
                files=item.members,
                digest=f"md5:{manifest.tar.md5}",
                verified_at=freed_at,
                state="released",
            )


def _arrived_at(joblist: JobList, package: str, url: str) -> datetime | None:
    """Return when a package's tar arrived at a URL, by the receipts; None if none says so.

    Raises ``JobFileError`` and ``FileNotFoundError`` for jobs that can't be read.
    """
    settings = joblist.settings.packages
    names = {job_name(package, "pack")}
    for to in () if settings is None else settings.to:
        names |= {leg.name for leg in legs_of(joblist, package, to)}
    times = [
        _time(receipt)
        for name in names
        for receipt in joblist.receipts_of(filename_of(name))
        if receipt.dst_path == url
    ]
    return max(times, default=None)


def buffers_of(joblist: JobList, job: Job) -> list[tuple[str, str]]:
    """Return the URL and the place of each buffer at a site that a package has passed.

    ``job`` is the one that releases the package there.

    Raises ``JobFileError`` and ``FileNotFoundError`` for jobs that can't be read.
    """
    settings, task = joblist.settings.packages, task_of(job)
    assert settings is not None
    if settings.receive is not None:
        place = settings.origin or f"{task.to or NO_SITE}.buffer"
        return [] if job.source is None else [(job.source, place)]
    found: dict[str, str] = {}
    if settings.origin is not None and settings.origin.partition(".")[0] == task.to:
        with contextlib.suppress(FileNotFoundError):  # composed while it was sent
            packed, _ = joblist.load(filename_of(job_name(task.package, "pack")))
            if packed.destination is not None:
                found[packed.destination] = next(iter(task_of(packed).way), "")
    for to in settings.to:
        for leg in legs_of(joblist, task.package, to):
            way = task_of(leg).way
            is_passed = leg.destination is not None and len(way) > 1
            if is_passed and way[1] == f"{task.to}.buffer":
                found[str(leg.destination)] = way[1]
    return list(found.items())


def place_of(task: PackageTask) -> tuple[str, str]:
    """Return the site and the location that a step brings a package to."""
    if task.step in ("copy", "relay") and len(task.way) > 1:
        site, _, location = task.way[1].partition(".")
        return site, location
    if task.step == "pack" and task.way:
        site, _, location = task.way[0].partition(".")
        return site, location
    kind = _LOCATIONS.get(task.step)
    return (task.to, kind) if task.to is not None and kind is not None else (NO_SITE, NO_SITE)


def _packed(
    job: Job, task: PackageTask, manifest: Manifest, receipts: Iterable[Receipt]
) -> Iterator[Copy]:
    assert job.destination is not None
    url = join(job.destination, tar_name(task.package))
    arrived = last_at(receipts, url)
    if arrived is None:
        raise JobFileError(f"job {quote(job.name)}: expected a receipt of {quote(url)}; found none")
    site, location = place_of(task)
    md5 = arrived.hashsum_dst or manifest.tar.md5
    for item in manifest.items:
        yield Copy(
            item=item.name,
            package=task.package,
            site=site,
            location=location,
            url=url,
            form="package",
            size=item.bytes,
            files=item.members,
            digest=f"md5:{md5}",
            verified_at=_time(arrived),
            state="present",
        )


class _Open(msgspec.Struct):
    """An item's files, as their receipts are read."""

    files: int = 0
    size: int = 0
    digest: int = 0
    verified_at: datetime = datetime.min.replace(tzinfo=UTC)


def _open(
    job: Job, task: PackageTask, manifest: Manifest, receipts: Iterable[Receipt]
) -> Iterator[Copy]:
    """Yield an open copy of each item whose files have all arrived.

    Its digest is independent of their order: the sum of the MD5s of the lines ``MD5  PATH``,
    modulo 2**128, where the path is below the destination.
    """
    assert job.destination is not None
    found = {item.name: _Open() for item in manifest.items}
    for receipt in receipts:
        path = inside(job.destination, receipt.dst_path)
        item = None if path is None else _item_of(path, found)
        if path is None or item is None:
            continue
        line = f"{receipt.hashsum_dst}  {quote(path)}\n".encode("utf-8", "surrogateescape")
        item.files += 1
        item.size += receipt.size
        item.digest = (item.digest + int(md5_of(line), 16)) % _MODULUS
        item.verified_at = max(item.verified_at, _time(receipt))
    site, location = place_of(task)
    for each in manifest.items:
        there = found[each.name]
        if (there.files, there.size) != (each.members, each.bytes):
            continue
        yield Copy(
            item=each.name,
            package=task.package,
            site=site,
            location=location,
            url=join(job.destination, each.name),
            form="files",
            size=there.size,
            files=there.files,
            digest=f"members-md5:{there.digest:0{_DIGITS}x}",
            verified_at=there.verified_at,
            state="present",
        )


def _item_of(path: str, items: dict[str, _Open]) -> _Open | None:
    """Return the item of a member by its path, which begins with the item's name."""
    end = len(path)
    while end > 0:
        found = items.get(path[:end])
        if found is not None:
            return found
        end = path.rfind("/", 0, end)
    return None


def _time(receipt: Receipt) -> datetime:
    return time_of(receipt.verified_at).replace(tzinfo=UTC)
