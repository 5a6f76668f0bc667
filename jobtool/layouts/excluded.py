"""What a joblist's filters leave out, found by listing its source again.

Job files only count it. The source is listed as a worker does it: folders that are left out aren't
opened, and each of them is one item.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from functools import partial
from typing import ClassVar

from msgspec.structs import replace

from jobtool.errors import JobFileError, NotFoundError, UsageError
from jobtool.events import Emit, Event
from jobtool.filters.selection import Selection
from jobtool.jobs.job import Job
from jobtool.jobs.joblist import JobList
from jobtool.jobs.unknownjob import unknown_job
from jobtool.layouts.layout import MANIFEST
from jobtool.layouts.manifest import Manifest
from jobtool.level import Level
from jobtool.names import filename_of, quote
from jobtool.stores.location import parent_of
from jobtool.stores.optional import Prunes, supports
from jobtool.stores.registry import StoreRegistry
from jobtool.stores.store import Entry, Special, Store, Unlisted, entry_of, kind_of
from jobtool.transfer.selecting import is_left_out, selection_in
from jobtool.units import size_text

_BOUNDS = {
    "size": "its size",
    "time": "its time",
    "not named": "--files-from doesn't name it",
}


class ExcludedItem(Event, frozen=True, kw_only=True):
    """A file that the filters leave out, or a folder that isn't opened.

    ``reason`` is the rule that decides, or ``size``, ``time`` or ``not named``. ``size`` is that of
    a file in bytes, None if it isn't known. ``what`` is ``file``, ``folder``, or the kind of
    something else, such as ``link``.
    """

    kind: ClassVar[str] = "excluded"
    symbol: ClassVar[str] = " "
    path: str
    what: str
    size: int | None
    reason: str

    def text(self) -> str:
        """Return the sentence."""
        size = "" if self.size is None else f"{size_text(self.size)}, "
        what = "" if self.what == "file" else f"{self.what}, "
        return f"{quote(self.path)} ({what}{size}{shown_reason(self.reason)})"


class Excluded(Event, frozen=True, kw_only=True):
    """All that the filters leave out. ``others`` are folders, pipes and the like.

    ``reasons`` has ``files``, ``bytes`` and ``others`` of each reason of an ``ExcludedItem``.
    ``unreadable`` counts what couldn't be looked at. ``has_filters``: the joblist leaves out
    anything at all.
    """

    kind: ClassVar[str] = "excluded-total"
    level: ClassVar[Level] = Level.ALWAYS
    symbol: ClassVar[str] = "💡"
    files: int
    bytes: int
    others: int
    reasons: Mapping[str, Mapping[str, int]]
    unreadable: int = 0
    has_filters: bool = True

    def text(self) -> str:
        """Return a line for each reason and one for all."""
        if not self.has_filters:
            return "Left out: nothing. The joblist has no filters."
        lines = [
            f"  {shown_reason(reason)}: {_shown(each['files'], each['bytes'], each['others'])}"
            for reason, each in self.reasons.items()
        ]
        total = f"Left out: {_shown(self.files, self.bytes, self.others)}"
        if self.unreadable:
            total += f"; {self.unreadable} folder(s) couldn't be looked into"
        return "\n".join([total, *lines])

    @property
    def exit_code(self) -> int:
        """0, or 1 if something couldn't be looked at."""
        return 1 if self.unreadable else 0


class NotLookedAt(Event, frozen=True, kw_only=True):
    """A folder or name of the source that can't be looked at."""

    kind: ClassVar[str] = "unreadable"
    level: ClassVar[Level] = Level.ALWAYS
    symbol: ClassVar[str] = "❌"
    reason: str

    def text(self) -> str:
        """Return the sentence."""
        return self.reason


