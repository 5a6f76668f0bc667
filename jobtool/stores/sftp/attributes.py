"""The attributes of files and folders in SFTP: times and modes.

Version 3 has times in whole seconds since 1970, of 32 bits without a sign (``uint32`` of
draft-ietf-secsh-filexfer-02, section 5): from 1970 to 2106.
"""

from __future__ import annotations

import stat

import asyncssh

from jobtool.errors import NotFoundError
from jobtool.names import quote
from jobtool.stores.preserve import Kept
from jobtool.stores.sftp.connection import Session
from jobtool.stores.sftp.tree import CLOSED_FOLDER, MISSING, Tree
from jobtool.stores.store import Attributes, Entry, Note

_SECOND_NS = 1_000_000_000
_MOST_SECONDS = 2**32 - 1


def mtime_ns_of(found: asyncssh.SFTPAttrs) -> int:
    """Return the modification time that a server tells, in nanoseconds since 1970."""
    return (found.mtime or 0) * _SECOND_NS + (found.mtime_ns or 0)


def entry_of(path: str, found: asyncssh.SFTPAttrs) -> Entry:
    """Return the entry of a file."""
    return Entry(path, found.size or 0, mtime_ns_of(found))


def attributes_of(found: asyncssh.SFTPAttrs, keep: frozenset[Kept]) -> Attributes:
    """Return the attributes to keep of a file or folder."""
    has_mode = "mode" in keep and found.permissions is not None
    return Attributes(
        mtime_ns=mtime_ns_of(found),
        mode=stat.S_IMODE(found.permissions or 0) if has_mode else None,
    )


def wanted_of(
    attributes: Attributes, keep: frozenset[Kept], *, special_bits: int = 0
) -> tuple[asyncssh.SFTPAttrs, tuple[Note, ...]]:
    """Return what to set on a file, and a note if its time is one that SFTP can't say.

    Of setuid, setgid and sticky only those in ``special_bits`` are set: they would grant the rights
    of another owner.
    """
    wanted, notes = asyncssh.SFTPAttrs(), attributes.notes
    if attributes.mode is not None:
        wanted.permissions = attributes.mode & (0o777 | special_bits)
    if "times" in keep:
        seconds = attributes.mtime_ns // _SECOND_NS
        if 0 <= seconds <= _MOST_SECONDS:
            wanted.atime = wanted.mtime = seconds
        else:
            notes = (*notes, Note("times", "SFTP has no times before 1970 or after 2106"))
    return wanted, notes


def is_empty(wanted: asyncssh.SFTPAttrs) -> bool:
    """Return True if there is nothing to set."""
    return wanted.permissions is None and wanted.mtime is None


def refused(wanted: asyncssh.SFTPAttrs, error: asyncssh.SFTPError) -> tuple[Note, ...]:
    """Return a note for each attribute that a server has refused to set."""
    reason = f"the server refuses it: {error.reason or error.code}"
    named = (("mode", wanted.permissions), ("times", wanted.mtime))
    return tuple(Note(name, reason) for name, value in named if value is not None)


async def set_on_path(
    session: Session, full: bytes, attributes: Attributes, keep: frozenset[Kept]
) -> tuple[Note, ...]:
    """Set the attributes of a file. Return the notes, the source's first."""
    wanted, notes = wanted_of(attributes, keep)
    return notes + await _set(session, full, wanted)


async def set_on_folder(
    session: Session, tree: Tree, path: str, attributes: Attributes
) -> tuple[Note, ...]:
    """Set the attributes of a folder as the local store does. Return the notes.

    A folder that existed before keeps its mode, and the root its time, too, unless a transfer made
    it. Raises ``NotFoundError``, and the client's errors.
    """
    full, is_root = tree.full(path), not path
    try:
        found = await session.sftp.lstat(full) if path else await session.sftp.stat(full)
    except MISSING:
        found = None
    if found is None or not stat.S_ISDIR(found.permissions or 0):
        raise NotFoundError(f"expected a folder at {quote(tree.url_of(path))}; found none")
    before = stat.S_IMODE(found.permissions or 0)
    is_ours = before & ~stat.S_ISGID == CLOSED_FOLDER
    wanted, notes = wanted_of(attributes, tree.keep, special_bits=stat.S_ISGID | stat.S_ISVTX)
    if is_root and not is_ours:
        wanted.atime = wanted.mtime = None
    if is_ours and wanted.permissions is not None:
        wanted.permissions |= before & stat.S_ISGID
    elif wanted.permissions is not None:
        had, asked = before & 0o777, wanted.permissions & 0o777
        wanted.permissions = None
        if had != asked:
            how = "more" if had & ~asked else "less"
            reason = f"it existed before, and is {how} open than its source"
            notes = (*notes, Note("mode of a folder", reason))
    return notes + await _set(session, full, wanted)


async def _set(session: Session, full: bytes, wanted: asyncssh.SFTPAttrs) -> tuple[Note, ...]:
    if is_empty(wanted):
        return ()
    try:
        await session.sftp.setstat(full, wanted)
    except (asyncssh.SFTPConnectionLost, asyncssh.SFTPNoConnection):
        raise
    except asyncssh.SFTPError as error:
        return refused(wanted, error)
    return ()
