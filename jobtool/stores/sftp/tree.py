"""Paths below a store's root on a server, and its folders.

SFTP has no way to open a file in an open folder, so links can only be looked for before a request.
Each folder is looked at once: a link that another user puts in its place later is followed.
"""

from __future__ import annotations

import os
import stat

import asyncssh

from jobtool.errors import FileError, RefusedError, SourceError
from jobtool.names import quote
from jobtool.stores.beneath import LinkInTheWayError
from jobtool.stores.local.links import LinkPolicy
from jobtool.stores.preserve import Kept
from jobtool.stores.sftp.connection import Session
from jobtool.stores.store import check_path

#: The mode of a folder while files are put into it, as in the local store: no other user may enter,
#: and the sticky bit marks that a transfer made it.
CLOSED_FOLDER = 0o1700

#: How many folders are remembered to lie where their paths say.
_MOST_REMEMBERED = 10_000

#: What servers answer for a path that doesn't exist.
MISSING = (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath, asyncssh.SFTPNotADirectory)

Remote = asyncssh.SFTPAttrs


class Tree:
    """Paths below ``root``, an absolute path of the server. ``url`` is its URL."""

    def __init__(
        self,
        url: str,
        path: str,
        *,
        links: LinkPolicy,
        keep: frozenset[Kept],
        closes_folders: bool,
    ) -> None:
        self.url = url
        self.root = b"/" + os.fsencode(path)
        self.links = links
        self.keep = keep
        self._inside = self.root.rstrip(b"/") + b"/"
        self._closes_folders = closes_folders
        self._real_root: bytes | None = None
        self._known: dict[str, None] = {}

    def full(self, path: str) -> bytes:
        """Return the absolute path on the server of ``path``."""
        return self._inside + os.fsencode(path) if path else self.root

    def url_of(self, path: str) -> str:
        """Return the URL of ``path``."""
        return f"{self.url.rstrip('/')}/{path}" if path else self.url

    async def require_inside(self, session: Session, folder: str) -> None:
        """Refuse a folder that is reached through a link; with ``follow``, one outside the root.

        Raises ``LinkInTheWayError`` or ``SourceError``, and the client's errors.
        """
        if not folder or self.root == b"/" or folder in self._known:
            return
        real = await real_path(session, self.full(folder))
        root = await self.real_root(session)
        if self.links == "follow":
            self.require_real_inside(folder, real, root)
        elif real != root.rstrip(b"/") + b"/" + os.fsencode(folder):
            raise LinkInTheWayError(
                f"expected a folder at {quote(self.url_of(folder))}; found a path through a link, "
                f"to {quote(os.fsdecode(real))}. Links below a destination aren't followed. Remove "
                "the link, or name its target as destination."
            )
        if len(self._known) >= _MOST_REMEMBERED:
            self._known.clear()
        self._known[folder] = None

    async def real_root(self, session: Session) -> bytes:
        """Return the root's path without links. It is remembered."""
        if self._real_root is None:
            self._real_root = await real_path(session, self.root)
        return self._real_root

    def require_real_inside(self, path: str, real: bytes, root: bytes) -> None:
        """Raise ``SourceError`` if a path's real one lies outside the root's real one."""
        if not (real + b"/").startswith(root.rstrip(b"/") + b"/"):
            raise SourceError(
                f"{quote(self.url_of(path))} leads through a link to {quote(os.fsdecode(real))}, "
                f"outside {quote(self.url)}. Remove the link, or use --links skip or --links keep."
            )

    def forget(self, folder: str) -> None:
        """Look at a folder again when it is used next: something was wrong there."""
        self._known.pop(folder, None)

    async def make_folders(self, session: Session, folder: str) -> None:
        """Make a folder and those above it, as far as they are missing.

        Raises ``FileError`` if something else is in the way, and the client's errors.
        """
        missing = []
        full = self.full(folder)
        while not await self._make_folder(session, full):
            missing.append(full)
            full = os.path.dirname(full)
        for path in reversed(missing):
            await self._make_folder(session, path, must=True)
        await self.require_inside(session, folder)

    async def _make_folder(self, session: Session, full: bytes, *, must: bool = False) -> bool:
        """Make one folder if it is missing. Return False if the one above it is missing, too."""
        is_below = full.startswith(self._inside)
        is_ours = is_below or full == self.root
        mode = CLOSED_FOLDER if self._closes_folders and is_ours else None
        above = os.fsdecode(full[len(self._inside) :]).rpartition("/")[0] if is_below else ""
        try:
            await self.require_inside(session, above)  # or it would be made through a link
            await session.sftp.mkdir(full, _with_mode(mode))
        except MISSING:
            self.forget(above)
            if must or full == b"/":
                raise
            return False
        except asyncssh.SFTPError:
            if await mode_of(session, full, follow=True) is None:
                raise
            if not await session.sftp.isdir(full):
                raise (FileError if is_below else RefusedError)(
                    f"can't write {quote(self.url)}: there is a file where a folder is needed: "
                    f"{quote(os.fsdecode(full))}"
                ) from None
        return True


async def real_path(session: Session, full: bytes) -> bytes:
    """Return a path without links."""
    found = await session.sftp.realpath(full)
    assert isinstance(found, bytes)
    return found


async def mode_of(session: Session, full: bytes, *, follow: bool = False) -> int | None:
    """Return the type and mode of a path, or None if it doesn't exist."""
    try:
        found = await (session.sftp.stat(full) if follow else session.sftp.lstat(full))
    except MISSING:
        return None
    return found.permissions or 0


def kind_shown(mode: int | None) -> str:
    """Return a word for what a path is, from its type and mode."""
    if mode is None:
        return "nothing"
    if stat.S_ISLNK(mode):
        return "a link, and links aren't followed here"
    return "a folder" if stat.S_ISDIR(mode) else "a device, socket or pipe"


def split(path: str) -> tuple[str, str]:
    """Split a file's path into its folder and its name. Raises ``FileError`` if it is unfit."""
    folder, _, name = check_path(path).rpartition("/")
    return folder, name


def _with_mode(mode: int | None) -> Remote:
    return Remote() if mode is None else Remote(permissions=mode)
