"""The local store. Its methods are implemented in the modules beside this one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence

from jobtool.stores.beforehand import Room
from jobtool.stores.local import listing, reading
from jobtool.stores.local.errors import read_error
from jobtool.stores.local.incoming import Incoming
from jobtool.stores.local.links import LinkPolicy
from jobtool.stores.local.longnames import NameLimits
from jobtool.stores.local.room import room_of
from jobtool.stores.local.small import read_small
from jobtool.stores.local.temporaries import Temporaries
from jobtool.stores.local.tree import Tree
from jobtool.stores.local.walk import DEFAULT_LISTING_THREADS, list_tree
from jobtool.stores.local.writing import Writer
from jobtool.stores.preserve import KEEP_ALL, KEEP_BY_DEFAULT, Kept
from jobtool.stores.store import (
    Attributes,
    Capabilities,
    Child,
    Content,
    Entry,
    Note,
    Part,
    Proof,
    Special,
    SpecialKind,
    StatResult,
    Unlisted,
    Upload,
    WholeFile,
)


class LocalStore:
    """A folder of this machine's filesystems.

    ``owner`` marks temporary files, so that only their owner removes them. ``links`` says what
    listing does with symbolic links: ``follow`` them inside the root (a link that dangles, loops or
    leads out is an error), ``skip`` them, treat any as an ``error``, or ``keep`` them as links.
    Reads stay inside the root and go through links only with ``follow``, whatever has changed since
    the listing. Writes never go through a link below the root.

    With ``read_back`` a written file is proven by reading it from its medium, otherwise from memory
    if it is still there. ``listing_threads`` threads list a tree on a slow filesystem. ``keep`` are
    the attributes to read and set. ``mirrors`` is the root of another tree. With it, no other user
    may enter folders made here until their attributes are set. Without it, new folders have the
    mode that the umask leaves.
    """

    capabilities = Capabilities(cheap_reads=True, keeps=KEEP_ALL, takes_many=True)
    specials: frozenset[SpecialKind] = frozenset({"empty-folder", "link"})

    def __init__(
        self,
        root: str,
        *,
        owner: str = "",
        links: LinkPolicy = "follow",
        read_back: bool = False,
        listing_threads: int = DEFAULT_LISTING_THREADS,
        keep: frozenset[Kept] = KEEP_BY_DEFAULT,
        mirrors: str | None = None,
    ) -> None:
        self._listing_threads = listing_threads
        self._tree = Tree(root, links, keep=keep, mirrors=mirrors)
        self._temporaries = Temporaries(owner)
        self._writer = Writer(self._tree, self._temporaries, read_back=read_back)
        self._incoming = Incoming(self._tree, self._temporaries)
        self._names = NameLimits(self._tree)

    @property
    def url(self) -> str:
        """The root's absolute path."""
        return self._tree.root

    def url_of(self, path: str) -> str:
        """Return the absolute path of ``path``."""
        return self._tree.full(path)

    def stat(self, path: str, *, file_only: bool = False) -> StatResult:
        """Return what is at ``path``. A link to a file is followed or refused by ``links``."""
        return reading.stat(self._tree, path)

    def children(self, path: str) -> Iterator[Child]:
        """Yield what is directly inside ``path``."""
        return listing.children(self._tree.full(path))

    def check_access(self, *, write: bool) -> None:
        """List the root or, with ``write``, make and remove a file in it.

        If the root doesn't exist yet, the next existing folder above it is used.
        """
        if write:
            self._writer.check_access()
        else:
            listing.check_readable(self._tree.root)

    def may_read(self, path: str) -> bool:
        """Return False if this user may not read a file, by its mode and access list."""
        return os.access(self._tree.full(path), os.R_OK, effective_ids=True)

    def require_name(self, path: str) -> None:
        """Raise ``FileError`` for a name that is too long for the filesystem."""
        self._names.require(path)

    def room(self) -> Sequence[Room]:
        """Return what the filesystem and this user's quotas leave."""
        try:
            return room_of(self._tree.root)
        except OSError as error:
            raise read_error(error, self._tree.root) from None

    def list(self) -> Iterator[Entry | Special | Unlisted]:
        """Yield everything below the root, with links by policy."""
        return list_tree(self._tree, self._listing_threads)

    def list_without(self, excludes: Callable[[str], bool]) -> Iterator[Entry | Special | Unlisted]:
        """Yield everything below the root, without opening folders that are left out."""
        return list_tree(self._tree, self._listing_threads, excludes)

    def read(self, entry: Entry, offset: int, length: int) -> Content:
        """Return bytes of a file."""
        return reading.read(self._tree, entry, offset, length)

    def write(
        self, path: str, chunks: Iterable[bytes | memoryview], attributes: Attributes
    ) -> Proof:
        """Write a whole file under a temporary name, prove it, rename it."""
        return self._writer.write(path, chunks, attributes)

    def read_together(self, entries: Sequence[Entry]) -> Sequence[Content | None]:
        """Return whole small files, read by few calls."""
        return read_small(self._tree, entries)

    def write_together(self, files: Sequence[WholeFile]) -> Sequence[Proof | None]:
        """Write small files under temporary names, prove them, rename them, by few calls."""
        return self._writer.small.write(files)

    def begin(self, path: str, attributes: Attributes) -> Upload:
        """Start a file in parts: an empty temporary file beside the target."""
        return self._writer.begin(path, attributes)

    def put_part(
        self, upload: Upload, number: int, offset: int, data: bytes | memoryview, md5: str
    ) -> Part:
        """Write one part at its offset in the temporary file."""
        self._writer.put_part(upload, offset, data)
        return Part(number=number, offset=offset, size=len(data), md5=md5)

    def complete(self, upload: Upload, parts: Sequence[Part], attributes: Attributes) -> Proof:
        """Read the temporary file back and rename it to its target."""
        return self._writer.complete(upload, parts, attributes)

    def held_parts(self, upload: Upload, parts: Sequence[Part]) -> Sequence[Part]:
        """Return the parts that the temporary file holds, by reading them again."""
        return self._writer.held_parts(upload, parts)

    def abort(self, upload: Upload) -> None:
        """Remove the temporary file. Do nothing for a token that isn't this owner's."""
        self._writer.abort(upload)

    def leftovers(self, path: str, since_ns: int) -> Sequence[Upload]:
        """Return the owner's temporary files in the folder of ``path``, for any target."""
        return self._writer.leftovers(path)

    def is_leftover(self, path: str) -> bool:
        """Return True if a file's name marks it as a temporary file of this owner."""
        return self._temporaries.owns_path(path)

    def incoming_for(self, path: str) -> str:
        """Return the path of the folder into which programs put a file for ``path``."""
        return self._incoming.folder_for(path)

    def make_incoming(self, folder: str) -> None:
        """Make such a folder, or keep it."""
        self._incoming.make(folder)

    def take(self, path: str, target: str, size: int) -> bool:
        """Rename a file of such a folder to its target. Return False if it isn't complete."""
        return self._incoming.take(path, target, size)

    def remove_incoming(self, folder: str) -> None:
        """Remove such a folder with all that is in it."""
        self._incoming.remove(folder)

    def prove(
        self, path: str, md5: str, composite: str, attributes: Attributes | None = None
    ) -> Proof | None:
        """Prove a file by reading it."""
        proof = reading.prove(self._tree, path, md5, attributes)
        if proof is not None:
            self._writer.note_proven(path)
        return proof

    def make_special(self, special: Special) -> None:
        """Make an empty folder or a link."""
        self._writer.make_special(special)

    def folder_attributes(self, path: str) -> Attributes:
        """Return the attributes of a folder."""
        return reading.folder_attributes(self._tree, path)

    def set_folder_attributes(self, path: str, attributes: Attributes) -> tuple[Note, ...]:
        """Set the attributes of a folder. Return the notes.

        A folder made by a transfer gets all of them, any other folder but the root only its time.
        If a folder existed before and its mode differs from its source's, that is a note.
        """
        return self._writer.set_folder_attributes(path, attributes)

    def digest(self, path: str) -> str:
        """Read a file from its medium and return its MD5."""
        return reading.digest(self._tree, path)

    def delete(self, path: str) -> None:
        """Remove a file."""
        self._writer.delete(path)

    def sync(self) -> None:
        """Sync the filesystems that were written to: one call for all files."""
        self._writer.sync()
