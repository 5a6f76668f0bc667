"""``update_joblist``: a second look at the source of a joblist."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from jobtool.api.options import require_threads
from jobtool.api.places import Filesystem, Place, opened
from jobtool.errors import UsageError
from jobtool.events import Emit, Event, ignore, unfailing
from jobtool.names import quote

if TYPE_CHECKING:
    from jobtool.jobs.joblist import JobList
    from jobtool.layouts.events import Generated
    from jobtool.mirror.events import DeletionRefused, ExtraFile, SourceChanged, Updated
    from jobtool.release.events import FileStays
    from jobtool.stop import Stop

DEFAULT_THREADS = 8

#: How long a store that doesn't answer is asked again, in seconds.
_PATIENCE_SECONDS = 20.0


class JoblistUpdate(msgspec.Struct, frozen=True, kw_only=True):
    """What ``update_joblist`` found and did.

    ``generated`` has the counts of new jobs, ``updated`` those of the second look. ``changes`` are
    the jobs whose source isn't as it was. ``extras`` are the files that could be deleted at the
    destination. ``refused`` and ``stays`` say which of them stay, and why.
    """

    generated: Generated
    updated: Updated
    changes: tuple[SourceChanged, ...]
    extras: tuple[ExtraFile, ...]
    refused: tuple[DeletionRefused, ...]
    stays: tuple[FileStays, ...]

    @property
    def exit_code(self) -> int:
        """1 if something needs a person's attention, else 0."""
        return max(self.generated.exit_code, self.updated.exit_code)


class Again(msgspec.Struct, frozen=True, kw_only=True):
    """The options of a second look; see ``update_joblist``."""

    compare: Literal["time", "digest"] = "time"
    delete_extra: bool = False
    delete_excluded: bool = False
    yes: bool = False
    max_delete: int | None = None
    threads: int = DEFAULT_THREADS

    def __post_init__(self) -> None:
        """Raise ``UsageError`` for a value that isn't allowed, or an option without its other."""
        require_threads(self.threads)
        if self.compare not in ("time", "digest"):
            raise UsageError(f"compare: expected time or digest; found {self.compare!r}")
        if self.max_delete is not None and self.max_delete < 0:
            raise UsageError(f"max_delete: expected a number from 0; found {self.max_delete}")
        if not self.delete_extra:
            for name in ("delete_excluded", "yes", "max_delete"):
                if getattr(self, name) not in (False, None):
                    option = f"--{name.replace('_', '-')}"
                    raise UsageError(f"{option}: expected --delete-extra with it; found none")


def update_joblist(
    joblist: Place | JobList,
    *,
    compare: Literal["time", "digest"] = "time",
    delete_extra: bool = False,
    delete_excluded: bool = False,
    yes: bool = False,
    max_delete: int | None = None,
    threads: int = DEFAULT_THREADS,
    trust: bool = False,
    dry_run: bool = False,
    source_fs: Filesystem | None = None,
    target_fs: Filesystem | None = None,
    stop: Stop | None = None,
    on_event: Emit = ignore,
) -> JoblistUpdate:
    """Look at the source of a joblist again: add new jobs, put jobs with changes back to ``todo``.

    The next ``transfer_jobs`` sends the new and changed files of these jobs, and nothing else.
    Files that are gone from the source stay at the destination, unless ``delete_extra`` is given.

    Args:
        joblist: The folder, or an open joblist. Its source, layout and filters are used.
        compare: ``time``: a file has changed if its size or its modification time isn't that of its
            receipt. ``digest``: files with the same size and time are read, and their MD5 compared.
        delete_extra: List the files at the destination that this joblist has brought and that
            aren't at the source any more. They are moved to a trash, if ``yes``, or if an earlier
            call of the last 24 hours has listed each of them. Never after a failed or empty listing
            of the source. ``[transfer]`` of joblist.toml has ``trash`` and ``keep_days``.
        delete_excluded: Files that the filters leave out by now are extra, too.
        yes: Delete without an earlier list.
        max_delete: Delete nothing if more files are extra. With it, more than half of a job's files
            may be deleted.
        threads: How many files to read or look at at a time, 1 to 256.
        trust: Run the commands that joblist.toml names for credentials, and delete, even if others
            could have written the joblist.
        dry_run: Change nothing but the list of extra files.
        source_fs: The filesystem of the source, as for ``generate_joblist``, if it can't be made
            from joblist.toml alone.
        target_fs: The filesystem of the destination, likewise.
        stop: Ends it early, by ``StoppedError``. The next call goes on.
        on_event: Called with each event. An exception from it stops nothing.

    Raises:
        UsageError: There is nothing at the path or at the source, or an argument is invalid.
        JoblistError: The folder isn't a joblist of a source, or others could have written it.
        LayoutError: Nothing at the source fits the layout.
        SourceError: The source can't be read.
        StoppedError: ``stop`` was set.
        InfrastructureError: A store or the joblist can't be used.

    Examples:
        >>> jobtool.update_joblist("joblist").updated.changed
        0
    """
    from jobtool.layouts.generate import generate
    from jobtool.layouts.request import Request

    again = Again(
        compare=compare,
        delete_extra=delete_extra,
        delete_excluded=delete_excluded,
        yes=yes,
        max_delete=max_delete,
        threads=threads,
    )
    is_path = isinstance(joblist, str) or hasattr(joblist, "__fspath__")
    place = opened(joblist, trust=trust and is_path, source_fs=source_fs, target_fs=target_fs)
    settings = place.settings
    if settings.source is None:
        raise UsageError(
            f"expected a source in joblist.toml of {quote(place.path)}; found none. Name it once: "
            "generate-joblist SOURCE --update --output-path JOBLIST"
        )
    given = {"source": source_fs, "destination": target_fs}
    request = Request(
        source=settings.source,
        joblist_path=place.path,
        filesystems={**place.filesystems, **{k: v for k, v in given.items() if v is not None}},
        trust=trust,
        dry_run=dry_run,
    )
    emit = unfailing(on_event)
    generated = generate(request, emit)
    return look_again(
        place, generated, again, trust=trust, dry_run=dry_run, stop=stop, on_event=emit
    )


