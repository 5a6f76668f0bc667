"""Writing files to a user's own folders, where shells and ``man`` look for them."""

from __future__ import annotations

import os
from collections.abc import Mapping

from jobtool.errors import UsageError
from jobtool.jobs.atomic_write import replace_file
from jobtool.names import quote


def install(folder: str, files: Mapping[str, str]) -> None:
    """Write files by name to a folder, which is made; each replaces what was there, as a whole.

    Raises ``UsageError`` if that can't be done.
    """
    try:
        os.makedirs(folder, exist_ok=True)
        for name, text in files.items():
            replace_file(os.path.join(folder, name), text.encode())
    except OSError as error:
        raise UsageError(f"can't write to {quote(folder)}: {error.strerror}.") from error


def home() -> str:
    """Return the user's home folder; raise ``UsageError`` if there is none."""
    path = os.path.expanduser("~")
    if not os.path.isabs(path):
        raise UsageError("expected a home folder to write to; found none. Set HOME.")
    return path


def data_home() -> str:
    """Return the folder of a user's data.

    Source: XDG Base Directory Specification, ``XDG_DATA_HOME``.
    """
    given = os.environ.get("XDG_DATA_HOME", "")
    return given if os.path.isabs(given) else f"{home()}/.local/share"
