"""Whether a filesystem that a source should be on is mounted."""

from __future__ import annotations

import os
import re

from jobtool.names import quote
from jobtool.stores.location import inside

_FSTAB = "/etc/fstab"
_ESCAPE = re.compile(r"\\([0-7]{3})")


def why_unmounted(path: str, *, table: str = _FSTAB) -> str | None:
    """Return why a folder may lack its files: a filesystem of the system's table isn't mounted.

    Those that the folder should lie on count, and those that should be mounted below it. Where
    the table can't be read, or names none, nothing is known: None. Format: fstab(5).
    """
    try:
        with open(table, encoding="utf-8", errors="surrogateescape") as file:
            lines = file.read().splitlines()
    except OSError:
        return None
    paths = {path, os.path.realpath(path)}
    for line in lines:
        fields = line.split()
        if len(fields) < 2 or line.lstrip().startswith("#"):
            continue
        point = _ESCAPE.sub(lambda found: chr(int(found[1], 8)), fields[1])
        if not point.startswith("/") or point == "/":
            continue
        is_concerned = any(
            inside(point, each) is not None or inside(each, point) is not None for each in paths
        )
        if is_concerned and not os.path.ismount(point):
            return (
                f"expected a filesystem mounted at {quote(point)}, as {table} says; found none. "
                "Mount it"
            )
    return None
