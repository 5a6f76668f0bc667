"""How much may be written on an SSH server.

Source: OpenSSH's PROTOCOL, section 4.4, ``statvfs@openssh.com``. Quotas aren't told.
"""

from __future__ import annotations

from collections.abc import Sequence

from jobtool.names import quote
from jobtool.stores.beforehand import Room
from jobtool.stores.sftp.connection import Session
from jobtool.stores.sftp.failures import filesystem_of
from jobtool.stores.sftp.tree import Tree


async def room_of(session: Session, tree: Tree) -> Sequence[Room]:
    """Return the room of the filesystem of a tree's root; none if the server doesn't tell."""
    found = await filesystem_of(session, tree.root)
    if found is None:
        return ()
    room = Room(
        place=f"{tree.url.split('/')[2]} {found.fsid}",
        limit=f"filesystem of {quote(tree.url)}",
        free_bytes=found.bavail * found.frsize,
        free_files=found.favail if found.files else None,
    )
    return (room,)
