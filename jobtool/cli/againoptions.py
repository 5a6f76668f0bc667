"""Options of ``generate-joblist`` for a second look at the source."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from jobtool.cli.console import Console
from jobtool.errors import UsageError

if TYPE_CHECKING:
    from jobtool.api.update import Again, JoblistUpdate
    from jobtool.layouts.events import Generated

_OPTIONS = (
    click.option(
        "--update",
        is_flag=True,
        help="Look at the source again: jobs that are done and have new or changed files become "
        "todo, and workers send just these files.",
    ),
    click.option(
        "--compare",
        type=click.Choice(["time", "digest"]),
        help="With --update: a file has changed by its size or time, or (digest) also by its MD5, "
        "for which it is read. [time]",
    ),
    click.option(
        "--delete-extra",
        is_flag=True,
        help="With --update, which it implies: list what this joblist has brought and the source "
        "has no more. Given again within 24 hours, or with --yes, move it to a trash.",
    ),
    click.option("--yes", is_flag=True, help="With --delete-extra: delete without a list before."),
    click.option(
        "--max-delete",
        type=click.IntRange(0),
        metavar="N",
        help="With --delete-extra: delete nothing if more files are extra, but even more than half "
        "of a job's.",
    ),
    click.option(
        "--delete-excluded",
        is_flag=True,
        help="With --delete-extra: files that the filters leave out by now are extra, too.",
    ),
)


def again_options(function: Callable[..., int]) -> Callable[..., int]:
    """Add the options of a second look, passed as ``again``: ``Again``, or None without."""

    @functools.wraps(function)
    def with_again(
        *,
        update: bool,
        compare: str | None,
        delete_extra: bool,
        yes: bool,
        max_delete: int | None,
        delete_excluded: bool,
        **rest: Any,
    ) -> int:
        from jobtool.api.update import Again

        if compare is not None and not (update or delete_extra):
            raise UsageError("--compare: expected --update with it; found none")
        if yes and rest["dry_run"]:
            raise UsageError("expected either --yes or --dry-run; found both. Try --help.")
        again = Again(
            compare="digest" if compare == "digest" else "time",
            delete_extra=delete_extra,
            delete_excluded=delete_excluded,
            yes=yes,
            max_delete=max_delete,
        )
        return function(again=again if update or delete_extra else None, **rest)

    wrapped: Callable[..., int] = with_again
    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped


def look_again_at(
    joblist_path: str,
    generated: Generated,
    again: Again,
    console: Console,
    *,
    source_fs: Any,
    target_fs: Any,
    trust: bool,
    dry_run: bool,
) -> int:
    """Take the second look, tell how to go on, and return the exit code."""
    from jobtool.api.places import opened
    from jobtool.api.update import look_again

    joblist = opened(joblist_path, trust=trust, source_fs=source_fs, target_fs=target_fs)
    found: JoblistUpdate = look_again(
        joblist, generated, again, trust=trust, dry_run=dry_run, on_event=console.emit
    )
    if found.updated.awaits_yes:
        how = "the same command without --dry-run" if dry_run else "the same command again"
        console.note(
            f"Nothing was deleted. Read the list above; it is also in extra-files.jsonl of the "
            f"joblist. To delete these files, give {how} within 24 hours."
        )
    return found.exit_code
