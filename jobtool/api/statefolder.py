"""The folders in which transfers keep their state if they are told no other."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable

from jobtool.errors import InfrastructureError, reason_of
from jobtool.names import filename_of, quote


def state_folder(tool: str, name: str, facts: Iterable[str], *, option: str) -> str:
    """Return the folder for the state of one transfer of a tool; make the folders above it.

    It is in ``$XDG_STATE_HOME/jobtool/TOOL`` (XDG Base Directory Specification 0.8), which only
    this user may enter, and is called ``name`` with a digest of ``facts``, which tell the transfer
    from all others and hold nothing secret. ``option`` is how a user names another folder, for
    errors. Raises ``InfrastructureError``.
    """
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    parent = os.path.join(state, "jobtool", tool)
    try:
        os.makedirs(parent, mode=0o700, exist_ok=True)
    except OSError as error:
        raise InfrastructureError(
            f"can't make the folder {quote(parent)} for joblists: {reason_of(error)}. Name "
            f"another by {option}"
        ) from None
    text = "\0".join(facts).encode("utf-8", "surrogateescape")
    start = filename_of(name)[:64].rstrip(" %.")
    return os.path.join(
        os.path.realpath(parent), f"{start}-{hashlib.sha256(text).hexdigest()[:16]}"
    )
