"""What the local store writes: under temporary names, proven, then renamed to their targets.

All calls use a descriptor of the folder, so that they never follow a link below the root.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator, Sequence

from msgspec.structs import replace

from jobtool.errors import DigestMismatchError, FileError, NotFoundError
from jobtool.md5 import MD5
from jobtool.names import quote
from jobtool.stores.beneath import LinkInTheWayError
from jobtool.stores.local.attributes import (
    make_folder,
    set_attributes,
    set_folder_attributes,
)
from jobtool.stores.local.durability import Durability
from jobtool.stores.local.errors import read_error, write_error
from jobtool.stores.local.files import (
    HASH_BYTES,
    Closing,
    file_md5,
    forget_cached,
    part_md5s,
    require_parts,
    write_range,
)
from jobtool.stores.local.links import make_link
from jobtool.stores.local.publish import ExistsError, publish
from jobtool.stores.local.small import SmallWriter
from jobtool.stores.local.sparse import write_sparsely
from jobtool.stores.local.temporaries import RemovedOnFailure, Temporaries, first_mode, remove
from jobtool.stores.local.tree import OPEN, Tree
from jobtool.stores.store import (
    Attributes,
    Note,
    Part,
    Proof,
    Special,
    Upload,
    check_path,
    require_same,
)

_CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Writer:
    """Writes below a tree's root. Its methods are those of stores."""

    def __init__(self, tree: Tree, temporaries: Temporaries, *, read_back: bool) -> None:
        self._tree = tree
        self._temporaries = temporaries
        self._read_back = read_back
        self._durability = Durability()
        self.sync = self._durability.sync
        self.small = SmallWriter(tree, temporaries, self._durability, read_back=read_back)

    def check_access(self) -> None:
        """Make and remove a file in the root, or in the next existing folder above it."""
        folder = self._tree.root
        while not os.path.lexists(folder) and folder != "/":
            folder = os.path.dirname(folder)
        name = self._temporaries.new()
        with (
            self._writing(os.path.join(folder, name)),
            Closing(os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)) as held,
        ):
            descriptor = os.open(name, _CREATE, 0o600, dir_fd=held)
            with RemovedOnFailure(held, name), Closing(descriptor):
                write_range(descriptor, b"1", 0)  # a quota may allow names but no bytes
            os.unlink(name, dir_fd=held)

    def write(
        self, path: str, chunks: Iterable[bytes | memoryview], attributes: Attributes
    ) -> Proof:
        """Write a whole file under a temporary name, close it, prove it, publish it."""
        target, (folder, name) = self._tree.full(check_path(path)), os.path.split(path)
        if isinstance(chunks, list) and len(chunks) == 1:
            (proof,) = self.small.write([(path, chunks[0], attributes)])
            if proof is not None:
                return proof
        with self._writing(target), self._tree.beneath.folder(folder, make=True) as held:
            temporary = self._temporaries.new()
            descriptor = _create(held, temporary, attributes)
            with RemovedOnFailure(held, temporary):
                with Closing(descriptor):
                    self._hold(held, folder, descriptor)
                    size, md5 = _write_chunks(descriptor, chunks, attributes.md5)
                with Closing(_open_temporary(held, temporary, os.O_RDONLY)) as descriptor:
                    proof = self._prove(descriptor, target, replace(attributes, md5=md5), size + 1)
                publish(held, temporary, name, target, may_replace=attributes.may_replace)
        return proof

    def begin(self, path: str, attributes: Attributes) -> Upload:
        """Start a file in parts: an empty temporary file beside the target."""
        target, folder = self._tree.full(check_path(path)), os.path.dirname(path)
        temporary = self._temporaries.new()
        with self._writing(target), self._tree.beneath.folder(folder, make=True) as held:
            descriptor = _create(held, temporary, attributes)
            with RemovedOnFailure(held, temporary), Closing(descriptor):
                self._hold(held, folder, descriptor)
        token = os.path.join(os.path.dirname(target), temporary)
        return Upload(path=path, token=token, attributes=attributes)

    def put_part(self, upload: Upload, offset: int, data: bytes | memoryview) -> None:
        """Write one part at its offset in the temporary file."""
        target, folder = self._tree.full(upload.path), os.path.dirname(upload.path)
        with (
            self._writing(target),
            self._tree.beneath.folder(folder) as held,
            Closing(self._open_upload(upload, held, os.O_WRONLY)) as descriptor,
        ):
            self._hold(held, folder, descriptor)
            write_sparsely(descriptor, data, offset)

    def complete(self, upload: Upload, parts: Sequence[Part], attributes: Attributes) -> Proof:
        """Prove the temporary file, which was closed after each part, and publish it."""
        target, (folder, name) = self._tree.full(upload.path), os.path.split(upload.path)
        temporary = os.path.basename(upload.token)
        with self._writing(target), self._tree.beneath.folder(folder) as held:
            try:
                with Closing(self._open_upload(upload, held, os.O_RDONLY)) as descriptor:
                    self._hold(held, folder, descriptor)
                    require_parts(
                        descriptor, target, parts, attributes.md5, from_medium=self._read_back
                    )
                    proof = self._proven(descriptor, attributes)
                    with _readable_on_failure(descriptor):
                        publish(held, temporary, name, target, may_replace=attributes.may_replace)
            except (DigestMismatchError, ExistsError):  # keep the parts after errors that may pass
                remove(held, temporary)
                raise
        return proof

    def _prove(
        self, descriptor: int, target: str, attributes: Attributes, most_bytes: int = HASH_BYTES
    ) -> Proof:
        """Read a file back and set its attributes."""
        found = file_md5(descriptor, from_medium=self._read_back, most_bytes=most_bytes)
        require_same(target, sent=attributes.md5, found=found)
        return self._proven(descriptor, attributes)

    def _proven(self, descriptor: int, attributes: Attributes) -> Proof:
        assert attributes.md5 is not None, "only a file whose MD5 is known is proven"
        notes = set_attributes(descriptor, attributes, self._tree.keep)
        return Proof(md5=attributes.md5, verified_by="read-back", notes=notes)

    def held_parts(self, upload: Upload, parts: Sequence[Part]) -> Sequence[Part]:
        """Return the parts that the temporary file holds, by reading them from its medium."""
        try:
            with (
                self._tree.beneath.folder(os.path.dirname(upload.path)) as held,
                Closing(self._open_upload(upload, held, os.O_RDONLY)) as descriptor,
            ):
                forget_cached(descriptor)
                found = part_md5s(descriptor, parts)
                return [part for part, md5 in zip(parts, found, strict=True) if md5 == part.md5]
        except OSError as error:
            raise read_error(error, upload.token) from None

    def _open_upload(self, upload: Upload, held: int, flags: int) -> int:
        """Open an upload's temporary file. Raise ``NotFoundError`` if it isn't this owner's."""
        if not self._is_temporary_of(upload):
            raise _not_ours(upload.token)
        return _open_temporary(held, os.path.basename(upload.token), flags, upload.token)

    def abort(self, upload: Upload) -> None:
        """Remove the temporary file. Do nothing for a token that isn't this owner's."""
        if not self._is_temporary_of(upload):
            return
        with (
            self._writing(upload.token),
            contextlib.suppress(FileNotFoundError, LinkInTheWayError),
            self._tree.beneath.folder(os.path.dirname(upload.path)) as held,
        ):
            os.unlink(os.path.basename(upload.token), dir_fd=held)

    def leftovers(self, path: str) -> Sequence[Upload]:
        """Return the owner's temporary files in the folder of ``path``, for any target.

        Files behind a link aren't the owner's.
        """
        folder = os.path.dirname(self._tree.full(check_path(path)))
        try:
            with self._tree.beneath.folder(os.path.dirname(path)) as held:
                names = list(filter(self._temporaries.owns, os.listdir(f"/proc/self/fd/{held}")))
        except (FileNotFoundError, NotADirectoryError, LinkInTheWayError):
            return ()
        except OSError as error:
            raise read_error(error, folder) from None
        nothing = Attributes(mtime_ns=0)
        return [
            Upload(path=path, token=os.path.join(folder, name), attributes=nothing)
            for name in names
        ]

    def _is_temporary_of(self, upload: Upload) -> bool:
        # A user may have edited the journal: touch only files that can be this owner's.
        folder, name = os.path.split(upload.token)
        return folder == os.path.dirname(self._tree.full(upload.path)) and self._temporaries.owns(
            name
        )

    def make_special(self, special: Special) -> None:
        """Make an empty folder or a link."""
        full = self._tree.full(check_path(special.path))
        folder, name = os.path.split(special.path)
        with self._writing(full):
            if special.what == "empty-folder":
                with Closing(make_folder(self._tree.beneath, special.path)) as held:
                    self._hold(held, special.path)
            elif special.what == "link" and special.target is not None:
                with self._tree.beneath.folder(folder, make=True) as held:
                    self._hold(held, folder)
                    make_link(held, name, special.target, full)
            else:
                raise FileError(f"{quote(full)}: can't make a {special.what}")

    def set_folder_attributes(self, path: str, attributes: Attributes) -> tuple[Note, ...]:
        """Set the attributes of a folder. Return what it lacks. Make the root if it is missing."""
        full = self._tree.full(path)
        with self._writing(full):
            try:
                held = self._tree.beneath.open(path, make=not path)
            except (FileNotFoundError, NotADirectoryError):
                raise NotFoundError(f"expected a folder at {quote(full)}; found none") from None
            try:
                self._hold(held, path)
                # These calls don't take a descriptor opened by O_PATH, only its /proc path.
                target = f"/proc/self/fd/{held}"
                return set_folder_attributes(target, attributes, self._tree.keep, is_root=not path)
            finally:
                os.close(held)

    def delete(self, path: str) -> None:
        """Remove a file. Do nothing if it doesn't exist."""
        folder, name = os.path.split(check_path(path))
        with (
            self._writing(self._tree.full(path)),
            contextlib.suppress(FileNotFoundError),
            self._tree.beneath.folder(folder) as held,
        ):
            os.unlink(name, dir_fd=held)

    def note_proven(self, path: str) -> None:
        """Record a proven file of an earlier attempt: its name may not be durable yet."""
        folder, name = os.path.split(path)
        with self._writing(self._tree.full(path)), self._tree.beneath.folder(folder) as held:
            try:
                self._hold(held, folder)
            except PermissionError:  # a folder that may be entered but not read
                with Closing(os.open(name, os.O_RDONLY | OPEN, dir_fd=held)) as file:
                    self._hold(held, folder, file)

    def _hold(self, held: int, folder: str, descriptor: int | None = None) -> None:
        self._durability.hold(held, self._tree.full(folder), file=descriptor)

    def _writing(self, target: str) -> _Writing:
        return _Writing(self._durability, target, self._tree.root)


