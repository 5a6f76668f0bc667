"""Planning: what a job names is listed into a plan."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator

from jobtool.errors import FileError, NotFoundError, StoppedError, StoreError
from jobtool.jobs.job import Job
from jobtool.names import quote
from jobtool.stores.location import anchor_of, inside, is_absolute, is_local, parent_of, parse
from jobtool.stores.optional import FolderAttributes
from jobtool.stores.registry import StoreRegistry
from jobtool.stores.store import Entry, Special, Store, Unlisted, check_path, entry_of, kind_of
from jobtool.transfer.parallel import in_parallel
from jobtool.transfer.plan import Failure, Plan, Route, path_in
from jobtool.transfer.retry import Retry, Successes

#: How many files are asked about at a time where a job names them one by one.
LOOKS_AT_A_TIME = 16

#: How often a listing looks whether to stop, in entries.
_ENTRIES_PER_LOOK = 64


class TreeListing:
    """Lists a tree into its plan. The try after a failure adds what follows the last entry.

    ``on_entry`` is called after each entry.
    """

    def __init__(
        self, plan: Plan, route: Route, finish: Callable[[Plan], None], retry: Retry
    ) -> None:
        self.plan = plan
        self.route = route
        self.retry = retry
        self._successes = Successes(retry.monotonic)
        self.on_entry: Callable[[], None] | None = None
        self._finish = finish
        self._entries: Iterator[Entry | Special | Unlisted] | None = None
        self._last = b""  # the key of what was added last
        self._previous = b""  # and of what this pass has seen last
        self._skip_to = b""  # what an earlier pass has added last: up to there nothing is new
        self._is_in_order = True

    def run(self, *, seconds: float | None = None) -> bool:
        """List the rest; with ``seconds`` no longer than that. Return whether all is listed.

        Raises the errors of the source after tries enough, and ``StoppedError`` once
        the stop of ``retry`` is set.
        """
        return self.retry.call(lambda: self._try(seconds), own=self._successes)

    def _try(self, seconds: float | None) -> bool:
        end = None if seconds is None else time.monotonic() + seconds
        if self._entries is None:
            self._skip_to, self._previous = self._last, b""
            if self._skip_to and not self._is_in_order:
                raise self._unsorted()
        entries = self._entries or self.route.source.list()
        self._entries = None  # what fails is begun again
        try:
            for count, entry in enumerate(entries):
                if count % _ENTRIES_PER_LOOK == 0:
                    if self.retry.stop.is_set():
                        raise StoppedError(f"stopped while listing {quote(self.route.source.url)}")
                    if end is not None and count and time.monotonic() >= end:
                        self._add(entry)
                        self._entries, entries = entries, iter(())
                        return False
                self._add(entry)
        finally:
            close = getattr(entries, "close", None)
            if close is not None:
                close()
        self._finish(self.plan)
        return True

    def _unsorted(self) -> StoreError:
        return StoreError(
            f"{quote(self.route.source.url)}: its listing failed midway, and it isn't sorted, so "
            "that it can't be taken up"
        )

    def _add(self, entry: Entry | Special | Unlisted) -> None:
        key = _sort_key(entry)
        if key <= self._previous:
            self._is_in_order = False
            if self._skip_to:  # what was passed over may be new
                raise self._unsorted()
        self._previous = key
        if self._skip_to and key <= self._skip_to:
            return
        self._last = key
        self._successes.note()
        if isinstance(entry, Special):
            self.plan.add_special(entry)
        elif isinstance(entry, Unlisted):
            self.plan.fail(self.route.source.url_of(entry.path), entry.error)
        else:
            self.plan.add(entry)
            if self.on_entry is not None:
                self.on_entry()


def _sort_key(entry: Entry | Special | Unlisted) -> bytes:
    # What is listed of a folder sorts as if its name ended in a slash.
    is_folder = (isinstance(entry, Special) and entry.what == "empty-folder") or (
        isinstance(entry, Unlisted) and entry.is_folder
    )
    return os.fsencode(entry.path) + b"/" * is_folder


def open_plan(
    job: Job, stores: StoreRegistry, *, owner: str = "", retry: Retry | None = None
) -> tuple[Plan, TreeListing | None]:
    """Return the plan of a job and, if that is a tree, what lists it; a tree isn't listed yet.

    ``job.destination`` must be set unless all its files are absolute. Files that the job names are
    looked at by ``retry``, several at a time; those that aren't there or can't be read are
    ``failures`` of the plan.

    Raises ``NotFoundError`` if the source is missing, ``FileError`` for a path that would leave its
    root or a destination named twice, ``UsageError`` for a source or destination that can't be
    carried, ``StoppedError``, ``WorldError``.
    """
    for url in (job.source, job.destination):
        if url is not None:
            parse(url)
    retry = retry or Retry.never()
    if job.files:
        return _plan_files(job, stores, owner, retry), None
    return retry.call(lambda: _open_tree(job, stores, owner, retry))


def _open_tree(
    job: Job, stores: StoreRegistry, owner: str, retry: Retry
) -> tuple[Plan, TreeListing | None]:
    if job.source is None or job.destination is None:
        raise FileError(f"job {quote(job.name)}: expected a source and a destination")
    plan = Plan()
    source = stores.open(job.source, "source")
    kind = kind_of(source, "")
    if kind == "file" or (kind == "missing" and _is_one_file(job.source, stores)):
        source_folder, source_name = parent_of(job.source)
        destination_folder, destination_name = parent_of(job.destination)
        source = stores.open(source_folder, "source")
        destination = stores.open(destination_folder, "destination", owner=owner)
        plan.start_route(Route(source, destination))
        plan.add(entry_of(source, source_name), destination_name)
        return plan, None
    if kind == "missing":
        raise NotFoundError(
            f"expected a folder or file at {quote(job.source)}; found nothing. "
            "Was the source moved or removed?"
        )
    target = job.destination
    route = Route(source, stores.open(target, "destination", owner=owner, mirrors=source))
    plan.start_route(route)
    plan.is_tree = True

    def finish(plan: Plan) -> None:
        is_kept = isinstance(source, FolderAttributes) and isinstance(
            route.destination, FolderAttributes
        )  # with its attributes
        is_empty = not (len(plan) or plan.has_specials or plan.failures)
        if is_empty and is_local(target) and not is_kept:
            # The folder itself is what has to be made.
            folder, name = parent_of(target)
            plan.start_route(Route(source, stores.open(folder, "destination", owner=owner)))
            plan.add_special(Special(name, "empty-folder"))

    return plan, TreeListing(plan, route, finish, retry)


def plan_of_files(
    job: Job, entries: Iterable[tuple[str, str, int, int]], stores: StoreRegistry, owner: str
) -> Plan:
    """Make a plan of some files of a job without looking at them, in the order given.

    Each is its source, its destination (absolute paths or URLs), its size in bytes and its
    modification time in nanoseconds since 1970. Raises ``FileError`` for one that lies elsewhere.
    """
    plan = Plan()
    if not job.files and job.source is not None and job.destination is not None:
        source_store = stores.open(job.source, "source")
        route = Route(
            source_store,
            stores.open(job.destination, "destination", owner=owner, mirrors=source_store),
        )
        entries = [*entries]
        if entries and path_in(route.source, entries[0][0]):
            plan.start_route(route)
            for source_url, destination_url, size, mtime_ns in entries:
                source = path_in(route.source, source_url)
                destination = path_in(route.destination, destination_url)
                if not source or not destination:
                    raise _not_of(job, source_url, destination_url)
                plan.add(Entry(check_path(source), size, mtime_ns), check_path(destination))
            return plan
    named = _named_files(job, stores)
    routes: dict[tuple[str, str], Route] = {}
    last: Route | None = None
    for source_url, destination_url, size, mtime_ns in entries:
        if (source_url, destination_url) not in named:
            raise _not_of(job, source_url, destination_url)
        roots, source, destination = named[source_url, destination_url]
        if roots not in routes:
            routes[roots] = Route(
                stores.open(roots[0], "source"),
                stores.open(roots[1], "destination", owner=owner),
            )
        if routes[roots] is not last:
            last = routes[roots]
            plan.start_route(last)
        plan.add(Entry(source, size, mtime_ns), destination)
    return plan


_Roots = tuple[str, str]


def _named_files(job: Job, stores: StoreRegistry) -> dict[tuple[str, str], tuple[_Roots, str, str]]:
    """Return the files that a job names, by their URLs: their stores' roots, their paths there."""
    pairs = [
        (*_resolve(pair.source, job.source), *_resolve_destination(pair.destination, job))
        for pair in job.files
    ]
    if not job.files:
        pairs = [(*parent_of(job.source or ""), *parent_of(job.destination or ""))]
    found = {}
    urls: dict[str, Store] = {}
    for source_root, source, destination_root, destination in pairs:
        for root in (source_root, destination_root):
            if root not in urls:
                urls[root] = stores.open(root, "source")
        key = (urls[source_root].url_of(source), urls[destination_root].url_of(destination))
        found[key] = ((source_root, destination_root), source, destination)
    return found


