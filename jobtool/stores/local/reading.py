"""What the local store reads of files: entries, bytes, digests."""

from __future__ import annotations

import os
from stat import S_ISDIR, S_ISREG

from jobtool.errors import JobtoolError, NotFoundError, SourceChangedError, SourceError, StoreError
from jobtool.names import quote
from jobtool.stores.local.attributes import attributes_of, set_attributes
from jobtool.stores.local.errors import not_a_file, read_error
from jobtool.stores.local.files import file_md5, read_range
from jobtool.stores.local.small import read_small
from jobtool.stores.local.tree import Tree
from jobtool.stores.store import Attributes, Content, Entry, Note, Proof, StatResult, within_64_bits


def stat(tree: Tree, path: str) -> StatResult:
    """Return a file's entry, or the kind of ``path``. A link to a folder is a folder.

    The policy decides whether a link to a file is followed or refused.
    """
    full = tree.full(path)
    try:
        if path:
            with _Opened(tree, path, os.O_PATH) as descriptor:
                found = os.fstat(descriptor)
        else:
            found = os.stat(full)
    except OSError as error:
        known = read_error(error, full)
        if isinstance(known, NotFoundError):
            return "missing"
        raise known from None
    except SourceError as error:
        if os.path.isdir(full):
            return "folder"
        if os.path.islink(full) and isinstance(error, NotFoundError):
            target = quote(os.readlink(full))
            raise NotFoundError(f"{quote(full)} is a link to {target}: nothing there") from None
        if isinstance(error, NotFoundError):
            return "missing"
        raise
    if S_ISDIR(found.st_mode):
        return "folder"
    if not S_ISREG(found.st_mode):
        raise not_a_file(full, found.st_mode)
    return Entry(path, found.st_size, found.st_mtime_ns)


def read(tree: Tree, entry: Entry, offset: int, length: int) -> Content:
    """Return bytes of a file if it hasn't changed since it was listed."""
    if offset == 0 and length == entry.size:
        (content,) = read_small(tree, [entry])
        if content is not None:
            return content
    full = tree.full(entry.path)
    with _Opened(tree, entry.path) as descriptor:
        data = read_range(descriptor, offset, length)
        found = os.fstat(descriptor)
        attributes = attributes_of(descriptor, found, tree.keep)
    if (found.st_size, within_64_bits(found.st_mtime_ns)) != (entry.size, entry.mtime_ns):
        raise SourceChangedError(
            f"{quote(full)} was changed while it was read: listed with {entry.size} bytes, "
            f"now {found.st_size} bytes, or with another time"
        )
    if len(data) != length:
        raise StoreError(f"{quote(full)}: expected {length} bytes; read {len(data)}")
    return Content(data=data, attributes=attributes)


def folder_attributes(tree: Tree, path: str) -> Attributes:
    """Return the attributes of a folder."""
    try:
        descriptor = tree.open_folder(path)
        try:
            found = os.fstat(descriptor)
            return attributes_of(f"/proc/self/fd/{descriptor}", found, tree.keep)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise read_error(error, tree.full(path)) from None


def prove(tree: Tree, path: str, md5: str, attributes: Attributes | None) -> Proof | None:
    """Prove that a file has this MD5 on its medium. If it has, set its ``attributes``."""
    notes: tuple[Note, ...] = ()
    try:
        with _Opened(tree, path) as descriptor:
            if file_md5(descriptor, from_medium=True) != md5:
                return None
            if attributes is not None:  # another user's file keeps its own
                notes = set_attributes(descriptor, attributes, tree.keep)
    except NotFoundError:
        return None
    return Proof(md5=md5, verified_by="read-back", notes=notes)


def digest(tree: Tree, path: str) -> str:
    """Read a file from its medium and return its MD5."""
    with _Opened(tree, path) as descriptor:
        return file_md5(descriptor, from_medium=True)


class _Opened:
    """Opens a file during a ``with`` block. System errors become those of jobtool."""

    __slots__ = ("_descriptor", "_flags", "_path", "_tree")

    def __init__(self, tree: Tree, path: str, flags: int = os.O_RDONLY) -> None:
        self._tree, self._path, self._flags = tree, path, flags

    def __enter__(self) -> int:
        try:
            self._descriptor = self._tree.open_file(self._path, self._flags)
        except OSError as error:
            raise self._read_error(error) from None
        return self._descriptor

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, *_: object
    ) -> None:
        try:
            os.close(self._descriptor)
        except OSError as failure:
            raise self._read_error(failure) from None
        if isinstance(error, OSError):
            raise self._read_error(error) from None

    def _read_error(self, error: OSError) -> JobtoolError:
        return read_error(error, self._tree.full(self._path))
