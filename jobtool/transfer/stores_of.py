"""The stores of a joblist, opened by its settings if these are trusted."""

from __future__ import annotations

import os

from jobtool.jobs.joblist import JobList
from jobtool.jobs.settings import FILENAME, Settings
from jobtool.names import quote
from jobtool.stores.local import LinkPolicy
from jobtool.stores.preserve import KEEP_BY_DEFAULT, Kept
from jobtool.stores.registry import StoreRegistry


def stores_of(
    joblist: JobList,
    *,
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
        connections=connections,
        links=links,
        read_back=read_back,
        keep=keep,
        shown=quote(os.path.join(joblist.path, FILENAME)),
    )


def stores_by(
    settings: Settings,
    *,
    connections: int = 16,
    links: LinkPolicy | None = None,
    read_back: bool = False,
    keep: frozenset[Kept] = KEEP_BY_DEFAULT,
    shown: str = FILENAME,
) -> StoreRegistry:
    """Return the stores of the caller's own settings, which may name any command.

    ``shown`` is the name of the settings in error messages.
    """
    return StoreRegistry(
        settings.store_tables,
        credentials=settings.credentials,
        connections=connections,
        links=links or settings.transfer.links or "follow",
        read_back=read_back,
        keep=keep,
        shown=shown,
    )
