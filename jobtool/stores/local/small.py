"""Small files by the optional extension ``_whole``, which makes the usual calls without the GIL.

What it meets that is unusual, it leaves to ``reading`` and ``writing``. Without the extension they
do everything.
"""

from __future__ import annotations

import os
import stat
from types import ModuleType

from jobtool.md5 import md5_of
from jobtool.stores.local.attributes import set_attributes
from jobtool.stores.local.files import Closing
from jobtool.stores.local.publish import publish
from jobtool.stores.local.temporaries import RemovedOnFailure, first_mode
from jobtool.stores.local.tree import OPEN, Tree
from jobtool.stores.preserve import Kept
from jobtool.stores.store import (
    Attributes,
    Content,
    Entry,
    Proof,
    require_same,
    within_64_bits,
)

extension: ModuleType | None
try:
    from jobtool.stores.local import _whole as extension
except ImportError:
    extension = None

#: The attributes that the extension reads and sets.
_SIMPLE: frozenset[Kept] = frozenset({"mode", "owner", "times"})

_AT_FDCWD = -100  # fcntl.h: a path is as for open(2)


def read_small(tree: Tree, entry: Entry) -> Content | None:
    """Return a whole file with its attributes; None if it is to be read in the general way.

    Raises ``OSError`` and ``FileError`` of its folder.
    """
    if extension is None or not tree.keep <= _SIMPLE:
        return None
    keeps_mode = "mode" in tree.keep
    if tree.links == "follow":
        name, flags = os.fsencode(tree.full(entry.path)), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
        found = extension.read(_AT_FDCWD, name, flags, entry.size, keeps_mode)
        if found is None or not tree.beneath.holds_path(os.fsdecode(found[5])):
            return None
    else:
        folder, last = os.path.split(entry.path)
        with tree.beneath.folder(folder) as held:
            found = extension.read(
                held, os.fsencode(last), os.O_RDONLY | OPEN, entry.size, keeps_mode
            )
        if found is None:
            return None
    data, mode, mtime_ns, owner, group, _ = found
    if mtime_ns != entry.mtime_ns:
        return None
    attributes = Attributes(
        mtime_ns=mtime_ns,
        mode=stat.S_IMODE(mode) if keeps_mode else None,
        owner=(owner, group) if "owner" in tree.keep else None,
    )
    return Content(data=data, attributes=attributes)


class NewFile:
    """A file to be written as ``temporary`` in an open folder, and renamed to ``name``.

    ``target`` is its path, for messages.
    """

    def __init__(self, held: int, temporary: str, name: str, target: str) -> None:
        self._held = held
        self._temporary = temporary
        self._name = name
        self._target = target

    def write(
        self, data: bytes | memoryview, attributes: Attributes, keep: frozenset[Kept]
    ) -> Proof | None:
        """Write the file, prove it by reading it back, set its attributes, publish it.

        Return None, and leave nothing, if it is to be written in the general way. Raises
        ``OSError``, and ``DigestMismatchError`` if it has other bytes than ``attributes.md5`` says.
        """
        is_simple = (
            attributes.owner is None
            and attributes.xattrs is None
            and attributes.acl is None
            and attributes.mtime_ns == within_64_bits(attributes.mtime_ns)
        )
        if extension is None or not is_simple or not attributes.may_replace or not attributes.md5:
            return None
        names = os.fsencode(self._temporary), os.fsencode(self._name)
        written = extension.write(self._held, names[0], data, first_mode(attributes))
        if written is None:
            return None
        descriptor, found = written
        with RemovedOnFailure(self._held, self._temporary), Closing(descriptor):
            md5 = md5_of(found)
            require_same(self._target, sent=attributes.md5, found=md5)
            mode = -1 if attributes.mode is None else attributes.mode & 0o777
            mtime_ns = attributes.mtime_ns if "times" in keep else None
            notes = attributes.notes
            if not extension.publish(descriptor, self._held, *names, mode, mtime_ns):
                notes = set_attributes(descriptor, attributes, keep)
                publish(self._held, self._temporary, self._name, self._target, may_replace=True)
        return Proof(md5=md5, verified_by="read-back", notes=notes)
