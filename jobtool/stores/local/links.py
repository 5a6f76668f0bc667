"""Symbolic links: how a listing treats them, how to make one."""

from __future__ import annotations

import errno
import os
from typing import Literal

from jobtool.errors import FileError, SourceError
from jobtool.names import quote
from jobtool.stores.local.errors import read_error

LinkPolicy = Literal["follow", "skip", "error", "keep"]


def judge_link(path: str, root: str, policy: LinkPolicy, *, is_folder: bool) -> str | None:
    """Return the target of a link to list as a link, or None for a link to follow.

    ``path`` is the link's own, below ``root``. Raises ``SourceError`` for a link that the policy
    refuses and, with ``follow``, for a link that dangles, loops or leads out of the root. Raises
    the errors of reading, too.
    """
    try:
        target = os.readlink(path)
    except OSError as error:
        raise read_error(error, path) from None
    if policy in ("skip", "keep"):
        return target
    shown = f"{quote(path)} is a link to {quote(target)}"
    hint = "Remove it, or use --links skip or --links keep."
    if policy == "error":
        raise SourceError(f"{shown}, and --links error was asked for. {hint}")
    try:
        real = os.path.realpath(path, strict=True)
    except OSError as error:
        raise SourceError(f"{shown}: {error.strerror}. {hint}") from None
    if not (real + "/").startswith(os.path.realpath(root).rstrip("/") + "/"):
        raise SourceError(f"{shown}, which is outside {quote(root)}. {hint}")
    if is_folder:
        _refuse_loop(path, root)
    return None


def _refuse_loop(path: str, root: str) -> None:
    here, above = _identity(path), path
    while above != root:
        above = os.path.dirname(above)
        if _identity(above) == here:
            raise SourceError(f"{quote(path)} is a link to a folder above itself: it loops")


def _identity(folder: str) -> tuple[int, int]:
    try:
        found = os.stat(folder)
    except OSError as error:
        raise read_error(error, folder) from None
    return found.st_dev, found.st_ino


def make_link(held: int, name: str, wanted: str, shown: str) -> None:
    """Make a link in an open folder. Replaces another link, but nothing else."""
    try:
        found = os.readlink(name, dir_fd=held)
    except FileNotFoundError:
        pass
    except OSError as error:
        if error.errno != errno.EINVAL:  # EINVAL: not a link
            raise
        raise FileError(f"can't make a link at {quote(shown)}: something else is there") from None
    else:
        if found == wanted:
            return
        os.unlink(name, dir_fd=held)
    os.symlink(wanted, name, dir_fd=held)
