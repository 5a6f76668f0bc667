"""The mode and the times of files, and the folders that they lie in."""

from __future__ import annotations

import os
import stat

from jobtool.stores.beneath import Beneath
from jobtool.stores.store import Attributes, Entry


def attributes_of(found: os.stat_result, entry: Entry) -> Attributes:
    """Return what travels with the bytes of a file that was listed as ``entry``."""
    return Attributes(mtime_ns=entry.mtime_ns, mode=stat.S_IMODE(found.st_mode))


def set_attributes(descriptor: int, attributes: Attributes) -> None:
    """Give an open file its mode and time."""
    if attributes.mode is not None:
        os.chmod(descriptor, attributes.mode & 0o777)
    os.utime(descriptor, ns=(attributes.mtime_ns, attributes.mtime_ns))


def make_folder(beneath: Beneath, path: str) -> int:
    """Make a folder, where there is none, and return its descriptor, for ``dir_fd`` only."""
    return beneath.open(path, make=True)
