"""How much may be written into a folder: the room of its filesystem, the user's quotas.

Sources: quotactl(2), statvfs(3). XFS, Lustre and GPFS report a folder's own (project, fileset)
quota by statvfs, if they are told to. NFS servers don't pass on users' quotas by either call.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator

import msgspec

from jobtool.names import quote
from jobtool.stores.beforehand import Room

_MOUNTS_PATH = "/proc/self/mountinfo"
_Q_GETQUOTA = 0x800007
_KINDS = ((0, "user", os.geteuid), (1, "group", os.getegid))  # USRQUOTA, GRPQUOTA
_BLOCK_BYTES = 1024  # of limits; what is used is in bytes
_HAS_BLOCKS, _HAS_INODES = 1 | 2, 4 | 8  # QIF_BLIMITS | QIF_SPACE, QIF_ILIMITS | QIF_INODES


class Quota(ctypes.Structure):
    """``struct dqblk`` of quotactl(2)."""

    _fields_ = [
        ("hard_blocks", ctypes.c_uint64),
        ("soft_blocks", ctypes.c_uint64),
        ("used_bytes", ctypes.c_uint64),
        ("hard_files", ctypes.c_uint64),
        ("soft_files", ctypes.c_uint64),
        ("used_files", ctypes.c_uint64),
        ("bytes_until", ctypes.c_uint64),
        ("files_until", ctypes.c_uint64),
        ("valid", ctypes.c_uint32),
    ]


class Space(msgspec.Struct, frozen=True, kw_only=True):
    """What statvfs says: bytes and names that this user may still use.

    ``free_files`` is None for a filesystem that doesn't count files.
    """

    free_bytes: int
    free_files: int | None


def space_of(folder: str) -> Space:
    """Return the room of the filesystem of a folder that exists. Raises ``OSError``."""
    found = os.statvfs(folder)
    return Space(
        free_bytes=found.f_bavail * found.f_frsize,
        free_files=found.f_favail if found.f_files else None,
    )


def existing_folder(folder: str) -> str:
    """Return the innermost folder of a path that is there."""
    while folder != "/" and not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    return folder


def room_of(path: str) -> list[Room]:
    """Return the bounds on what may be written below a path. Raises ``OSError``."""
    folder = existing_folder(path)
    device = os.stat(folder).st_dev
    space = space_of(folder)
    place = f"{os.major(device)}:{os.minor(device)}"
    room = Room(
        place=place,
        limit=f"filesystem of {quote(folder)}",
        free_bytes=space.free_bytes,
        free_files=space.free_files,
    )
    return [room, *_quotas(device, place)]


def _quotas(device: int, place: str) -> Iterator[Room]:
    block_device = _block_device(device)
    quotactl = getattr(ctypes.CDLL(None, use_errno=True), "quotactl", None)
    if block_device is None or quotactl is None:
        return
    for number, kind, identity in _KINDS:
        found, owner = Quota(), identity()
        command = ctypes.c_int((_Q_GETQUOTA << 8) | number)
        if quotactl(command, block_device, owner, ctypes.byref(found)) == 0:
            room = room_of_quota(found, place=f"{place} {kind} {owner}", limit=f"{kind} {owner}")
            if room is not None:
                yield room


def room_of_quota(found: Quota, *, place: str, limit: str) -> Room | None:
    """Return what a quota leaves, by the lower of its limits; None if it sets none."""
    free_bytes = free_files = None
    blocks = [each for each in (found.soft_blocks, found.hard_blocks) if each]
    files = [each for each in (found.soft_files, found.hard_files) if each]
    if found.valid & _HAS_BLOCKS == _HAS_BLOCKS and blocks:
        free_bytes = max(min(blocks) * _BLOCK_BYTES - found.used_bytes, 0)
    if found.valid & _HAS_INODES == _HAS_INODES and files:
        free_files = max(min(files) - found.used_files, 0)
    if free_bytes is None and free_files is None:
        return None
    return Room(
        place=place, limit=f"quota of {limit}", free_bytes=free_bytes, free_files=free_files
    )


def _block_device(device: int) -> bytes | None:
    """Return the device that a filesystem is on, by proc_pid_mountinfo(5); None for others."""
    wanted = f"{os.major(device)}:{os.minor(device)}".encode()
    try:
        with open(_MOUNTS_PATH, "rb") as file:
            lines = file.read().splitlines()
    except OSError:
        return None
    for line in lines:
        fields = line.split(b" ")
        if len(fields) > 6 and fields[2] == wanted and b"-" in fields[6:]:
            source = fields[fields.index(b"-", 6) + 2]
            return source if source.startswith(b"/") else None
    return None