class _Writing:
    """Turns system errors into those of jobtool, and records the write."""

    __slots__ = ("_durability", "_root", "_target")

    def __init__(self, durability: Durability, target: str, root: str) -> None:
        self._durability, self._target, self._root = durability, target, root

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, *_: object
    ) -> None:
        self._durability.note_write()
        if isinstance(error, OSError):
            raise write_error(error, self._target, self._root) from None


def _write_chunks(
    descriptor: int, chunks: Iterable[bytes | memoryview], md5: str | None
) -> tuple[int, str]:
    """Write the chunks. Return their size in bytes and their MD5: the known one, or the found."""
    size, digest = 0, None if md5 else MD5()
    for chunk in chunks:
        if digest is not None:
            digest.update(chunk)
        write_sparsely(descriptor, chunk, size)
        size += len(chunk)
    return size, md5 or (digest.hexdigest() if digest is not None else "")


def _create(held: int, temporary: str, attributes: Attributes) -> int:
    return os.open(temporary, _CREATE, first_mode(attributes), dir_fd=held)


def _open_temporary(held: int, temporary: str, flags: int, shown: str = "") -> int:
    descriptor = os.open(temporary, flags | OPEN, dir_fd=held)
    try:
        found = os.fstat(descriptor)
        # A second name means a trap of another user, or that the target is already published.
        if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
            raise _not_ours(shown or temporary)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _not_ours(token: str) -> NotFoundError:
    return NotFoundError(f"{quote(token)} isn't an unfinished upload of this job")


@contextlib.contextmanager
def _readable_on_failure(descriptor: int) -> Iterator[None]:
    """Make a file readable again if publishing fails after its mode was set, for another try."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            os.fchmod(descriptor, stat.S_IMODE(os.fstat(descriptor).st_mode) | 0o600)
        raise
