"""Small files by the optional extension ``_whole``, which makes the usual calls without the GIL.

It takes many files at a time. What it meets that is unusual, it leaves to ``reading`` and
``writing``. Without the extension they do everything.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Sequence
from types import ModuleType

import msgspec

from jobtool.errors import FileError
from jobtool.md5 import md5s_of
from jobtool.stores.local.attributes import set_attributes
from jobtool.stores.local.durability import Durability
from jobtool.stores.local.files import HASH_BYTES
from jobtool.stores.local.publish import publish
from jobtool.stores.local.temporaries import Temporaries, first_mode, remove
from jobtool.stores.local.tree import OPEN, Tree
from jobtool.stores.preserve import Kept
from jobtool.stores.store import (
    Attributes,
    Content,
    Entry,
    Proof,
    WholeFile,
    check_path,
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


def read_small(tree: Tree, entries: Sequence[Entry]) -> list[Content | None]:
    """Return whole files with their attributes; None for each to be read in the general way."""
    if extension is None or not tree.keep <= _SIMPLE:
        return [None] * len(entries)
    keeps_mode = "mode" in tree.keep
    with contextlib.ExitStack() as stack:
        try:
            if tree.links == "follow":
                flags, inside = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC, tree.beneath.inside
                files = [
                    (_AT_FDCWD, os.fsencode(tree.full(entry.path)), flags, entry.size)
                    for entry in entries
                ]
            else:
                flags, inside, files, held = os.O_RDONLY | OPEN, "", [], {}
                for entry in entries:
                    folder, name = os.path.split(entry.path)
                    if folder not in held:
                        held[folder] = stack.enter_context(tree.beneath.folder(folder))
                    files.append((held[folder], os.fsencode(name), flags, entry.size))
        except (OSError, FileError):
            return [None] * len(entries)
        read = extension.read(files, os.fsencode(inside), keeps_mode)
    return [
        None if found is None else _content(found, entry, tree.keep)
        for found, entry in zip(read, entries, strict=True)
    ]


def _content(
    found: tuple[bytes, int, int, int, int], entry: Entry, keep: frozenset[Kept]
) -> Content | None:
    data, mode, mtime_ns, owner, group = found
    if mtime_ns != entry.mtime_ns:
        return None
    attributes = Attributes(
        mtime_ns=mtime_ns,
        mode=stat.S_IMODE(mode) if "mode" in keep else None,
        owner=(owner, group) if "owner" in keep else None,
    )
    return Content(data=data, attributes=attributes)


class SmallWriter:
    """Writes small files below a tree's root.

    With ``read_back`` it leaves all to the general way, which reads files from their medium.
    """

    def __init__(
        self, tree: Tree, temporaries: Temporaries, durability: Durability, *, read_back: bool
    ) -> None:
        self._tree = tree
        self._temporaries = temporaries
        self._durability = durability
        self._read_back = read_back

    def write(self, files: Sequence[WholeFile]) -> list[Proof | None]:
        """Write, prove and publish files. Return None for each to be written in the general way.

        Nothing is left of such a file.
        """
        proofs: list[Proof | None] = [None] * len(files)
        if extension is None or self._read_back:
            return proofs
        held: dict[str, int | None] = {}
        new: dict[int, NewFile] = {}
        try:
            for at, temporary in enumerate(self._temporaries.several(len(files))):
                path, data, attributes = files[at]
                if len(data) > HASH_BYTES or not _is_simple(path, attributes):
                    continue
                folder, name = os.path.split(path)
                if folder not in held:
                    held[folder] = self._open(folder)
                descriptor = held[folder]
                if descriptor is not None:
                    target = self._tree.full(path)
                    new[at] = NewFile(descriptor, temporary, name, target, data, attributes)
            for at, proof in zip(new, _write(list(new.values()), self._tree.keep), strict=True):
                proofs[at] = proof
        finally:
            self._durability.note_write()
            for descriptor in held.values():
                if descriptor is not None:
                    os.close(descriptor)
        return proofs

    def _open(self, folder: str) -> int | None:
        """Make and open a folder, whose filesystem is then held. Return None if that fails."""
        try:
            held = self._tree.beneath.open(folder, make=True)
        except (OSError, FileError):
            return None
        try:
            self._durability.hold(held, self._tree.full(folder))
        except OSError:  # a folder that may be entered but not read
            os.close(held)
            return None
        return held


class NewFile(msgspec.Struct, frozen=True, gc=False):
    """A file to be written as ``temporary`` in an open folder, and renamed to ``name``.

    ``target`` is its path, for messages. ``attributes`` has the MD5 of the data.
    """

    held: int
    temporary: str
    name: str
    target: str
    data: bytes | memoryview
    attributes: Attributes


def _write(files: Sequence[NewFile], keep: frozenset[Kept]) -> list[Proof | None]:
    """Write files, prove them by reading them back, set their attributes, publish them."""
    assert extension is not None, "the caller has looked"
    proofs: list[Proof | None] = [None] * len(files)
    names = [os.fsencode(file.temporary) for file in files]
    written = extension.write(
        [
            (file.held, name, file.data, first_mode(file.attributes))
            for file, name in zip(files, names, strict=True)
        ]
    )
    made = {at: found for at, found in enumerate(written) if found is not None}
    try:
        md5s = md5s_of([data for _, data in made.values()])
        equal = [at for at, md5 in zip(made, md5s, strict=True) if md5 == files[at].attributes.md5]
        done = extension.publish(
            [
                (
                    made[at][0],
                    files[at].held,
                    names[at],
                    os.fsencode(files[at].name),
                    _mode_of(files[at].attributes),
                    files[at].attributes.mtime_ns if "times" in keep else None,
                )
                for at in equal
            ]
        )
        for at, is_done in zip(equal, done, strict=True):
            if is_done:
                del made[at]
                proofs[at] = _proof(files[at].attributes)
            else:
                proofs[at] = _publish(files[at], made[at][0], keep)
    finally:
        for at, (descriptor, _) in made.items():
            os.close(descriptor)
            if proofs[at] is None:
                remove(files[at].held, files[at].temporary)
    return proofs


def _is_simple(path: str, attributes: Attributes) -> bool:
    try:
        check_path(path)
    except FileError:
        return False
    return (
        attributes.owner is None
        and attributes.xattrs is None
        and attributes.acl is None
        and attributes.mtime_ns == within_64_bits(attributes.mtime_ns)
        and attributes.may_replace
        and attributes.md5 is not None
    )


def _mode_of(attributes: Attributes) -> int:
    return -1 if attributes.mode is None else attributes.mode & 0o777


def _proof(attributes: Attributes) -> Proof:
    assert attributes.md5 is not None, "only a file whose MD5 is known is proven"
    return Proof(md5=attributes.md5, verified_by="read-back", notes=attributes.notes)


def _publish(file: NewFile, descriptor: int, keep: frozenset[Kept]) -> Proof | None:
    """Do call by call what the extension didn't; return None if that fails."""
    try:
        notes = set_attributes(descriptor, file.attributes, keep)
        publish(file.held, file.temporary, file.name, file.target, may_replace=True)
    except (OSError, FileError):
        return None
    return msgspec.structs.replace(_proof(file.attributes), notes=notes)
