"""Optional protocols of stores.

A store has one if its class has the methods; callers ask with ``supports``. A store that can't do
what a protocol says doesn't have its methods, and callers do without them. The errors are those of
``jobtool.stores.store``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal, Protocol, TypeGuard, TypeVar, runtime_checkable

from jobtool.errors import DamagedSourceError
from jobtool.stores.original import Original
from jobtool.stores.store import (
    Attributes,
    Content,
    Entry,
    Note,
    Part,
    Proof,
    Special,
    SpecialKind,
    Store,
    Unlisted,
    Upload,
    WholeFile,
)


@runtime_checkable
class Multipart(Store, Protocol):
    """A store that takes a large file in parts, so that an interrupted transfer can resume.

    Without it a file is sent by ``write``, from its beginning at each try.
    """

    def begin(self, path: str, attributes: Attributes) -> Upload:
        """Start a file in parts. Nothing is visible at ``path`` before ``complete``."""

    def put_part(
        self, upload: Upload, number: int, offset: int, data: bytes | memoryview, md5: str
    ) -> Part:
        """Write one part, in any order and from any thread. Sending a part again replaces it.

        Every part but the last has the same size, at least 5 MiB. ``md5`` is the part's, in hex.
        """

    def complete(self, upload: Upload, parts: Sequence[Part], attributes: Attributes) -> Proof:
        """Assemble the parts, prove the file, publish it. ``attributes.md5`` is required.

        ``parts`` holds all parts in the order of their numbers. If the store holds other bytes,
        removes what was written and raises ``DigestMismatchError``.
        """

    def held_parts(self, upload: Upload, parts: Sequence[Part]) -> Sequence[Part]:
        """Return those of ``parts`` that the store still holds as they were sent.

        Raises ``NotFoundError`` if the upload doesn't exist any more.
        """

    def abort(self, upload: Upload) -> None:
        """Drop an upload and its parts. Do nothing if it doesn't exist."""

    def leftovers(self, path: str, since_ns: int) -> Sequence[Upload]:
        """Return unfinished uploads of ``path``, begun since a time in nanoseconds since 1970.

        A store that marks uploads with their owner returns its owner's instead, of any time. A
        store that can't tell targets apart returns those in the folder of ``path``.
        """


@runtime_checkable
class ReadsTogether(Store, Protocol):
    """A store that reads many small files in less time than one after the other."""

    def read_together(self, entries: Sequence[Entry]) -> Sequence[Content | None]:
        """Return whole files, each as ``read`` does. None stands for one that ``read`` must read.

        That is so if anything about it is unusual, and for each failure.
        """


@runtime_checkable
class WritesTogether(Store, Protocol):
    """A store that writes and proves many small files in less time than one after the other."""

    def write_together(self, files: Sequence[WholeFile]) -> Sequence[Proof | None]:
        """Write and prove whole files, each as ``write`` does. None stands for one that it must.

        That is so if anything about it is unusual, and for each failure. Nothing is left of it.
        """


@runtime_checkable
class Temporaries(Store, Protocol):
    """A store whose unfinished files lie beside the others, each marked with its owner.

    A kill during ``write`` leaves such a file, and so do the uploads of a ``Multipart`` store.
    """

    def leftovers(self, path: str, since_ns: int) -> Sequence[Upload]:
        """Return the owner's unfinished files in the folder of ``path``, whatever they are for."""

    def abort(self, upload: Upload) -> None:
        """Remove such a file. Do nothing if it doesn't exist, or isn't the owner's."""

    def is_leftover(self, path: str) -> bool:
        """Return True if a listed file is this owner's unfinished write."""


