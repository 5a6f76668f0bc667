"""The room at the destinations of a dry run, each place asked as seldom as possible."""

from __future__ import annotations

from collections.abc import Sequence

from jobtool.errors import JobtoolError
from jobtool.jobs.filesystem import filesystem_of
from jobtool.stores.beforehand import Room, TellsRoom
from jobtool.stores.local.room import existing_folder
from jobtool.stores.location import is_local, parent_of
from jobtool.stores.optional import supports
from jobtool.stores.store import Store
from jobtool.transfer.foresight import Group
from jobtool.transfer.retry import Retry
from jobtool.worker.events.preview import RoomFound

#: Filesystems on which two names that differ only in case are one, as ``mount`` names them.
_IGNORING_CASE = frozenset(
    "apfs cifs exfat hfs hfsplus msdos ntfs ntfs3 smb2 smb3 smbfs vboxsf vfat".split()
)

#: No more destinations than this are named as without room.
_MOST_UNTOLD = 20


class Rooms:
    """Adds up what is needed at each place."""

    def __init__(self, retry: Retry) -> None:
        self.untold: list[str] = []
        self._retry = retry
        self._asked: dict[str, Sequence[Room]] = {}  # by the folder above a root on a server
        self._rooms: dict[str, Room] = {}
        self._needs: dict[str, Group] = {}

    def need(self, store: Store, need: Group) -> None:
        """Add what is written below a store's root."""
        for room in self._of(store):
            self._rooms.setdefault(room.place, room)
            self._needs.setdefault(room.place, Group()).add(need)

    def found(self) -> list[RoomFound]:
        """Return the places in the order in which they were found."""
        return [_found(room, self._needs[place]) for place, room in self._rooms.items()]

    def _of(self, store: Store) -> Sequence[Room]:
        above = parent_of(store.url)[0]
        if above in self._asked and not is_local(store.url):
            return self._asked[above]
        found: Sequence[Room] = ()
        if supports(store, TellsRoom):
            try:
                found = self._retry.call(store.room)
            except JobtoolError:  # it isn't needed to go on
                found = ()
        if not found and above not in self._asked and len(self.untold) < _MOST_UNTOLD:
            self.untold.append(above)
        self._asked[above] = found
        return found


def _found(room: Room, need: Group) -> RoomFound:
    needed_bytes = need.bytes * room.copies
    return RoomFound(
        limit=room.limit,
        free_bytes=room.free_bytes,
        free_files=room.free_files,
        needed_bytes=needed_bytes,
        needed_files=need.files,
        suffices=(room.free_bytes is None or room.free_bytes >= needed_bytes)
        and (room.free_files is None or room.free_files >= need.files),
    )


def ignores_case(store: Store) -> bool:
    """Return True for a folder on a filesystem that is known to ignore case."""
    return is_local(store.url) and filesystem_of(existing_folder(store.url)).kind in _IGNORING_CASE
