"""POSIX access lists as Linux keeps them in extended attributes.

A version (32 bits, 2), then entries of tag (16 bits), permissions (16 bits), and the number of a
user or group (32 bits), all little-endian. Source: Linux, ``include/uapi/linux/posix_acl_xattr.h``.
"""

from __future__ import annotations

import struct

ACCESS = "system.posix_acl_access"
DEFAULT = "system.posix_acl_default"

_OWNER, _OWNING_GROUP, _MASK, _OTHERS = 0x01, 0x04, 0x10, 0x20
_HEADER_BYTES = 4
_ENTRY = struct.Struct("<HHI")


def _permissions(acl: bytes) -> dict[int, int]:
    entries = acl[_HEADER_BYTES:]
    whole = len(entries) - len(entries) % _ENTRY.size
    return {tag: allowed & 0o7 for tag, allowed, _ in _ENTRY.iter_unpack(entries[:whole])}


def mode_of(acl: bytes) -> int:
    """Return the mode that a file with this list shows: the mask's for the group, if any."""
    found = _permissions(acl)
    group = found.get(_MASK, found.get(_OWNING_GROUP, 0))
    return found.get(_OWNER, 0) << 6 | group << 3 | found.get(_OTHERS, 0)


def owning_group_of(acl: bytes) -> int:
    """Return the owning group's permissions (0 to 7). They may be fewer than the mode shows."""
    found = _permissions(acl)
    return found.get(_OWNING_GROUP, 0) & found.get(_MASK, 0o7)
