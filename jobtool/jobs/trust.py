"""Whether a file may make jobtool run a command. That depends on the users that can write to it.

Many people may share a joblist. A command that its files name is run only if no user other than
the effective user and root could have written it.

These aren't checked:

- Access control lists. The mask of a POSIX ACL shows as the group's bits of the mode, so write
  access that the mask allows is seen. NFSv4 ACLs aren't seen at all.
- The folders further up. A user with write access to one can put another folder *of the effective
  user* in place, but not content of their own.
- Other mounts of the same filesystem.
- Processes that have held the file open for writing since a time when the mode allowed it.
"""

from __future__ import annotations

import os
import pwd
import stat

import msgspec

from jobtool.errors import JoblistError
from jobtool.jobs.safe_read import open_without_waiting, read_open
from jobtool.jobs.settings import MAX_BYTES
from jobtool.names import quote

_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


class CommandTrust(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the commands that joblist.toml names may be run.

    ``why_untrusted`` is None if they may. If ``is_overridden``, the user has asked to run them
    anyway.
    """

    why_untrusted: str | None = None
    is_overridden: bool = False

    def require(self) -> str | None:
        """Raise ``JoblistError`` unless commands may be run.

        Return a warning to show if they may be run only because the user asked for it; else None.
        """
        if self.why_untrusted is None:
            return None
        if self.is_overridden:
            return f"Trusted as told, though others could have written it: {self.why_untrusted}"
        raise JoblistError(
            "joblist.toml names a command to run, or what may name one (an ssh_config, a program's "
            "options, a query), or a place for metrics or notices, and that may not be trusted. "
            f"{self.why_untrusted} Or, having read it, use --trust (in Python "
            "JobList.open(path, trust=True))."
        )


TRUSTED = CommandTrust()


def why_untrusted(path: str) -> str | None:
    """Return why a file may not make jobtool run a command, in a sentence; None if it may.

    The file, its folder, and the folder that the path names must belong to the effective user or to
    root, and no other user may have write permission. A folder's sticky bit changes nothing. If the
    path is a symbolic link, its target is judged. Raises ``OSError`` if it can't be opened.
    """
    descriptor = open_without_waiting(path)
    try:
        return _why(path, descriptor)
    finally:
        os.close(descriptor)


def why_folder_untrusted(path: str) -> str | None:
    """Return why other users could put a file into a folder, in a sentence; None if they couldn't.

    For a file that may be missing. Raises ``OSError`` if the folder can't be looked at.
    """
    return _judge(path, os.stat(path))


def read_trusted(path: str) -> tuple[bytes, str | None]:
    """Return a file's bytes with the result of ``why_untrusted``.

    Both are about the same open file, so it can't be replaced in between. Raises ``OSError``, and
    ``UnfitFileError`` if it isn't a regular file or is larger than a joblist.toml may be.
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
    """Return the folder of an open file, links resolved."""
    return os.path.dirname(os.readlink(f"/proc/self/fd/{descriptor}"))


def _why_elsewhere(path: str, descriptor: int, folder: int) -> str | None:
    """Return why the judged folder isn't the one that holds the open file; None if it is."""
    name = os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}"))
    try:
        there = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except OSError as error:
        return _lost(path, error.strerror or "it is gone")
    if not os.path.samestat(there, os.fstat(descriptor)):
        return _lost(path, "another file is there now")
    return None


def _lost(path: str, reason: str) -> str:
    return (
        f"{quote(path)}: expected a file that stays where it is while it is judged; found that it "
        f"was moved or replaced ({reason}). Find out who did that, then try again."
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
            f"found mode {mode:04o} (owner {_name_of(found.st_uid)}). Check that no other user "
            f"has changed what it holds, then remove their write permission with chmod go-w."
        )
    return None


def _name_of(uid: int) -> str:
    try:
        return quote(pwd.getpwuid(uid).pw_name)
    except KeyError:
        return f"user {uid}"