@runtime_checkable
class TakesFiles(Store, Protocol):
    """A store into which programs can put files beside jobtool.

    They put them into a folder of their owner's, and the store gives each its name once it is
    complete. So no reader sees an unfinished file, and no program follows a link below the root.
    """

    def incoming_for(self, path: str) -> str:
        """Return the path of the folder for files that are bound for ``path``.

        It is the same in each attempt of an owner. With the root ``/``, it is beside ``path``.
        """

    def make_incoming(self, folder: str) -> None:
        """Make such a folder, which other users may not enter. Keep one that is there.

        Raises ``FileError`` if something else is there, or another user's folder.
        """

    def take(self, path: str, target: str, size: int) -> bool:
        """Rename a file of such a folder to ``target``, in place of a file that is there.

        Makes the folder of the target. Return False if ``path`` isn't a file of this size.
        """

    def remove_incoming(self, folder: str) -> None:
        """Remove such a folder with all that is in it. Do nothing if it doesn't exist."""


@runtime_checkable
class Prover(Store, Protocol):
    """A store that proves a file more cheaply than by reading it, or that sets its attributes then.

    Without it files are compared by ``digest``.
    """

    def prove(
        self, path: str, md5: str, composite: str, attributes: Attributes | None = None
    ) -> Proof | None:
        """Prove that a file has this MD5, as cheaply as possible. Return None if it hasn't.

        ``composite`` is the ETag that S3 gives to the file in parts of the current part size. A
        store that can change the attributes of a file sets ``attributes`` after the proof.
        """


@runtime_checkable
class DeletesSame(Store, Protocol):
    """A store that deletes a file only if it is still the one that was looked at."""

    def delete_same(self, path: str, etag: str) -> bool:
        """Remove a file with this ETag; do nothing if it doesn't exist.

        Return False, and remove nothing, if there is another one now. Servers that don't know the
        condition remove it all the same.
        """


@runtime_checkable
class Specials(Store, Protocol):
    """A store that holds empty folders or links. Without it they are left out or an error."""

    @property
    def specials(self) -> frozenset[SpecialKind]:
        """The kinds that it can hold."""

    def make_special(self, special: Special) -> None:
        """Make an empty folder or a link. An existing one is left as it is.

        Raises ``FileError`` for a kind that isn't among ``specials``.
        """


@runtime_checkable
class Prunes(Store, Protocol):
    """A store that can leave out folders of a listing without opening them."""

    def list_without(self, excludes: Callable[[str], bool]) -> Iterator[Entry | Special | Unlisted]:
        """Yield what ``list`` does, with each excluded folder as the special ``excluded-folder``.

        Such a folder isn't opened. ``excludes`` is called with paths of folders, by any thread.
        """


@runtime_checkable
class FolderAttributes(Store, Protocol):
    """A store whose folders have attributes. They are kept if both stores implement this."""

    def folder_attributes(self, path: str) -> Attributes:
        """Return the attributes of a folder; ``""`` is the root. Raises ``SourceError``."""

    def set_folder_attributes(self, path: str, attributes: Attributes) -> tuple[Note, ...]:
        """Set the attributes of a folder after all else is done to it. Return what it lacks.

        A folder that no transfer of this store made keeps all but its time. Callers may repeat the
        call. Makes the root if it is missing. Raises ``NotFoundError`` for any other folder that
        is missing, and other errors of writing.
        """


@runtime_checkable
class AccessCheck(Store, Protocol):
    """A store that can check whether anything at all can be read or written.

    Without it only another file shows whether a refusal is about one file or about all.
    """

    def check_access(self, *, write: bool) -> None:
        """Try to read at the root or, with ``write``, to write below it. Leave nothing behind.

        Raises ``RefusedError``, ``ServerError`` or ``InfrastructureError`` if that fails.
        """


