"""The attributes of files and folders: mode, times, owner, extended attributes, access lists.

Nothing here fails a file. An attribute that the system refuses becomes a note: filesystems without
permissions (FAT, SMB, many kinds of FUSE) and filesets of GPFS refuse many, and still hold the
bytes.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable
from functools import partial

from jobtool.stores.beneath import OPEN_FOLDER, Beneath
from jobtool.stores.local.acl import ACCESS, DEFAULT, mode_of, owning_group_of
from jobtool.stores.preserve import Kept
from jobtool.stores.store import Attributes, Note, within_64_bits

#: The mode of a folder while files are put into it: no other user may enter. The sticky bit has no
#: effect there. It marks that a transfer made the folder and has yet to set its final mode.
CLOSED_FOLDER = 0o1700

#: Extended attributes in which a filesystem keeps its own state of a file.
_NOT_OF_THE_FILE = (
    "security.selinux",
    "security.evm",
    "security.ima",
    "trusted.overlay.",
    "trusted.glusterfs.",
    "trusted.gfid",
    "trusted.afr.",
    "trusted.lov",
    "trusted.lma",
    "trusted.lmv",
    "trusted.link",
    "trusted.fid",
    "trusted.som",
    "trusted.hsm",
    "trusted.version",
    "trusted.dmv",
)
_NOT_SUPPORTED = (errno.ENOTSUP, errno.ENODATA, errno.ENOSYS)

#: Filesystems keep times to a nanosecond, to a second, or (FAT) to two.
_TIMES_DIFFER_NS = 2_000_000_000

Target = int | str


def attributes_of(target: Target, found: os.stat_result, keep: frozenset[Kept]) -> Attributes:
    """Return the attributes to keep of an open file or folder, or of a path.

    An attribute that can't be read is a note.
    """
    notes: list[Note] = []
    mode = stat.S_IMODE(found.st_mode) if "mode" in keep else None
    acl = None
    is_folder = stat.S_ISDIR(found.st_mode)
    if "acl" in keep or (mode is not None and mode & stat.S_IRWXG):
        acl = _read_acl(target, notes, is_folder=is_folder, keep=keep)
        access = dict(acl).get(ACCESS)
        if access is not None and mode is not None and "acl" not in keep:
            # For the group, the mode shows the list's mask, not the owning group's permissions.
            mode = mode & ~stat.S_IRWXG | owning_group_of(access) << 3
            notes.append(Note("acl", "it wasn't kept; --preserve acl keeps it"))
    if not is_folder and found.st_nlink > 1:
        notes.append(Note("hard link", "each of its names was copied as a separate file"))
    if found.st_mtime_ns != within_64_bits(found.st_mtime_ns):
        notes.append(Note("times", "64 bits can't hold it; receipts have the nearest"))
    return Attributes(
        mtime_ns=found.st_mtime_ns,
        mode=mode,
        owner=(found.st_uid, found.st_gid) if "owner" in keep else None,
        xattrs=_read_xattrs(target, notes) if "xattrs" in keep else None,
        acl=acl if "acl" in keep else None,
        notes=tuple(notes),
    )


def _read_acl(
    target: Target, notes: list[Note], *, is_folder: bool, keep: frozenset[Kept]
) -> tuple[tuple[str, bytes], ...]:
    names = (ACCESS, DEFAULT) if is_folder and "acl" in keep else (ACCESS,)
    found = []
    for name in names:
        try:
            found.append((name, os.getxattr(target, name)))
        except OSError as error:
            if error.errno not in _NOT_SUPPORTED:
                notes.append(Note("acl", f"it can't be read: {error.strerror}"))
    return tuple(found)


def _read_xattrs(target: Target, notes: list[Note]) -> tuple[tuple[str, bytes], ...]:
    try:
        names = [name for name in os.listxattr(target) if _travels(name)]
    except OSError as error:
        if error.errno not in _NOT_SUPPORTED:
            notes.append(Note("xattrs", f"they can't be read: {error.strerror}"))
        return ()
    found = []
    for name in names:
        try:
            found.append((name, os.getxattr(target, name)))
        except OSError as error:
            if error.errno != errno.ENODATA:  # removed meanwhile
                notes.append(Note(f"xattr {name}", f"it can't be read: {error.strerror}"))
    return tuple(found)


def _travels(name: str) -> bool:
    if name.startswith("user."):
        return True
    is_of_the_file = name.startswith(("security.", "trusted."))
    return os.geteuid() == 0 and is_of_the_file and not name.startswith(_NOT_OF_THE_FILE)


def make_folder(beneath: Beneath, path: str) -> int:
    """Make a folder if it is missing. Return its descriptor, for use as ``dir_fd`` only."""
    return beneath.open(path, make=True)


def mode_like(path: str, *, root: str, mirrored: str) -> int:
    """Return the mode for a new folder ``path`` above ``root``, which mirrors ``mirrored``.

    While the names on the way down to both roots are the same, the folders above them correspond,
    too: the new folder is no more open than the one above ``mirrored``. It may hold other jobs'
    folders, so no transfer sets its mode later. Otherwise the umask decides.
    """
    down = root[len(os.path.dirname(path).rstrip("/")) :]  # "/folder/…/root"
    if not mirrored.endswith(down):
        return OPEN_FOLDER
    like = mirrored[: len(mirrored) - len(down)] + "/" + os.path.basename(path)
    try:
        mode = attributes_of(like, os.stat(like), frozenset({"mode"})).mode
    except OSError:
        return OPEN_FOLDER
    return OPEN_FOLDER if mode is None else mode & 0o777 | 0o700


def set_attributes(
    target: Target, attributes: Attributes, keep: frozenset[Kept]
) -> tuple[Note, ...]:
    """Set the attributes of an open file. Return the notes, the source's first."""
    notes = _Notes(attributes.notes)
    mode = _set_all_but_mode_and_times(target, attributes, notes, special_bits=0)
    _set_mode_and_times(target, mode, attributes.mtime_ns if "times" in keep else None, notes)
    return tuple(notes.found)


