"""Which folders of a path are there."""

from __future__ import annotations

import os


def missing_folders(path: str) -> list[str]:
    """Return the folders that would have to be made for ``path``, the uppermost first."""
    missing: list[str] = []
    while not os.path.lexists(path):
        missing.append(path)
        path = os.path.dirname(path)
    return missing[::-1]