@runtime_checkable
class CopiesInside(Multipart, Prover, Protocol):
    """A store whose service copies files itself, so that no byte passes through the worker.

    The methods are those of the destination. ``source`` is a store of the same class for which
    ``why_not_inside`` has returned None. Without the protocol files are read and written. So are
    those for which a method raises an error, unless another try may help.
    """

    def why_not_inside(self, source: Store) -> str | None:
        """Return why the service can't copy from ``source``; None if it may be able to.

        The reason is a clause for the job's log. No server is contacted.
        """

    def original(self, source: Store, entry: Entry, part_bytes: int) -> Original:
        """Return what the service says of a listed file of ``source``.

        Files of at least ``part_bytes`` are copied in parts where these can be proven. Raises
        ``SourceChangedError`` if it isn't as listed, ``NotCopiedError`` if no copy of it could be
        proven, and the errors of reading.
        """

    def copy_inside(
        self, source: Store, original: Original, path: str, require_going: Callable[[], None]
    ) -> Proof | None:
        """Copy a file whole, with its attributes.

        A copy that takes several requests calls ``require_going`` between them, whose errors end
        it. Return None if the service's answer doesn't prove the copy, which is left there. If the
        attributes say that nothing may be replaced and something is there, or the service can't
        heed that, raises ``NotCopiedError``. Raises ``SourceChangedError`` and the errors of
        writing.
        """

    def copy_part_inside(
        self, source: Store, original: Original, upload: Upload, number: int, offset: int, size: int
    ) -> Part:
        """Copy a part of a file into an upload. The MD5 of the part is the service's.

        Only for an original with a ``part_size``.

        Raises ``SourceChangedError`` and the errors of writing.
        """


@runtime_checkable
class ComparesInside(Store, Protocol):
    """A store whose service keeps checksums of files that aren't MD5s.

    With these a file that is at the destination already, such as one that another program has
    brought, is compared with its original while no byte of it is read. Without the protocol both
    are read.
    """

    def compare_inside(
        self, source: Store, entry: Entry, path: str, require_going: Callable[[], None]
    ) -> Proof | Literal["different"] | None:
        """Compare the file at ``path`` with a listed file of ``source``, by checksums of now.

        Both services are asked after the call begins; nothing that they said before counts. The
        proof has a ``checksum`` and no ``md5``. A store that can change the attributes of a file
        sets its time after the proof. Return ``"different"`` only if the bytes differ for certain,
        and None if the services' answers don't tell: the caller reads both files then. None is
        also returned for a ``source`` of another kind, and if the user wants each file read.

        ``require_going`` is called several times a second while the services work. Raises what it
        raises, and the errors of writing attributes.
        """

    def is_still(self, path: str, checksum: str) -> bool | None:
        """Read all of a file, and return whether it has the ``checksum`` of an earlier proof.

        None if that can't be told, such as for a checksum of a kind that the service doesn't
        return any more. Raises the errors of ``Store.digest``.
        """


@runtime_checkable
class KnowsMd5s(Protocol):
    """A source that knows the MD5s of its files from elsewhere than the files, such as an index.

    What is read of a file is compared with it before the file gets its name at the destination.
    Without the protocol there is nothing to compare with.
    """

    def known_md5(self, path: str) -> str | None:
        """Return the MD5 of a file in hex as it must be; None if it isn't known."""

    def damaged(self, path: str, found: str) -> DamagedSourceError:
        """Return the error for a file that was read with the MD5 ``found``."""


#: All optional protocols.
PROTOCOLS: tuple[type, ...] = (
    Multipart,
    ReadsTogether,
    WritesTogether,
    Temporaries,
    TakesFiles,
    Prover,
    Prunes,
    Specials,
    FolderAttributes,
    AccessCheck,
    CopiesInside,
    DeletesSame,
    ComparesInside,
    KnowsMd5s,
)

P = TypeVar("P")

_SUPPORTED: dict[tuple[type, type], bool] = {}


def supports(store: object, protocol: type[P]) -> TypeGuard[P]:
    """Return True if a store has one of the protocols.

    ``isinstance``, asked once for each class of stores: it takes 50 microseconds in Python 3.11,
    and callers ask for each of a million files.
    """
    key = type(store), protocol
    if key not in _SUPPORTED:
        _SUPPORTED[key] = isinstance(store, protocol)
    return _SUPPORTED[key]
