"""Names of temporary files: which are whose."""

from __future__ import annotations

import hashlib
import re
import secrets

#: Temporary files are named by this, a tag of their owner, something random, and ".part".
TEMPORARY_PREFIX = ".jobtool-"
_NAME = re.compile(r"\.jobtool-([0-9a-f]{12})-[0-9a-f]{16}\.part")


def owner_tag(owner: str) -> str:
    """Return what stands for an owner in the names of temporary files."""
    return hashlib.sha256(owner.encode("utf-8", "surrogateescape")).hexdigest()[:12]


class Temporaries:
    """Makes and knows the names of one owner's temporary files."""

    def __init__(self, owner: str) -> None:
        self._prefix = f"{TEMPORARY_PREFIX}{owner_tag(owner)}-"

    def new(self) -> str:
        """Return a name that nobody else takes."""
        return f"{self._prefix}{secrets.token_hex(8)}.part"

    def owns(self, name: str) -> bool:
        """Tell whether a file of this name is a temporary one of this owner."""
        return _NAME.fullmatch(name) is not None and name.startswith(self._prefix)
