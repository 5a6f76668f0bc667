"""The stores of a joblist, opened by its settings if these are trusted."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from jobtool.jobs.joblist import JobList
from jobtool.jobs.settings import FILENAME, Settings
from jobtool.names import quote
from jobtool.stores.local import LinkPolicy
from jobtool.stores.preserve import KEEP_BY_DEFAULT, Kept
from jobtool.stores.registry import StoreRegistry
from jobtool.stores.sides import TABLES, Side, merged, side_of
from jobtool.stores.storetype import ROLES, Role


def stores_of(
    joblist: JobList,
    *,
    places: Mapping[str, Mapping[str, Any]] | None = None,
    connections: int = 16,
    links: LinkPolicy | None = None,
    read_back: bool = False,
    keep: frozenset[Kept] = KEEP_BY_DEFAULT,
) -> StoreRegistry:
    """Return the stores of a joblist; the keywords are those of ``StoreRegistry``.

    ``links`` None means the joblist's setting, or ``follow``. Raises ``JoblistError`` if
    joblist.toml names a command that isn't trusted (see ``JobList.require_trusted``), and
    ``UsageError`` for an invalid table.
    """
    joblist.require_trusted()
    return stores_by(
        joblist.settings,
        filesystems=joblist.filesystems,
        places=places,
        connections=connections,
        links=links,
        read_back=read_back,
        keep=keep,
        shown=quote(os.path.join(joblist.path, FILENAME)),
    )


def stores_by(
    settings: Settings,
    *,
    filesystems: Mapping[str, Any] | None = None,
    places: Mapping[str, Mapping[str, Any]] | None = None,
    connections: int = 16,
    links: LinkPolicy | None = None,
    read_back: bool = False,
    keep: frozenset[Kept] = KEEP_BY_DEFAULT,
    shown: str = FILENAME,
) -> StoreRegistry:
    """Return the stores of the caller's own settings, which may name any command.

    ``filesystems`` are those that the process was given for the roles, as by
    ``JobList.use_filesystems``. ``shown`` is the name of the settings in error messages.
    """
    return StoreRegistry(
        settings.store_tables,
        sides=[*sides_by(settings, filesystems, shown=shown).values()],
        places=places,
        credentials=settings.credentials,
        connections=connections,
        links=links or settings.transfer.links or "follow",
        read_back=read_back,
        keep=keep,
        shown=shown,
    )


def sides_by(
    settings: Settings, filesystems: Mapping[str, Any] | None = None, *, shown: str = FILENAME
) -> dict[Role, Side]:
    """Return the sides for which the settings or the process name a filesystem.

    Raises ``UsageError`` for one that can't be used.
    """
    tables = {"source": settings.source_fs, "destination": settings.target_fs}
    sides: dict[Role, Side] = {}
    for role in ROLES:
        given = (filesystems or {}).get(role)
        if given is None and tables[role]:
            where = f"{shown}, table [{TABLES[role]}]"
            sides[role] = side_of(tables[role], role, where=where, is_file=True)
        elif given is not None:
            table = merged(tables[role], given) if isinstance(given, Mapping) else given
            sides[role] = side_of(table, role, where=TABLES[role])
    return sides