def _not_of(job: Job, source_url: str, destination_url: str) -> FileError:
    return FileError(
        f"{quote(source_url)} -> {quote(destination_url)} is no file of job {quote(job.name)}"
    )


def _is_one_file(url: str, stores: StoreRegistry) -> bool:
    folder, name = parent_of(url)
    return name != "" and kind_of(stores.open(folder, "source"), name) == "file"


def _plan_files(job: Job, stores: StoreRegistry, owner: str, retry: Retry) -> Plan:
    plan = Plan()
    pairs: dict[tuple[str, str], list[tuple[str, str]]] = {}
    taken: set[tuple[str, str]] = set()
    for pair in job.files:
        source_root, source = _resolve(pair.source, job.source)
        destination_root, destination = _resolve_destination(pair.destination, job)
        if (destination_root, destination) in taken:
            raise FileError(f"{quote(pair.destination)} is the destination of two files of the job")
        taken.add((destination_root, destination))
        pairs.setdefault((source_root, destination_root), []).append((source, destination))
    for (source_root, destination_root), names in pairs.items():
        route = Route(
            stores.open(source_root, "source"),
            stores.open(destination_root, "destination", owner=owner),
        )
        plan.start_route(route)
        for (source, destination), found in zip(
            names, look_at(route.source, (source for source, _ in names), retry), strict=True
        ):
            if isinstance(found, Entry):
                plan.add(found, destination)
            else:
                # All of them: their number is bounded by the job file.
                failure = Failure(
                    path=route.source.url_of(source),
                    error=found,
                    destination=route.destination.url_of(destination),
                )
                plan.failures.append(failure)
    return plan