def look_again(
    joblist: JobList,
    generated: Generated,
    again: Again,
    *,
    trust: bool = False,
    dry_run: bool = False,
    stop: Stop | None = None,
    on_event: Emit = ignore,
) -> JoblistUpdate:
    """Do what ``update_joblist`` does after new jobs were ``generated``."""
    from jobtool.mirror.events import DeletionRefused, ExtraFile, SourceChanged
    from jobtool.mirror.listed import listed_path
    from jobtool.mirror.pruning import Deletion, Pruned, Pruning
    from jobtool.mirror.updating import Update
    from jobtool.release.context import ReleaseContext
    from jobtool.release.events import FileStays
    from jobtool.release.ownership import require_own
    from jobtool.release.plan import DEFAULT_KEEP_DAYS
    from jobtool.stop import Stop
    from jobtool.stores.location import Location
    from jobtool.transfer.retry import Retry
    from jobtool.transfer.stores_of import stores_of

    settings = joblist.settings
    if settings.export is not None or settings.packages is not None:
        raise UsageError(
            f"expected a joblist that copies a source; {quote(joblist.path)} makes packages or "
            "exports rows. Generate it again without --update: that finds what is new."
        )
    trash = settings.transfer.trash and Location.parse(settings.transfer.trash).url
    if again.delete_extra and not dry_run:
        require_own(
            joblist,
            *joblist.job_ids(),
            *joblist.job_ids_with_deletions(),
            files=[listed_path(joblist)],
            trust=trust,
            function="update_joblist",
        )
    kept: list[Event] = []
    emit = unfailing(on_event)

    def keep(event: Event) -> None:
        if isinstance(event, SourceChanged | ExtraFile | DeletionRefused | FileStays):
            kept.append(event)
        emit(event)

    stop = stop or Stop()
    context = ReleaseContext(
        stores=stores_of(joblist, connections=2 * again.threads),
        emit=keep,
        stop=stop,
        retry=Retry(stop=stop, patience_seconds=_PATIENCE_SECONDS),
        is_dry_run=dry_run,
        threads=again.threads,
    )
    update = Update(
        joblist,
        context,
        compare=again.compare,
        keeps_extra=again.delete_extra,
        excluded_too=again.delete_excluded,
        trust=trust,
    )
    update.has_failures = bool(generated.unreadable)
    update.run()
    pruned = Pruned()
    if again.delete_extra:
        keep_days = settings.transfer.keep_days
        deletion = Deletion(
            is_confirmed=again.yes,
            max_files=again.max_delete,
            keep_days=DEFAULT_KEEP_DAYS if keep_days is None else keep_days,
            trash=trash,
        )
        pruned = Pruning(joblist, update, deletion, context).run()
    updated = update.result(
        extra=pruned.extra,
        extra_bytes=pruned.extra_bytes,
        deleted=pruned.deleted,
        refused=pruned.refused,
        awaits_yes=pruned.awaits_yes,
    )
    keep(updated)
    return JoblistUpdate(
        generated=generated,
        updated=updated,
        changes=tuple(one for one in kept if isinstance(one, SourceChanged)),
        extras=tuple(one for one in kept if isinstance(one, ExtraFile)),
        refused=tuple(one for one in kept if isinstance(one, DeletionRefused)),
        stays=tuple(one for one in kept if isinstance(one, FileStays)),
    )
