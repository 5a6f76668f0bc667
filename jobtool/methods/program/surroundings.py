"""What a program sees of the worker's surroundings: programs on PATH, and a few variables."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping

#: The variables that every program gets. Others may hold secrets, or tell a program that it is a
#: rank of an MPI run.
_KEPT = frozenset(
    "PATH HOME USER LOGNAME SHELL LANG LANGUAGE TZ TMPDIR LD_LIBRARY_PATH SSH_AUTH_SOCK KRB5CCNAME "
    "KRB5_CONFIG KRB5_CLIENT_KTNAME".split()
)
_KEPT_PREFIXES = ("LC_",)


def environment_for(
    prefixes: tuple[str, ...] = (), *, environ: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """Return the variables that a program gets.

    ``prefixes`` are the beginnings of the names of further ones, such as ``HADOOP_``.
    """
    kept = (*_KEPT_PREFIXES, *prefixes)
    return {
        name: value for name, value in environ.items() if name in _KEPT or name.startswith(kept)
    }


def why_missing(program: str) -> str | None:
    """Return why a program can't be run here, as a clause for a message; None if it can."""
    if shutil.which(program) is None:
        return f"the program {program} isn't installed here (not found on PATH)"
    return None
