"""The attributes of files and folders that a transfer keeps (``--preserve``)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, get_args

from jobtool.errors import UsageError

Kept = Literal["mode", "times", "xattrs", "acl", "owner"]

KEPT: tuple[Kept, ...] = get_args(Kept)
KEEP_ALL: frozenset[Kept] = frozenset(KEPT)
KEEP_BY_DEFAULT: frozenset[Kept] = frozenset({"mode", "times"})


def words_for(keep: frozenset[Kept]) -> str:
    """Return these attributes as ``--preserve`` takes them."""
    return ",".join(word for word in KEPT if word in keep) or "none"


def attributes_to_keep(words: Iterable[str]) -> frozenset[Kept]:
    """Return the attributes that ``words`` name. ``none`` and ``all`` must be the only word.

    ``acl`` includes ``mode``, since an access list needs its mode. Raises ``UsageError`` for any
    other word.
    """
    asked = {*words}
    if asked == {"all"}:
        return KEEP_ALL
    if asked == {"none"}:
        return frozenset()
    unknown = sorted(asked - KEEP_ALL)
    if unknown:
        raise UsageError(
            f"preserve: expected 'none', 'all' or some of {', '.join(KEPT)}; "
            f"found {', '.join(map(repr, unknown))}"
        )
    if "acl" in asked:
        asked.add("mode")
    return frozenset(word for word in KEPT if word in asked)