def look_at(store: Store, paths: Iterable[str], retry: Retry) -> Iterator[Entry | FileError]:
    """Yield the entry of each file, or why it has none; several files are looked at at a time.

    Raises ``StoppedError`` and ``WorldError``.
    """

    def look(path: str) -> Entry | FileError:
        if retry.stop.is_set():
            raise StoppedError(f"stopped while looking at {quote(store.url_of(path))}")
        try:
            found = retry.call(lambda: entry_of(store, path))
        except FileError as error:
            return error
        retry.elsewhere.note()
        return found

    yield from in_parallel(look, paths, threads=LOOKS_AT_A_TIME)


def _resolve(path: str, root: str | None) -> tuple[str, str]:
    if is_absolute(path):
        anchor, path = anchor_of(path)
        return anchor, check_path(path)
    if root is None:
        raise FileError(f"{quote(path)} is relative, and the job names no folder that it is in")
    return root.rstrip("/") or "/", check_path(path)


def _resolve_destination(path: str, job: Job) -> tuple[str, str]:
    """Resolve a destination as relative wherever it can be: links below the job's are refused."""
    if path.startswith("/") and job.destination is not None:
        below = inside(job.destination, path)
        if below:
            return job.destination.rstrip("/") or "/", check_path(below)
    return _resolve(path, job.destination)
