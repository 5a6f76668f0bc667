"""Which copy of an item is staged: pure decisions, with reasons for people."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum

import msgspec

from jobtool.catalog.copy import Copy
from jobtool.names import quote
from jobtool.stores.location import is_local, join


class Rank(IntEnum):
    """How near a copy is, nearest first."""

    OPEN_HERE = 0
    PACKED_HERE = 1
    ARCHIVED_HERE = 2
    PACKED_ELSEWHERE = 3
    OPEN_ELSEWHERE = 4


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A copy that may be staged, and why it has its rank."""

    copy: Copy
    rank: Rank
    reason: str


class Unfit(msgspec.Struct, frozen=True, kw_only=True):
    """A copy that can't be staged, and why."""

    copy: Copy
    reason: str


def item_url(location_url: str, item: str) -> str:
    """Return where an item lies open at a location."""
    return join(location_url, item)


def candidates_of(
    copies: Iterable[Copy], *, site: str, target_url: str
) -> tuple[list[Candidate], list[Unfit]]:
    """Return the copies that can be staged at a site, the best first, and the others.

    Only present copies are. The order is: open files at another location of the site, a package at
    the site, one in the site's archive, a package elsewhere, open files elsewhere. Of equals the
    one that was verified last comes first. The copy at ``target_url`` is the one to be made, so it
    is neither.
    """
    found: list[Candidate] = []
    unfit: list[Unfit] = []
    for copy in copies:
        if copy.url == target_url:
            continue
        if copy.state != "present":
            unfit.append(Unfit(copy=copy, reason=f"{copy.state} at {quote(copy.place)}"))
            continue
        rank = _rank(copy, site)
        found.append(Candidate(copy=copy, rank=rank, reason=_reason(copy, rank)))
    found.sort(
        key=lambda each: (
            each.rank,
            is_local(each.copy.url) and each.copy.site != site,
            -each.copy.verified_at.timestamp(),
            quote(each.copy.url),
        )
    )
    return found, unfit


def _rank(copy: Copy, site: str) -> Rank:
    is_open = copy.form == "files"
    if copy.site != site:
        return Rank.OPEN_ELSEWHERE if is_open else Rank.PACKED_ELSEWHERE
    if is_open:
        return Rank.OPEN_HERE
    return Rank.ARCHIVED_HERE if copy.location == "archive" else Rank.PACKED_HERE


def _reason(copy: Copy, rank: Rank) -> str:
    package = quote(copy.package or "")
    match rank:
        case Rank.OPEN_HERE:
            return f"open files at this site, {copy.place}"
        case Rank.PACKED_HERE:
            return f"package {package} at this site, {copy.place}"
        case Rank.ARCHIVED_HERE:
            return f"package {package} in this site's archive"
        case Rank.PACKED_ELSEWHERE:
            return f"package {package} elsewhere, {copy.place}: none at this site"
        case Rank.OPEN_ELSEWHERE:
            return f"open files elsewhere, {copy.place}: no package, and none at this site"
