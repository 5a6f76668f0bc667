"""The joblist of one ``impala-transfer``: its folder, and whether its target is free for it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from jobtool.api.generate import with_absolute_paths
from jobtool.api.statefolder import state_folder
from jobtool.errors import FileError, JoblistError, UsageError
from jobtool.export.chunknames import MANIFEST, SUCCESS
from jobtool.jobs.exportsettings import ExportSettings
from jobtool.jobs.joblist import JobList
from jobtool.jobs.settings import FILENAME, Settings
from jobtool.names import quote
from jobtool.stores.store import Unlisted
from jobtool.transfer.stores_of import stores_by

#: The folder of the tool in the user's state.
_TOOL = "impala_transfer"

_CHUNK = re.compile(r"part-[0-9]{4,}(-[0-9]{6,})?\.(parquet|csv)(\.gz|\.zst)?")


def default_folder(table: str | None, facts: Iterable[object]) -> str:
    """Return the folder for an export, by the facts that tell it from others."""
    texts = ["export", *("" if fact is None else str(fact) for fact in facts)]
    return state_folder(_TOOL, table or "query", texts, option="--joblist FOLDER")


def settings_at(folder: str) -> ExportSettings | None:
    """Return the settings of the export whose joblist is in a folder; None if none is there.

    Raises ``JoblistError``.
    """
    if not os.path.exists(os.path.join(folder, FILENAME)):
        return None
    found = JobList.open(folder).settings.export
    if found is None:
        raise JoblistError(
            f"{quote(folder)} is a joblist that copies files. Name another folder by --joblist"
        )
    return found


def require_same_tables(
    folder: str, stores: Mapping[str, Any], credentials: Mapping[str, Any]
) -> None:
    """Refuse tables of stores that aren't those of a joblist, whose workers read its own.

    Raises ``UsageError``.
    """
    settings = JobList.open(folder).settings
    kept = {**settings.store_tables, "credentials": settings.credentials}
    given = {**with_absolute_paths(stores), "credentials": with_absolute_paths(credentials)}
    for name, table in given.items():
        if table and table != kept.get(name):
            raise UsageError(
                f"--set: the joblist {quote(folder)} is there with another table [{name}]. Change "
                f"that in its {FILENAME}, and leave --set out or as it was"
            )


def require_free(
    destination: str, stores: Mapping[str, Any], credentials: Mapping[str, Any]
) -> None:
    """Refuse a destination that has files of another export: two would be mixed.

    ``stores`` are the tables of joblist.toml for stores, by scheme. A folder that can't be listed
    is passed. Raises ``UsageError``, and what the store raises if it can't be used at all.
    """
    tables = {
        "stores": with_absolute_paths(stores),
        "credentials": with_absolute_paths(credentials),
    }
    store = stores_by(msgspec.convert(tables, Settings)).open(destination, "destination")
    found: str | None = None
    try:
        for child in store.children(""):
            if isinstance(child, Unlisted) or child.is_folder:
                continue
            if child.name in (MANIFEST, SUCCESS) or _CHUNK.fullmatch(child.name):
                found = child.name
                break
    except FileError:  # it isn't there, or may not be listed
        return
    if found is not None:
        raise UsageError(
            f"{quote(destination)} has files of another export, such as {quote(found)}; rows of "
            "two would be mixed. Name another target, such as by --target-table, or the --joblist "
            "of that export, or remove its files"
        )
