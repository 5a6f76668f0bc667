"""Making the joblist of packages that have arrived, and adding to it what arrives later.

The packages' manifests are the hand-over between sites that share no filesystem. The sender writes
a manifest last, so a package with one is complete, once its tar and its index have the sizes that
it says.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator

from jobtool.errors import (
    JoblistError,
    JoblistUnavailableError,
    StoppedError,
    reason_of,
)
from jobtool.events import Emit, ignore
from jobtool.failpoints import reach
from jobtool.jobs.joblist import JobList
from jobtool.jobs.packagesettings import PackageSettings
from jobtool.jobs.settings import FILENAME, Settings
from jobtool.names import filename_of, quote
from jobtool.receiving.apart import KeptPlaces, require_apart
from jobtool.receiving.arrivals import Arrived, Incomplete, arrivals, children_of
from jobtool.receiving.events import (
    PackageIncomplete,
    PackageReceived,
    PackageRefused,
    Received,
)
from jobtool.receiving.plan import jobs_of
from jobtool.receiving.record import ReceivedPackage, read_received, write_received
from jobtool.receiving.request import (
    ReceiveRequest,
    require_origin,
    require_same,
    settings_of,
)
from jobtool.receiving.unpacked import UnpackedItems
from jobtool.routes.places import settings_by_url, sites_of
from jobtool.routes.sites import Sites
from jobtool.routes.sitesfile import load_sites
from jobtool.stop import ASKED, Stop
from jobtool.stores.registry import StoreRegistry
from jobtool.transfer.retry import Retry
from jobtool.transfer.stores_of import stores_by, stores_of


class PackageRefusedError(Exception):
    """Why a package can't be received here."""


def receive_packages(
    request: ReceiveRequest,
    emit: Emit = ignore,
    *,
    trust: bool = False,
    stop: Stop | None = None,
) -> Received:
    """Make the joblist, or add to it; leave the jobs that it has as they are.

    Raises ``UsageError``, ``JoblistError`` and ``RouteError`` before anything is written,
    ``StoppedError`` between two packages, and the errors of stores and of the joblist. What is
    wrong about one package is an event.
    """
    stop = stop or Stop()
    joblist = _existing(request, trust=trust)
    if joblist is None:
        sites = None if request.sites_path is None else load_sites(request.sites_path)
        settings = settings_of(request, sites)
        assert settings.packages is not None
        packages = settings.packages
        stores = stores_by(settings, places=_places(sites))
    else:
        sites = sites_of(joblist)
        packages = require_same(request, joblist.settings)
        stores = stores_of(joblist, places=_places(sites))
    require_apart(request.urls, request.joblist_path, packages)
    require_origin(request.urls, packages, sites)
    if joblist is None and not request.dry_run:
        for url in request.urls:  # so that a wrong one leaves no joblist behind
            children_of(stores.open(url, "source"), Retry(stop=stop))
        joblist = _create(request.joblist_path, settings)
    kept = KeptPlaces(request.urls, request.joblist_path, packages)
    receiving = _Receiving(joblist, packages, kept, emit, dry_run=request.dry_run)
    for url in request.urls:
        receiving.folder(url, stores, stop)
    return receiving.finish()


