"""The SFTP store. Its methods are implemented in the modules beside this one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from jobtool.stores.beforehand import Room
from jobtool.stores.local.links import LinkPolicy
from jobtool.stores.local.temporaries import Temporaries
from jobtool.stores.overssh import SshTarget
from jobtool.stores.preserve import KEEP_BY_DEFAULT, Kept
from jobtool.stores.sftp import listing, reading
from jobtool.stores.sftp.connection import Link
from jobtool.stores.sftp.incoming import Incoming
from jobtool.stores.sftp.room import room_of
from jobtool.stores.sftp.tree import Tree
from jobtool.stores.sftp.writing import Writer
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
)


class SftpStore:
    """A folder of an SSH server, whose absolute path there is ``/`` and ``path``.

    ``owner``, ``links`` and ``keep`` are those of the local store. With ``read_back`` files are
    proven by reading them, otherwise large ones by the server's ``md5sum`` where it runs commands.
    With ``closes_folders``, no other user may enter folders made here until their attributes are
    set.
    """

    capabilities = Capabilities(keeps=frozenset({"mode", "times"}))
    specials: frozenset[SpecialKind] = frozenset({"empty-folder", "link"})

    def __init__(
        self,
        link: Link,
        url: str,
        path: str,
        *,
        owner: str = "",
        links: LinkPolicy = "follow",
        read_back: bool = False,
        keep: frozenset[Kept] = KEEP_BY_DEFAULT,
        closes_folders: bool = False,
    ) -> None:
        self.url = url
        self._link = link
        self._path = path
        self._tree = Tree(url, path, links=links, keep=keep, closes_folders=closes_folders)
        self._temporaries = Temporaries(owner)
        self._incoming = Incoming(link, self._tree, self._temporaries)
        self._by_command = not read_back
        self._writer = Writer(link, self._tree, self._temporaries, by_command=self._by_command)

    @property
    def ssh_target(self) -> SshTarget:
        """The store's root for programs that go over ssh."""
        place, settings = self._link.place, self._link.settings
        return SshTarget(
            host=place.host,
            user=place.user or settings.user,
            port=place.port or settings.port,
            path="/" + self._path,
            config=settings.config,
            known_hosts=settings.known_hosts,
            identity_file=settings.identity_file,
            proxy_jump=settings.proxy_jump,
            has_password=self._link.has_password,
        )

    def url_of(self, path: str) -> str:
        """Return the URL of ``path``."""
        return self._tree.url_of(path)

    def stat(self, path: str, *, file_only: bool = False) -> StatResult:
        """Return what is at ``path``. A link to a file is followed or refused by ``links``."""
        return self._link.run(lambda session: reading.stat(session, self._tree, path), again=True)

    def children(self, path: str) -> Iterator[Child]:
        """Yield what is directly inside ``path``."""
        return listing.children(self._link, self._tree, path)

    def room(self) -> Sequence[Room]:
        """Return what the filesystem leaves, if the server has ``statvfs@openssh.com``."""
        return self._link.run(lambda session: room_of(session, self._tree), again=True)

    def check_access(self, *, write: bool) -> None:
        """List the root or, with ``write``, make and remove a file in it.

        If the root doesn't exist yet, the next existing folder above it is used.
        """
        if write:
            self._writer.check_access()
        else:
            self._link.run(lambda session: listing.check_readable(session, self._tree), again=True)

    def list(self) -> Iterator[Entry | Special | Unlisted]:
        """Yield everything below the root, with links by policy."""
        return listing.list_tree(self._link, self._tree)

    def list_without(self, excludes: Callable[[str], bool]) -> Iterator[Entry | Special | Unlisted]:
        """Yield everything below the root, without opening folders that are left out."""
        return listing.list_tree(self._link, self._tree, excludes)

    def read(self, entry: Entry, offset: int, length: int) -> Content:
        """Return bytes of a file."""
        return self._link.run(
            lambda session: reading.read(session, self._tree, entry, offset, length), again=True
        )

    def write(
        self, path: str, chunks: Iterable[bytes | memoryview], attributes: Attributes
    ) -> Proof:
        """Write a whole file under a temporary name, prove it, rename it."""
        return self._writer.write(path, chunks, attributes)

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
        """Prove the temporary file and rename it to its target."""
        return self._writer.complete(upload, attributes)

    def held_parts(self, upload: Upload, parts: Sequence[Part]) -> Sequence[Part]:
        """Return the parts that the temporary file holds, by the MD5s of their ranges."""
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
        """Prove a file by the server's ``md5sum``, or by reading it."""
        proof = reading.prove(
            self._link, self._tree, path, md5, attributes, by_command=self._by_command
        )
        if proof is not None:
            self._writer.note_proven(path)
        return proof

    def make_special(self, special: Special) -> None:
        """Make an empty folder or a link."""
        self._writer.make_special(special)

    def folder_attributes(self, path: str) -> Attributes:
        """Return the attributes of a folder."""
        return self._link.run(
            lambda session: reading.folder_attributes(session, self._tree, path), again=True
        )

    def set_folder_attributes(self, path: str, attributes: Attributes) -> tuple[Note, ...]:
        """Set the attributes of a folder as the local store does. Return the notes."""
        return self._writer.set_folder_attributes(path, attributes)

    def digest(self, path: str) -> str:
        """Return the MD5 of a file, by the server's ``md5sum`` or by reading it."""
        found, _ = reading.digest(self._link, self._tree, path, by_command=self._by_command)
        return found

    def delete(self, path: str) -> None:
        """Remove a file."""
        self._writer.delete(path)

    def sync(self) -> None:
        """Bring the files that were published to their media, as far as the server can."""
        self._writer.sync()