def set_folder_attributes(
    target: str, attributes: Attributes, keep: frozenset[Kept], *, is_root: bool
) -> tuple[Note, ...]:
    """Set the attributes of a folder. Return the notes, the source's first.

    A folder that existed before keeps its attributes except its time. The root keeps its time, too,
    since it may be any folder that the user named as destination.
    """
    notes = _Notes(attributes.notes)
    before = stat.S_IMODE(os.stat(target).st_mode)
    is_ours = before & ~stat.S_ISGID == CLOSED_FOLDER
    mode = None
    if is_ours or (attributes.mode is None and not is_root):
        special_bits = stat.S_ISGID | stat.S_ISVTX
        mode = _set_all_but_mode_and_times(target, attributes, notes, special_bits)
        if mode is not None:
            mode |= before & stat.S_ISGID  # the destination's folders pass it on
    elif attributes.mode is not None:
        found, wanted = before & 0o777, attributes.mode & 0o777
        if found != wanted:
            how = "more" if found & ~wanted else "less"
            notes.add("mode of a folder", f"it existed before, and is {how} open than its source")
    has_times = "times" in keep and (is_ours or not is_root)
    _set_mode_and_times(target, mode, attributes.mtime_ns if has_times else None, notes)
    return tuple(notes.found)


class _Notes:
    """The notes so far. ``attempt`` adds one if the system refuses a change."""

    def __init__(self, found: tuple[Note, ...]) -> None:
        self.found = [*found]

    def add(self, attribute: str, reason: str) -> None:
        self.found.append(Note(attribute, reason))

    def attempt(self, attribute: str, change: Callable[[], object]) -> bool:
        try:
            change()
        except OSError as error:
            self.add(attribute, _refused(error))
            return False
        return True


def _refused(error: OSError) -> str:
    return f"the filesystem refuses it: {error.strerror or error}"


def _set_all_but_mode_and_times(
    target: Target, attributes: Attributes, notes: _Notes, special_bits: int
) -> int | None:
    """Set owner, extended attributes and access list. Return the mode to set after them.

    The mode keeps only those of setuid, setgid and sticky that are in ``special_bits``.
    """
    if attributes.owner is not None and _set_owner(target, attributes.owner, notes):
        special_bits |= stat.S_ISUID | stat.S_ISGID  # else they would grant another user's rights
    for name, value in attributes.xattrs or ():
        notes.attempt(f"xattr {name}", partial(os.setxattr, target, name, value))
    mode = attributes.mode
    if attributes.acl is not None:
        shown = _set_acl(target, dict(attributes.acl), notes)
        if shown is not None and mode is not None:
            mode = mode & ~0o777 | shown
    return None if mode is None else mode & (0o777 | special_bits)


def _set_owner(target: Target, owner: tuple[int, int], notes: _Notes) -> bool:
    if notes.attempt("owner", partial(os.chown, target, *owner)):
        return True
    with contextlib.suppress(OSError):  # without root, the user may still set a group of their own
        os.chown(target, -1, owner[1])
    return False


def _set_acl(target: Target, acl: dict[str, bytes], notes: _Notes) -> int | None:
    """Set an access list, or remove an inherited one. Return the mode that it shows."""
    for name in {ACCESS, DEFAULT} - acl.keys():
        with contextlib.suppress(OSError):  # most have none, and files have no default list
            os.removexattr(target, name)
    if DEFAULT in acl:
        notes.attempt("acl", partial(os.setxattr, target, DEFAULT, acl[DEFAULT]))
    access = acl.get(ACCESS)
    if access is None:
        return None
    if notes.attempt("acl", partial(os.setxattr, target, ACCESS, access)):
        return mode_of(access)
    # Without the list, the mode would grant its mask to the owning group.
    return mode_of(access) & ~stat.S_IRWXG | owning_group_of(access) << 3


def _set_mode_and_times(
    target: Target, mode: int | None, mtime_ns: int | None, notes: _Notes
) -> None:
    """Set mode and time where they aren't None, and check that they were kept.

    FAT and SMB accept a mode without keeping it, and Linux replaces a time that the filesystem
    can't hold by the nearest that it can. Neither reports it.
    """
    refusals = _Notes(())
    if mode is not None:
        refusals.attempt("mode", partial(os.chmod, target, mode))
    if mtime_ns is not None:
        refusals.attempt("times", partial(os.utime, target, ns=(mtime_ns, mtime_ns)))
    try:
        found = os.stat(target)
    except OSError:
        notes.found += refusals.found
        return
    refused = {note.attribute: note.reason for note in refusals.found}
    if mode is not None and stat.S_IMODE(found.st_mode) != mode:
        notes.add("mode", refused.get("mode", "the filesystem has another for it"))
    most_ns = 0 if "times" in refused else _TIMES_DIFFER_NS
    if mtime_ns is not None and abs(found.st_mtime_ns - mtime_ns) > most_ns:
        notes.add("times", refused.get("times", "the filesystem can't hold it and has another"))
