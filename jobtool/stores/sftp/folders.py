"""Folders and links on a server: made, and given their attributes."""

from __future__ import annotations

import contextlib
import os
import stat

from jobtool.errors import FileError
from jobtool.names import quote
from jobtool.stores.sftp.attributes import set_on_folder
from jobtool.stores.sftp.connection import Link, Session
from jobtool.stores.sftp.failures import writing
from jobtool.stores.sftp.tree import MISSING, Tree, mode_of, split
from jobtool.stores.store import Attributes, Note, Special


def make_special(link: Link, tree: Tree, special: Special) -> None:
    """Make an empty folder or a link. A link replaces another link, but nothing else."""
    folder, _ = split(special.path)
    url, full = tree.url_of(special.path), tree.full(special.path)
    target = special.target

    async def made(session: Session) -> None:
        async with writing(session, full, url):
            if special.what == "empty-folder":
                await tree.make_folders(session, special.path)
            elif special.what == "link" and target is not None:
                await tree.make_folders(session, folder)
                await _make_link(session, full, os.fsencode(target), url)
            else:
                raise FileError(f"{quote(url)}: can't make a {special.what}")

    link.run(made, again=True)


def set_folder_attributes(
    link: Link, tree: Tree, path: str, attributes: Attributes
) -> tuple[Note, ...]:
    """Set the attributes of a folder. Return what it lacks. Make the root if it is missing."""

    async def done(session: Session) -> tuple[Note, ...]:
        async with writing(session, tree.full(path), tree.url_of(path)):
            if not path:
                await tree.make_folders(session, path)
            with contextlib.suppress(*MISSING):
                await tree.require_inside(session, path)
            return await set_on_folder(session, tree, path, attributes)

    return link.run(done, again=True)


async def _make_link(session: Session, full: bytes, target: bytes, url: str) -> None:
    mode = await mode_of(session, full)
    if mode is not None and not stat.S_ISLNK(mode):
        raise FileError(f"can't make a link at {quote(url)}: something else is there")
    if mode is not None:
        if await session.sftp.readlink(full) == target:
            return
        await session.sftp.remove(full)
    await session.sftp.symlink(target, full)
