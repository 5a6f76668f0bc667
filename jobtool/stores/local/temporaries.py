"""Temporary files: their names, which include their owner, their first mode, their removal."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets

from jobtool.stores.store import Attributes

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
        return self.several(1)[0]

    def several(self, count: int) -> list[str]:
        """Return new unique names."""
        text = secrets.token_hex(8 * count)
        return [f"{self._prefix}{text[at : at + 16]}.part" for at in range(0, len(text), 16)]

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


def first_mode(attributes: Attributes) -> int:
    """Return the mode of a temporary file for a file with these attributes."""
    # Users who may not read the source may not read the unfinished file either.
    return 0o666 if attributes.mode is None else attributes.mode & 0o666 | 0o600


class RemovedOnFailure:
    """Removes a file of an open folder if the ``with`` block raises."""

    __slots__ = ("_held", "_temporary")

    def __init__(self, held: int, temporary: str) -> None:
        self._held, self._temporary = held, temporary

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            remove(self._held, self._temporary)


def remove(held: int, temporary: str) -> None:
    """Remove a file of an open folder if possible."""
    with contextlib.suppress(OSError):
        os.unlink(temporary, dir_fd=held)