def find_excluded(
    joblist: JobList, stores: StoreRegistry, names: Collection[str], emit: Emit
) -> Excluded:
    """Emit what is left out of the source, or of the jobs with ``names``; return the counts.

    Raises ``UsageError`` if a named job doesn't exist or the joblist exports rows, ``JobFileError``
    for a named job that can't be read, and the errors of stores.
    """
    settings = joblist.settings
    if settings.export is not None:
        raise UsageError(
            f"expected a joblist that copies a source; {quote(joblist.path)} exports the rows of a "
            "query, which has no filters."
        )
    if names and settings.packages is not None:
        raise UsageError(
            "--job: expected none for packages, whose jobs share a source. Leave it out to list "
            "all that is left out of the items."
        )
    finder = _Finder(emit)
    if settings.filters and settings.layout.get("preset") == MANIFEST and settings.source:
        if names:
            raise UsageError(
                "--job: expected none for a manifest, whose rows are left out before jobs. Leave "
                "it out."
            )
        manifest = Manifest(
            settings.source,
            settings.values,
            settings.destination,
            selection=selection_in(joblist, settings.source),
        )
        for source, size, reason in manifest.excluded_rows():
            finder.add(source, "file", size, reason)
    elif settings.filters:
        for source in _sources(joblist, names):
            finder.walk(stores, source, selection_in(joblist, source))
    found = replace(finder.total(), has_filters=bool(settings.filters))
    emit(found)
    return found


def shown_reason(reason: str) -> str:
    """Return why something is left out, in words."""
    return _BOUNDS.get(reason, f"the rule {reason!r}")


def _shown(files: int, size: int, others: int) -> str:
    text = f"{files} file(s), {size_text(size)}"
    return f"{text}, and {others} folder(s) and other item(s)" if others else text


def _sources(joblist: JobList, names: Collection[str]) -> Iterator[str]:
    source = joblist.settings.source
    if not names and source is not None:
        yield source
        return
    job_ids = set(joblist.job_ids())
    for job_id in map(filename_of, names) if names else sorted(job_ids):
        if job_id not in job_ids:
            raise unknown_job(job_id, job_ids, joblist=joblist.path)
        try:
            job: Job = joblist.load(job_id)[0]
        except (JobFileError, FileNotFoundError) as error:
            raise UsageError(f"{quote(joblist.path_of(job_id))}: {error}") from None
        if job.source is not None and not job.files:
            yield job.source


class _Finder:
    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._files: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()
        self._others: Counter[str] = Counter()
        self._unreadable = 0

    def add(self, path: str, what: str, size: int | None, reason: str) -> None:
        self._emit(ExcludedItem(path=path, what=what, size=size, reason=reason))
        if what == "file":
            self._files[reason] += 1
            self._bytes[reason] += size or 0
        else:
            self._others[reason] += 1

    def walk(self, stores: StoreRegistry, source: str, selection: Selection | None) -> None:
        if selection is None:
            return
        store = stores.open(source, "source")
        kind = kind_of(store, "")
        if kind == "missing":
            raise NotFoundError(f"expected a folder or file at {quote(source)}; found nothing")
        if kind == "file":
            folder, name = parent_of(source)
            self._judge(selection, store, entry_of(stores.open(folder, "source"), name), source)
            return
        if selection.excludes_folder(""):
            self._judge(selection, store, Special("", "excluded-folder"), source)
            return
        listed = store.list
        if supports(store, Prunes):
            listed = partial(store.list_without, selection.excludes_folder)
        for item in listed():
            if is_left_out(selection, item):
                self._judge(selection, store, item, store.url_of(item.path))
            elif isinstance(item, Unlisted):
                self._unreadable += 1
                self._emit(NotLookedAt(reason=str(item.error)))

    def _judge(
        self, selection: Selection, store: Store, item: Entry | Special | Unlisted, url: str
    ) -> None:
        if isinstance(item, Entry):
            if not is_left_out(selection, item):
                return
            size_and_time = item.size, item.mtime_ns
            reason = selection.reason(item.path, is_folder=False, entry=size_and_time)
            self.add(url, "file", item.size, reason)
            return
        what = "unreadable"
        is_folder = isinstance(item, Unlisted) and item.is_folder
        if isinstance(item, Special):
            is_folder = item.what in ("excluded-folder", "empty-folder")
            what = "folder" if is_folder else item.what
        self.add(url, what, None, selection.reason(item.path, is_folder=is_folder, entry=None))

    def total(self) -> Excluded:
        return Excluded(
            files=self._files.total(),
            bytes=self._bytes.total(),
            others=self._others.total(),
            reasons={
                reason: {
                    "files": self._files[reason],
                    "bytes": self._bytes[reason],
                    "others": self._others[reason],
                }
                for reason in sorted({*self._files, *self._others})
            },
            unreadable=self._unreadable,
        )
