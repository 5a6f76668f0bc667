"""The joblist of one ``impala-transfer``: its folder, and what was decided in it."""

from __future__ import annotations

import os
from collections.abc import Iterable

from jobtool.api.statefolder import state_folder
from jobtool.jobs.exportsettings import ExportSettings
from jobtool.jobs.joblist import JobList
from jobtool.jobs.settings import FILENAME

#: The folder of the tool in the user's state.
_TOOL = "impala_transfer"


def default_folder(table: str | None, facts: Iterable[object]) -> str:
    """Return the folder for an export, by the facts that tell it from others."""
    texts = ["export", *("" if fact is None else str(fact) for fact in facts)]
    return state_folder(_TOOL, table or "query", texts, option="--joblist FOLDER")


def settings_at(folder: str) -> ExportSettings | None:
    """Return the settings of the export whose joblist is in a folder; None if none is there.

    Raises ``JoblistError`` for a joblist that can't be read.
    """
    if not os.path.exists(os.path.join(folder, FILENAME)):
        return None
    return JobList.open(folder).settings.export
