"""The hidden folder of the destination into which a method's programs put files.

The store makes it (``TakesFiles``), and gives each file its name once it is complete. So no reader
sees half a file, no program follows a link below the destination, folders that are made keep their
attributes, and what a killed worker leaves is removed by the next, whatever methods that one uses.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence

from jobtool.errors import FileError, InfrastructureError, StoreError
from jobtool.methods.method import MethodContext, MethodFile
from jobtool.stores.optional import TakesFiles, supports
from jobtool.stores.store import Child, Store


class Landing:
    """The hidden folder for the files of a call, made for all that are bound for one place.

    ``root`` is the absolute path of the store's root on its machine, ``folder`` the landing's path
    below that root, ``full_path`` its absolute path.
    """

    def __init__(self, context: MethodContext, root: str, folder: str) -> None:
        assert supports(context.destination, TakesFiles)
        self.folder = folder
        self.full_path = os.path.join(root, folder)
        self._store: TakesFiles = context.destination
        self._require_held = context.require_held
        self._note = context.note

    def make(self, below: str = "") -> None:
        """Make the folder, or one in it. Keep what an earlier attempt has left there."""
        self._require_held()
        self._store.make_incoming(self._path(below))

    def give(self, file: MethodFile, path: str) -> bool:
        """Give a file its name if it is complete. ``path`` is its path in the folder.

        Return False if it isn't complete. Raises ``FileError`` if it can't be written.
        """
        self._require_held()
        return self._store.take(self._path(path), file.destination_path, file.size)

    def take(self, file: MethodFile, path: str) -> bool:
        """Do the same. Return False, too, if this one file can't be written, which is noted."""
        try:
            return self.give(file, path)
        except StoreError:
            raise
        except FileError as error:
            self._note(str(error))
            return False

    def size_of(self, path: str) -> int | None:
        """Return how large a file in the folder is by now, in bytes; None if it isn't there."""
        found = self._store.stat(self._path(path), file_only=True)
        return None if isinstance(found, str) else found.size

    def names(self, below: str) -> list[str]:
        """Return the names in a folder of the folder."""
        children = self._store.children(self._path(below))
        return [child.name for child in children if isinstance(child, Child)]

    def remove(self, below: str = "") -> None:
        """Remove the folder, or one in it, with all that is in it."""
        self._require_held()
        self._store.remove_incoming(self._path(below))

    def _path(self, below: str) -> str:
        return f"{self.folder}/{below}" if below else self.folder


def by_folder(store: Store, files: Sequence[MethodFile]) -> Iterator[tuple[str, list[MethodFile]]]:
    """Yield the files of a call by the folder that they land in."""
    assert supports(store, TakesFiles)
    groups: dict[str, list[MethodFile]] = {}
    for file in files:
        groups.setdefault(store.incoming_for(file.destination_path), []).append(file)
    yield from groups.items()


@contextlib.contextmanager
def landing_in(
    context: MethodContext, root: str, folder: str, *, is_empty: bool = False
) -> Iterator[Landing]:
    """Make a folder for files to land in.

    With ``is_empty`` what an earlier attempt has left in it is removed: for programs that can't
    tell it from what they have brought themselves.

    It is removed afterwards, unless the worker stops or has lost the job: then it stays, so that
    the next attempt can resume. Another worker may use it by then.
    """
    landing = Landing(context, root, folder)
    if is_empty:
        landing.remove()
    landing.make()
    try:
        yield landing
    finally:
        if not context.stop.is_set():
            # It is removed at the end of the job, too.
            with contextlib.suppress(FileError, InfrastructureError):
                landing.remove()
