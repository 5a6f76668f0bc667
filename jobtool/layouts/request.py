"""A user's request to generate a joblist."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, BinaryIO

import msgspec

from jobtool.jobs.filtersettings import FilterSettings
from jobtool.layouts.lists.listed import ListFormat


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A joblist to generate.

    ``source``, ``joblist_path`` and ``destination`` are absolute paths or URLs. ``destination``
    None means that of the existing joblist. ``layout`` is the name of a layout, a path to one in
    TOML, or ``auto``; None means that of the existing joblist or, without one, ``auto``. ``steps``
    is the chain of steps of each job; empty means that of the existing joblist or, without one,
    ``copy`` alone. ``filters`` is the table of that name; None means that of the existing joblist.
    ``files_from`` are lists of the only files to transfer: absolute paths, URLs or open files, in
    the format ``list_format``. That is also the format of the source of the layout ``manifest``.
    ``values`` are for the layout's templates. ``stores`` are keys of the tables of
    stores in joblist.toml, by scheme, and ``credentials`` those of that table. ``filesystems`` are
    those of the roles, tables or objects; a table is written without its secrets. With ``trust``,
    commands that an existing joblist.toml names are run even if others could have written it. With
    ``dry_run`` nothing is written.
    """

    source: str
    joblist_path: str
    destination: str | None = None
    layout: str | None = None
    steps: tuple[str, ...] = ()
    filters: FilterSettings | None = None
    files_from: tuple[str | BinaryIO, ...] = ()
    list_format: ListFormat = "auto"
    values: Mapping[str, str] = msgspec.field(default_factory=dict)
    stores: Mapping[str, Mapping[str, object]] = msgspec.field(default_factory=dict)
    credentials: Mapping[str, object] = msgspec.field(default_factory=dict)
    filesystems: Mapping[str, Any] = msgspec.field(default_factory=dict)
    trust: bool = False
    dry_run: bool = False
