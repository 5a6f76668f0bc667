"""Filesystems: whether other nodes may share the one that holds a folder."""

from __future__ import annotations

import os
import re

import msgspec

MOUNTS_PATH = "/proc/self/mountinfo"

#: Filesystems of a single node, whose kernel arbitrates every lock. Any other, also an unknown one,
#: counts as shared, which is safer.
_OF_ONE_NODE = frozenset(
    "bcachefs btrfs ext2 ext3 ext4 f2fs jfs overlay ramfs reiserfs tmpfs vfat xfs zfs".split()
)

_ESCAPE = re.compile(r"\\([0-7]{3})")


class Filesystem(msgspec.Struct, frozen=True):
    """A filesystem: its ``kind``, as ``mount`` names it, and where it is mounted."""

    kind: str
    mount_point: str

    @property
    def is_shared(self) -> bool:
        """Whether other nodes may use it too."""
        return self.kind not in _OF_ONE_NODE


def filesystem_of(path: str, *, mounts_path: str = MOUNTS_PATH) -> Filesystem:
    """Return the filesystem of ``path``, which is absolute and without links.

    The kind comes from the kernel's list of mounts. statfs doesn't distinguish FUSE filesystems.
    The kind is ``unknown`` if that list can't be read.
    """
    found = Filesystem("unknown", "/")
    try:
        with open(mounts_path, "rb") as file:
            lines = file.read().splitlines()
    except OSError:
        return found
    for line in lines:
        # proc_pid_mountinfo(5): the mount point is the fifth field; the type follows a lone dash.
        fields = os.fsdecode(line).split(" ")
        if "-" not in fields[6:]:
            continue
        mount_point = _ESCAPE.sub(lambda match: chr(int(match[1], 8)), fields[4])
        kind = fields[fields.index("-", 6) + 1]
        is_deeper = len(mount_point) >= len(
            found.mount_point
        )  # of two mounts at one place the later counts
        if is_deeper and _is_within(path, mount_point):
            found = Filesystem(kind, mount_point)
    return found


def _is_within(path: str, folder: str) -> bool:
    return folder in ("/", path) or path.startswith(folder + "/")
