"""Files that a command is asked to write."""

from __future__ import annotations

import os

from jobtool.errors import UsageError
from jobtool.names import quote


def require_folder(path: str) -> None:
    """Raise ``UsageError`` unless the folder of an output file is there."""
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise UsageError(
            f"can't write {quote(path)}: expected a folder at {quote(folder)}; found none. Make "
            "it, or choose another."
        )
