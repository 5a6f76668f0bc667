"""Names that are rarely wanted at a destination: what ``--exclude-usual`` leaves out.

They are offered, never used unasked. Each is a pattern of ``jobtool.filters.glob``.
"""

from __future__ import annotations

#: Leftovers of filesystems, snapshots, trash, editors and desktops, and unfinished files.
USUAL = (
    ".nfs*",
    ".fuse_hidden*",
    ".snapshot/",
    ".snapshots/",
    ".zfs/",
    "lost+found/",
    ".Trash-*/",
    "*.tmp",
    ".*.swp",
    "*~",
    ".~lock.*#",
    ".DS_Store",
    "Thumbs.db",
    "desktop.ini",
)
