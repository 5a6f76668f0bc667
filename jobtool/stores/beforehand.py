"""What stores can tell before anything is read or written: names, room, who may read.

Optional protocols, like those of ``jobtool.stores.optional``, for a dry run alone. A transfer needs
none of them: it meets the same answers file by file. The errors are those of
``jobtool.stores.store``. Callers ask with ``supports``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import msgspec

from jobtool.stores.store import Store


class Room(msgspec.Struct, frozen=True, kw_only=True):
    """How much may still be written at a place.

    ``limit`` says what sets the bound, such as ``filesystem`` or ``quota of user 1000``. Stores
    with the same ``place`` share it. ``free_bytes`` and ``free_files`` are None where there is no
    bound, or none that is known. A byte of a file takes ``copies`` of these bytes.
    """

    place: str
    limit: str
    free_bytes: int | None = None
    free_files: int | None = None
    copies: int = 1


@runtime_checkable
class TellsRoom(Store, Protocol):
    """A store that knows how much room there is. Without it a dry run says that nobody does."""

    def room(self) -> Sequence[Room]:
        """Return each bound on what may be written below the root, which needn't exist yet.

        None at all is an answer, too: the server doesn't tell. Writes nothing. Raises the errors of
        reading.
        """


@runtime_checkable
class ChecksNames(Store, Protocol):
    """A store that knows which names it can't hold. Without it only the write shows."""

    def require_name(self, path: str) -> None:
        """Raise the ``FileError`` that writing a file at ``path`` would raise for its name.

        Contacts no server. Names that it lets pass may still be refused by the server.
        """


@runtime_checkable
class KnowsReaders(Store, Protocol):
    """A store that knows cheaply whether a file may be read. Without it only reading shows."""

    def may_read(self, path: str) -> bool:
        """Return False if this user may not read a listed file. Opens nothing."""
