"""Making packages: items are found, bundled, and written as lists of members with their jobs.

A run adds to what there is. Items in packages stay there, whatever becomes of them.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Sequence

import msgspec

from jobtool.bundling.bundles import Bundle, Item, bundled
from jobtool.bundling.collisions import require_free
from jobtool.bundling.events import (
    ItemChanged,
    JobsCompleted,
    LeftOut,
    PackagePlanned,
    PackagesGenerated,
    Waiting,
    Walking,
    stamp,
)
from jobtool.bundling.folder import Making, PackagesFolder, number_of, package_name
from jobtool.bundling.joblines import jobs_of, places_of_tars
from jobtool.bundling.packed import PackedItems
from jobtool.bundling.request import PackagesRequest, Resolution, resolve
from jobtool.bundling.walk import DEFAULT_PATTERN, FoundItem, Walk
from jobtool.errors import FileError, JoblistError, LayoutError, SourceError, UsageError
from jobtool.events import Emit, ignore
from jobtool.failpoints import reach
from jobtool.jobs.joblist import JobList
from jobtool.layouts.events import Creating, Unreadable
from jobtool.names import filename_of, quote
from jobtool.packages.memberfile import write_members
from jobtool.packages.members import MemberList
from jobtool.stores.location import inside, is_local, join
from jobtool.stores.store import kind_of
from jobtool.transfer.retry import Retry
from jobtool.transfer.selecting import selection_of

#: How often progress is told while the source is listed.
_TELL_SECONDS = 5.0

#: How many items are named that hold what isn't a file.
_NAMED = 5


def generate_packages(
    request: PackagesRequest,
    emit: Emit = ignore,
    *,
    clock: Callable[[], float] = time.time,
    monotonic: Callable[[], float] = time.monotonic,
) -> PackagesGenerated:
    """Make packages of the items that aren't in one yet; return the counts.

    ``clock`` is in seconds since 1970. Raises ``JoblistError`` if the request contradicts the
    existing joblist or another process makes packages for it, ``LayoutError`` if there are no
    items, ``RouteError``, ``UsageError``, ``SourceError``, ``PackageError`` for a damaged list of
    members, and ``InfrastructureError``.
    """
    return _Generation(resolve(request), emit, clock(), monotonic).run()


class _Generation:
    def __init__(
        self, resolution: Resolution, emit: Emit, now: float, monotonic: Callable[[], float]
    ) -> None:
        self._request = resolution.request
        self._resolution = resolution
        self._packages = resolution.packages
        self._emit = emit
        self._now = now
        self._monotonic = monotonic
        self._told_at = monotonic()
        self._joblist = JobList(self._request.joblist_path, resolution.settings)
        self._folder = PackagesFolder(self._joblist)
        self._packed = PackedItems(self._joblist)
        self._making = Making()
        self._members = MemberList()
        self._items: dict[str, Item] = {}
        self._is_folder: dict[str, bool] = {}  # of items of stores of objects
        self._left_out: Counter[str] = Counter()
        self._with_left_out: list[str] = []
        self._seen = self._listed = self._listed_bytes = 0
        self._existing = self._changed = self._empty = self._unreadable = self._jobs = 0
        self._excluded = 0

    def run(self) -> PackagesGenerated:
        with contextlib.ExitStack() as stack:
            if self._folder.exists() and self._resolution.existing is not None:
                if not self._request.dry_run:
                    stack.enter_context(self._folder.locked())
                self._take_up()
            self._find()
            if not (self._items or self._existing or self._unreadable or self._empty):
                raise LayoutError(
                    f"expected items {self._pattern} below {quote(self._request.source)}; found "
                    "none. Is it the right input path, and the right pattern? (--items)"
                )
            bundles = bundled(
                self._items.values(),
                package_bytes=self._packages.package_bytes,
                order=self._packages.order,
            )
            wait = None if self._request.close else self._packages.max_wait_seconds
            due = [bundle for bundle in bundles if bundle.due_at(wait) <= self._now]
            waiting = [bundle for bundle in bundles if bundle.due_at(wait) > self._now]
            names = self._names(due)
            self._require_free(names)
            if not self._request.dry_run:
                self._create(stack, names)
            for name, bundle in zip(names, due, strict=True):
                self._make(name, bundle)
            held = {item.name: item.seen for bundle in waiting for item in bundle.items}
            self._save(held)
        self._tell_left_out()
        if waiting:
            until = min(bundle.due_at(wait) for bundle in waiting)
            size = sum(bundle.size for bundle in waiting)
            self._emit(Waiting(items=len(held), bytes=size, until=stamp(until)))
        generated = PackagesGenerated(
            packages=len(due),
            items=sum(len(bundle.items) for bundle in due),
            members=sum(bundle.members for bundle in due),
            bytes=sum(bundle.size for bundle in due),
            largest_bytes=max((bundle.size for bundle in due), default=0),
            jobs=self._jobs,
            existing=self._existing,
            changed=self._changed,
            waiting=len(held),
            empty=self._empty,
            unreadable=self._unreadable,
            excluded=self._excluded,
            dry_run=self._request.dry_run,
        )
        self._emit(generated)
        return generated

    @property
    def _pattern(self) -> str:
        return self._packages.item or DEFAULT_PATTERN

    def _take_up(self) -> None:
        """Read what earlier runs made, and complete the package that a killed one was making."""
        self._making = self._folder.load()
        names = self._folder.packages()
        for name in names:
            self._packed.read(name, may_write=not self._request.dry_run)
        last = max(map(number_of, names), default=0)
        self._making = msgspec.structs.replace(
            self._making, last_number=max(self._making.last_number, last)
        )
        begun = self._making.package
        if begun in names and begun is not None:
            jobs = list(jobs_of(begun, self._resolution.settings, self._resolution.sites))
            job_ids = {filename_of(job.name) for job in jobs}
            missing = len(job_ids - set(self._joblist.job_ids()))
            if not self._request.dry_run:
                for job_id in job_ids:  # a worker whose file vanishes writes another one
                    self._joblist.remove_temporaries(job_id)
            if missing:
                self._emit(JobsCompleted(package=begun, jobs=missing))
                self._jobs += missing
                if not self._request.dry_run:
                    self._add_jobs(begun)

    def _find(self) -> None:
        stores, source = self._resolution.stores, self._request.source
        store = stores.open(source, "source")
        kind = kind_of(store, "")
        if kind != "folder":
            found = "a file" if kind == "file" else "nothing"
            raise UsageError(
                f"expected a folder at {quote(source)}; found {found}. Correct the path."
            )
        walk = Walk(
            store,
            lambda url: stores.open(url, "source"),
            self._pattern,
            links=self._resolution.settings.transfer.links or "follow",
            retry=Retry(),
            on_member=self._count_member,
            on_unreadable=self._skip,
            selection=selection_of(self._resolution.settings.filters, source, source),
        )
        for found_item in walk.items():
            self._seen += 1
            self._excluded += found_item.excluded
            self._take(found_item)
        self._excluded += walk.excluded

    def _count_member(self, size: int) -> None:
        self._listed += 1
        self._listed_bytes += size
        if self._listed % 256 == 0 and self._monotonic() - self._told_at >= _TELL_SECONDS:
            self._told_at = self._monotonic()
            self._emit(Walking(items=self._seen, members=self._listed, bytes=self._listed_bytes))

    def _skip(self, error: FileError) -> None:
        self._unreadable += 1
        self._emit(Unreadable(reason=str(error)))

    def _take(self, found: FoundItem) -> None:
        """Note an item that was found: it is new, in a package already, or can't be packed."""
        url = join(self._request.source, found.name)
        own = inside(url, self._request.joblist_path)
        if own == "":
            return
        if own is not None:
            found.error = SourceError(
                f"{quote(url)} holds this joblist. Choose another --output-path to pack it."
            )
        if found.left_out and self._packed.get(found.name) is None:  # else it was told then
            self._left_out.update(found.left_out)
            self._with_left_out.append(found.name)
            del self._with_left_out[_NAMED:]
        if found.error is not None:
            self._skip(found.error)
        elif self._packed.get(found.name) is not None:
            self._compare(found)
        elif not len(found.members):
            self._empty += 1
        elif found.name in self._is_folder:
            self._take_second(found, url)
        else:
            self._add(found)

    def _take_second(self, found: FoundItem, url: str) -> None:
        """Leave out an object that has the name of a folder. The folder is packed."""
        self._skip(
            SourceError(
                f"{quote(url)}: an object and a prefix have this name; an object beside a prefix "
                "of its name can't be in a package. Copy it to another key."
            )
        )
        if found.is_folder:
            self._add(found)

    def _add(self, found: FoundItem) -> None:
        seen = min(self._making.waiting.get(found.name, self._now), self._now)
        self._items[found.name] = Item(
            name=found.name,
            size=found.members.total_bytes,
            members=len(found.members),
            newest_ns=found.members.newest_ns,
            group=tuple(found.fields[field] for field in self._packages.group_by),
            seen=seen,
            first=len(self._members),
        )
        if not is_local(self._request.source):
            self._is_folder[found.name] = found.is_folder
        self._members.extend(found.members, range(len(found.members)))

    def _compare(self, found: FoundItem) -> None:
        before = self._packed.get(found.name)
        assert before is not None
        self._existing += 1
        may_be_gone = self._packages.release == "source"
        change = self._packed.change_of(found.name, found.members, may_be_gone=may_be_gone)
        if change is not None:
            self._changed += 1
            self._emit(ItemChanged(item=found.name, package=before.package, change=change))

    def _names(self, bundles: Sequence[Bundle]) -> list[str]:
        first = self._making.last_number + 1
        return [
            package_name(self._packages.name or "", bundle.group, number)
            for number, bundle in enumerate(bundles, first)
        ]

    def _require_free(self, names: Sequence[str]) -> None:
        """Raise ``JoblistError`` for names that other packages have where these ones go."""
        sites, stores = self._resolution.sites, self._resolution.stores
        places = [self._resolution.settings.destination or ""]
        if sites is not None:
            places = list(places_of_tars(self._packages, sites))
        if names:
            require_free(names, places, lambda url: stores.open(url, "destination"), self._emit)

    def _create(self, stack: contextlib.ExitStack, names: Sequence[str]) -> None:
        settings = self._resolution.settings
        if self._resolution.existing != settings:
            self._joblist = JobList.create(self._request.joblist_path, settings)
        if self._resolution.existing is None or not self._folder.exists():
            stack.enter_context(self._folder.locked())
            if self._folder.packages():
                raise JoblistError(
                    f"another generate-joblist has made packages in {quote(self._folder.path)} "
                    "meanwhile. Run this one again."
                )
        if names:
            self._emit(Creating())

    def _make(self, name: str, bundle: Bundle) -> None:
        """Write a package: the note that it is made, its members, their digests, its jobs."""
        jobs = list(jobs_of(name, self._resolution.settings, self._resolution.sites))
        self._emit(
            PackagePlanned(
                package=name,
                items=len(bundle.items),
                members=bundle.members,
                bytes=bundle.size,
                jobs=tuple(job.name for job in jobs),
            )
        )
        self._jobs += len(jobs)
        if self._request.dry_run:
            return
        members = MemberList()
        for item in bundle.items:
            members.start_item(item.name)
            members.extend(self._members, range(item.first, item.first + item.members))
        self._making = msgspec.structs.replace(
            self._making, last_number=number_of(name), package=name
        )
        self._folder.save(self._making)
        reach("before a package's members are written")
        write_members(self._joblist.members_path_of(name), members)
        reach("after a package's members are written")
        self._packed.add(name, members)
        self._add_jobs(name)

    def _add_jobs(self, name: str) -> None:
        for job in jobs_of(name, self._resolution.settings, self._resolution.sites):
            reach("before a package's job is written")
            self._joblist.add(job)
        self._joblist.flush()

    def _save(self, held: dict[str, float]) -> None:
        done = Making(last_number=self._making.last_number, waiting=held)
        if not self._request.dry_run and done != self._making:
            self._folder.save(done)

    def _tell_left_out(self) -> None:
        if self._left_out:
            counts = dict(sorted(self._left_out.items()))
            self._emit(LeftOut(counts=counts, items=tuple(self._with_left_out)))
