"""``generate_joblist``: a results folder becomes a joblist."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec

from jobtool import typed
from jobtool.api.places import (
    Filesystem,
    Place,
    destination_url,
    existing_path,
    local_path,
    text_of,
)
from jobtool.errors import UsageError
from jobtool.events import Emit, ignore, unfailing
from jobtool.redact import LOGIN_WORDS, is_secret
from jobtool.stores.location import Location

if TYPE_CHECKING:
    from jobtool.jobs.filtersettings import FilterSettings
    from jobtool.jobs.settings import Settings
    from jobtool.layouts.events import Generated
    from jobtool.layouts.lists.listed import ListFormat
    from jobtool.stores.sides import Side

#: Settings of a joblist's tables that are paths.
_PATH_KEYS = (
    "ca_bundle",
    "config",
    "customer_key_file",
    "identity_file",
    "key_filename",
    "known_hosts",
    "path",
)

#: Options of filesystems that may be paths: a token may be a word or a secret, ``fo`` may be a URL.
_PERHAPS_PATHS = ("fo", "token")


def generate_joblist(
    source: Place,
    output: Place,
    *,
    destination: Place | None = None,
    layout: Place = "auto",
    steps: Sequence[str] = (),
    values: Mapping[str, str] | None = None,
    filters: Mapping[str, Any] | None = None,
    files_from: Sequence[Place | BinaryIO] = (),
    list_format: ListFormat = "auto",
    s3: Mapping[str, Any] | None = None,
    stores: Mapping[str, Mapping[str, Any]] | None = None,
    credentials: Mapping[str, Any] | None = None,
    source_fs: Filesystem | None = None,
    target_fs: Filesystem | None = None,
    trust: bool = False,
    dry_run: bool = False,
    on_event: Emit = ignore,
) -> Generated:
    """Turn a results folder into a joblist: one small text file for each job.

    Running it again adds what is new and never touches an existing job file.

    Args:
        source: The results: a folder or URL; a CSV or Parquet file for the layout ``manifest``.
        output: The folder for the job files. It is made if it doesn't exist.
        destination: Where the data goes: a path or ``s3://BUCKET/PREFIX``. None takes the
            destination of the joblist, or of the layout.
        layout: ``plates``, ``partitions``, ``tree``, ``manifest``, or a TOML file. ``auto`` takes
            that of the joblist, or looks at the source and picks one.
        steps: The chain of steps of each job, such as ``("check", "copy")``. Empty takes that of
            the joblist, or ``copy`` alone.
        values: Values for the templates of the layout.
        filters: The table ``[filters]`` of joblist.toml, such as ``{"rules": ["- *.tmp"]}``, which
            selects the files. None takes that of the joblist, or all files.
        files_from: Lists of the only files to transfer, by names below the source: paths, URLs or
            open binary files. The joblist keeps a copy. With it ``filters`` are what is given, or
            none.
        list_format: The format of these lists, and of the source of the layout ``manifest``:
            ``lines``, ``null``, ``find``, ``aws-ls`` or ``inventory``. ``auto`` looks at each list.
        s3: Keys of the table ``[s3]`` of joblist.toml. Relative paths are made absolute.
        stores: Keys of the tables of other stores by scheme, such as ``{"az": {...}}``, likewise.
        credentials: Keys of the table ``[credentials]``, likewise.
        source_fs: The filesystem of the source: a dictionary with ``protocol`` and the options that
            fsspec's users know, or a filesystem object of fsspec. ``source`` is then a path of it,
            but for the layout ``manifest``, whose table is on this machine. A dictionary is written
            to joblist.toml as ``[source_fs]``, without its secrets. Objects and secrets must be
            given to ``transfer_jobs`` again.
        target_fs: The filesystem of the destination, likewise. ``destination`` is then a path of
            it, by default ``target_path`` of the dictionary.
        trust: Run the commands that an existing joblist.toml names for credentials, even if others
            could have written it.
        dry_run: Return and report what would be done; write nothing.
        on_event: Called with each event. An exception from it stops nothing.

    Returns:
        The numbers of jobs that were ``created``, ``existing`` before, ``invalid`` or
        ``incomplete``, the number of ``unreadable`` folders, that of names in no job
        (``names_left_out``), and the ``exit_code`` of ``generate-joblist``.

    Raises:
        UsageError: The source doesn't exist, or an argument is invalid.
        JoblistError: The output isn't a joblist or empty, or is a joblist that was made in another
            way.
        LayoutError: The layout is malformed, or nothing at the source fits it.
        SourceError: The source can't be read.
        InfrastructureError: A store can't be used, for example for lack of credentials.

    Examples:
        >>> jobtool.generate_joblist("results", "joblist", destination="copies").created
        2
    """
    from jobtool.layouts.generate import generate
    from jobtool.layouts.layout import AUTO
    from jobtool.layouts.request import Request
    from jobtool.transfer.stores_of import sides_by

    wanted = os.path.expanduser(text_of(layout))
    given = {
        role: with_absolute_paths(each) if isinstance(each, Mapping) else each
        for role, each in (("source", source_fs), ("destination", target_fs))
        if each is not None
    }
    before = settings_at(output, trust=trust)
    sides = sides_by(before, given)
    request = Request(
        source=located_source(source, sides.get("source"), before, wanted),
        joblist_path=local_path(output),
        destination=destination_of(
            destination,
            sides.get("destination"),
            is_known=before.destination is not None and target_fs is None,
        ),
        filesystems=given,
        layout=None if wanted == AUTO else wanted,
        steps=tuple(steps),
        values=values or {},
        filters=filters_of(filters or {}) if filters is not None or files_from else None,
        files_from=tuple(map(_list_place, files_from)),
        list_format=list_format,
        stores=with_absolute_paths({**(stores or {}), **({"s3": s3} if s3 else {})}),
        credentials=with_absolute_paths(credentials or {}),
        trust=trust,
        dry_run=dry_run,
    )
    return generate(request, unfailing(on_event))


def _list_place(place: Place | BinaryIO) -> str | BinaryIO:
    if isinstance(place, str | os.PathLike):
        return Location.resolve(text_of(place)).url
    return place


def filters_of(table: Mapping[str, Any]) -> FilterSettings:
    """Return the settings of a table ``[filters]``; raise ``UsageError``."""
    from jobtool.jobs.filtersettings import FilterSettings

    try:
        return typed.convert(dict(table), FilterSettings)
    except msgspec.ValidationError as error:
        raise UsageError(f"filters: {error}") from None


def settings_at(output: Place, *, trust: bool) -> Settings:
    """Return the settings of the joblist at a path, or the default ones if there is none.

    Raises ``UsageError`` and ``JoblistError``.
    """
    from jobtool.jobs.settings import Settings
    from jobtool.layouts.existing import existing_settings

    return existing_settings(local_path(output), trust=trust) or Settings()


def located_source(source: Place, side: Side | None, before: Settings, layout: str) -> str:
    """Return a source as an absolute path or URL; raise ``UsageError`` if it isn't there.

    ``before`` are the settings of the joblist. A manifest is always on this machine.
    """
    from jobtool.layouts.layout import MANIFEST

    is_manifest = MANIFEST in (layout, before.layout.get("preset"))
    return existing_path(source, None if is_manifest else side)


def destination_of(path: Place | None, side: Side | None, *, is_known: bool) -> str | None:
    """Return the URL of a destination; without a path that of its side, unless one is known."""
    if path is not None:
        return destination_url(path, side)
    if side is None or not side.has_target or is_known:
        return None
    return destination_url(side.target_path, side)


def with_absolute_paths(table: Mapping[str, Any]) -> dict[str, Any]:
    """Make settings that are paths absolute, so that workers may start in any folder."""
    made = dict(table)
    for key, value in table.items():
        if isinstance(value, Mapping):
            made[key] = with_absolute_paths(value)
        elif isinstance(value, str | os.PathLike) and value and _is_path(key, value):
            text = text_of(value)
            made[key] = text if text.startswith("~") else os.path.abspath(text)
    return made


def _is_path(key: str, value: str | os.PathLike[str]) -> bool:
    if key not in _PERHAPS_PATHS:
        return key in _PATH_KEYS
    text = text_of(value)
    return not (is_secret(key, value) or "://" in text or text in LOGIN_WORDS)