class _Receiving:
    """One run. ``joblist`` is None for a dry run without one."""

    def __init__(
        self,
        joblist: JobList | None,
        packages: PackageSettings,
        kept: KeptPlaces,
        emit: Emit,
        *,
        dry_run: bool,
    ) -> None:
        self._joblist = joblist
        self._packages = packages
        self._kept = kept
        self._emit = emit
        self._dry_run = dry_run
        self._known = {} if joblist is None else read_received(joblist)
        self._unpacked = UnpackedItems()
        self._new = self._old = self._incomplete = self._refused = self._jobs = self._bytes = 0
        self._seen: set[str] = set()
        for package in self._known.values():
            self._unpacked.add(package)

    def folder(self, url: str, stores: StoreRegistry, stop: Stop) -> None:
        """Receive the packages of a folder."""
        for found in arrivals(stores.open(url, "source"), Retry(stop=stop)):
            if stop.is_set():
                raise StoppedError(
                    f"stopped early: {stop.reason or ASKED}. What was received has "
                    "its jobs. Run it again for the others."
                )
            if isinstance(found, Arrived):
                try:
                    self._receive(ReceivedPackage.of(found.manifest, url))
                except PackageRefusedError as error:
                    self._refuse(found.name, url, str(error))
            elif isinstance(found, Incomplete):
                self._incomplete += 1
                self._emit(PackageIncomplete(package=found.name, url=url, reason=found.reason))
            else:
                self._refuse(found.name, url, found.reason)

    def finish(self) -> Received:
        """Emit the sum and return it."""
        received = Received(
            new=self._new,
            known=self._old,
            incomplete=self._incomplete,
            refused=self._refused,
            jobs=self._jobs,
            bytes=self._bytes,
            dry_run=self._dry_run,
        )
        self._emit(received)
        return received

    def _refuse(self, name: str, url: str, reason: str) -> None:
        self._refused += 1
        self._emit(PackageRefused(package=name, url=url, reason=reason))

    def _receive(self, package: ReceivedPackage) -> None:
        known = self._known.get(package.name)
        if known is None:
            self._require_free(package)
            if self._joblist is not None and not self._dry_run:
                known = self._record(package)
        if known is not None:
            _require_same_content(known, package)
        is_new = package.name not in self._known
        jobs = tuple(self._make_jobs(known or package))
        self._known[package.name] = known or package
        if is_new:
            self._unpacked.add(package)
        if not jobs:  # they were made by an earlier run, or by another process meanwhile
            if package.name not in self._seen:
                self._old += 1
            self._seen.add(package.name)
            return
        self._seen.add(package.name)
        self._new += 1
        self._jobs += len(jobs)
        self._bytes += package.bytes
        self._emit(
            PackageReceived(
                package=package.name,
                url=package.url,
                items=len(package.items),
                members=package.members,
                bytes=package.bytes,
                jobs=jobs,
            )
        )

    def _require_free(self, package: ReceivedPackage) -> None:
        """Raise ``PackageRefusedError`` if something else is where an item would be unpacked."""
        if "unpack" not in self._packages.steps:
            return
        for item in package.items:
            place = self._kept.hit_by(item)
            if place is not None:
                raise PackageRefusedError(
                    f"its item {quote(item)} would be unpacked over {quote(place)}, which holds "
                    "the joblist or packages. Receive it into another joblist, with another "
                    "--unpack"
                )
        found = self._unpacked.in_the_way(package)
        if found is not None:
            item, other = found
            raise PackageRefusedError(
                f"its item {quote(item)} would be unpacked where package {quote(other)} has one. "
                "Receive one of the two into another joblist, with another --unpack"
            )

    def _record(self, package: ReceivedPackage) -> ReceivedPackage | None:
        """Record a package; return what another process has recorded meanwhile."""
        assert self._joblist is not None
        if not write_received(self._joblist, package):
            return read_received(self._joblist).get(package.name)
        reach("after a package is recorded as received")
        return None

    def _make_jobs(self, package: ReceivedPackage) -> Iterator[str]:
        """Make the jobs that a package hasn't yet, and yield their names."""
        for job in jobs_of(package.name, package.url, self._packages):
            if self._joblist is None:
                yield job.name
                continue
            if self._dry_run:
                path = self._joblist.path_of(filename_of(job.name))
                is_made = not os.path.lexists(path)
            else:
                try:
                    is_made = self._joblist.add(job)
                    if is_made:
                        self._joblist.flush()
                        reach("after a job of a received package")
                except OSError as error:
                    raise JoblistUnavailableError(
                        f"can't write to {quote(self._joblist.path)}: {reason_of(error)}"
                    ) from None
            if is_made:
                yield job.name


def _require_same_content(known: ReceivedPackage, package: ReceivedPackage) -> None:
    if not known.is_same(package):
        raise PackageRefusedError(
            f"expected a tar of {known.tar_bytes} bytes with the MD5 {known.tar_md5}, as was "
            f"received from {quote(known.url)}; found one of {package.tar_bytes} bytes with "
            f"{package.tar_md5} in {quote(package.url)}. Have the other one packed under another "
            "name, or receive it into another joblist"
        )


def _existing(request: ReceiveRequest, *, trust: bool) -> JobList | None:
    """Return the joblist that is there, None if there is none yet."""
    path = request.joblist_path
    if os.path.exists(os.path.join(path, FILENAME)):
        return JobList.open(path, trust=trust)
    if os.path.isdir(path) and os.listdir(path):
        raise JoblistError(
            f"{quote(path)} is neither a joblist nor empty. Choose another folder for the joblist."
        )
    if os.path.lexists(path) and not os.path.isdir(path):
        raise JoblistError(
            f"expected a folder for the joblist at {quote(path)}; found a file. "
            "Choose another folder."
        )
    return None


def _create(path: str, settings: Settings) -> JobList:
    """Make a joblist without jobs, which appears as a whole."""
    parent, name = os.path.split(path)
    hidden = os.path.join(parent, f".{name}.{uuid.uuid4().hex[:12]}.tmp")
    try:
        os.makedirs(parent, exist_ok=True)
        JobList.create(hidden, settings)
        os.rename(hidden, path)  # over an empty folder, too
    except OSError as error:
        raise JoblistError(f"can't make the joblist {quote(path)}: {reason_of(error)}") from None
    finally:
        shutil.rmtree(hidden, ignore_errors=True)
    return JobList(os.path.realpath(path), settings)


def _places(sites: Sites | None) -> dict[str, dict[str, object]]:
    return {} if sites is None else {url: dict(t) for url, t in settings_by_url(sites).items()}
