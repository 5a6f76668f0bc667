"""The names of temporary files, which include their owner."""

from __future__ import annotations

import hashlib
import re
import secrets

#: The prefix of temporary files. A tag of their owner, random characters and ".part" follow.
TEMPORARY_PREFIX = ".jobtool-"
_INCOMING = "incoming"
_NAME = re.compile(r"\.jobtool-([0-9a-f]{12})-[0-9a-f]{16}\.part")


def owner_tag(owner: str) -> str:
    """Return the tag of an owner in the names of temporary files."""
    return hashlib.sha256(owner.encode("utf-8", "surrogateescape")).hexdigest()[:12]


class Temporaries:
    """Makes and recognises the names of one owner's temporary files."""

    def __init__(self, owner: str) -> None:
        self._prefix = f"{TEMPORARY_PREFIX}{owner_tag(owner)}-"

    def new(self) -> str:
        """Return a new unique name."""
        return f"{self._prefix}{secrets.token_hex(8)}.part"

    @property
    def incoming(self) -> str:
        """The name of a folder into which the owner's programs put files."""
        return self._prefix + _INCOMING

    def owns_path(self, path: str) -> bool:
        """Return True for the owner's temporary file, or a file in its folder for programs."""
        *folders, name = path.split("/")
        return self.owns(name) or self.incoming in folders

    def owns(self, name: str) -> bool:
        """Return True if a name is that of a temporary file of this owner."""
        return _NAME.fullmatch(name) is not None and name.startswith(self._prefix)
