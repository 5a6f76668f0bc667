"""Whether a file may make us run a command: who could have written it.

A joblist may be shared by many people. What its files say about data they may say to all of them;
what they say about commands to run counts only where nobody but the user himself, or root, could
have written it.

What isn't looked at: access control lists (POSIX ACLs show as the group's bits of the mode, so that
write access given by one is seen where the mask allows it; those of NFSv4 aren't seen at all), the
folders further up (who may write to one can put another folder *of the user's own* in place, not
content of their own), other mounts of the same filesystem, and whoever has held the file open for
writing since a time when the mode allowed it.
"""

from __future__ import annotations

import os
import pwd
import stat

from jobtool.jobs.safe_read import open_without_waiting, read_open
from jobtool.jobs.settings import MAX_BYTES
from jobtool.names import quote

_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def why_untrusted(path: str) -> str | None:
    """Return why a file may not make us run a command, in a sentence; None if it may.

    It, the folder that it lies in and the one that the path names must belong to the effective user
    or to root and be writable by nobody else; a folder's sticky bit changes nothing. Where the path
    is a link, what it leads to is judged. Raises ``OSError`` if it can't be opened.
    """
    descriptor = open_without_waiting(path)
    try:
        return _why(path, descriptor)
    finally:
        os.close(descriptor)


def read_trusted(path: str) -> tuple[bytes, str | None]:
    """Return a file's bytes and why they may not make us run a command; see ``why_untrusted``.

    Both are of the very same open file, so that nobody can exchange it in between. Raises
    ``OSError``, and ``UnfitFileError`` for what is no regular file or larger than a joblist.toml
    may be.
    """
    descriptor = open_without_waiting(path)
    try:
        return read_open(descriptor, MAX_BYTES), _why(path, descriptor)
    finally:
        os.close(descriptor)


def _why(path: str, descriptor: int) -> str | None:
    found = os.fstat(descriptor)
    reason = _judge(path, found)
    if reason is not None:
        return reason
    folders = dict.fromkeys((os.path.dirname(path) or ".", _folder_of(descriptor)))
    for folder in folders:
        try:
            held = os.open(folder, _FOLDER)
        except OSError as error:
            return _lost(path, error.strerror or "it can't be opened")
        try:
            reason = _judge(folder, os.fstat(held))
            if reason is None and folder == _folder_of(descriptor):
                reason = _why_elsewhere(path, descriptor, held)
        finally:
            os.close(held)
        if reason is not None:
            return reason
    return None


def _folder_of(descriptor: int) -> str:
    """Return the folder of what is open, links resolved."""
    return os.path.dirname(os.readlink(f"/proc/self/fd/{descriptor}"))


def _why_elsewhere(path: str, descriptor: int, folder: int) -> str | None:
    """Tell if the folder that was judged isn't the one that the open file lies in."""
    name = os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}"))
    try:
        there = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except OSError as error:
        return _lost(path, error.strerror or "it is gone")
    if not os.path.samestat(there, os.fstat(descriptor)):
        return _lost(path, "another file stands there now")
    return None


def _lost(path: str, reason: str) -> str:
    return (
        f"{quote(path)}: expected a file that stays where it is while it is judged; found that it "
        f"was moved or replaced ({reason}). Look who did that, then try again."
    )


def _judge(path: str, found: os.stat_result) -> str | None:
    us = os.geteuid()
    what = "folder" if stat.S_ISDIR(found.st_mode) else "file"
    mode = stat.S_IMODE(found.st_mode)
    if found.st_uid not in (us, 0):
        return (
            f"{quote(path)}: expected a {what} of {_name_of(us)} or root; found one of "
            f"{_name_of(found.st_uid)} (mode {mode:04o}). Make a joblist of your own, or have "
            f"root give you this {what} with chown."
        )
    if mode & _OTHERS_WRITE:
        return (
            f"{quote(path)}: expected a {what} that only {_name_of(us)} or root may write to; "
            f"found mode {mode:04o} (owner {_name_of(found.st_uid)}). See that nobody has "
            f"changed what it holds, then take the others' right with chmod go-w."
        )
    return None


def _name_of(uid: int) -> str:
    try:
        return quote(pwd.getpwuid(uid).pw_name)
    except KeyError:
        return f"user {uid}"
