"""Specials, the entries of a tree besides files: empty folders, links."""

from __future__ import annotations

from functools import partial
from typing import Literal

import msgspec

from jobtool.errors import FileError
from jobtool.names import quote
from jobtool.stores.local import LinkPolicy
from jobtool.stores.optional import Specials, supports
from jobtool.stores.store import Special
from jobtool.transfer.plan import MAX_FAILURES, Failure, Plan, Route
from jobtool.transfer.retry import Retry

#: What a transfer does with a special.
Fate = Literal["made", "left-out", "nothing"]

#: How many specials are made between two checks of the stop.
_SPECIALS_PER_LOOK = 64


class Skipped(msgspec.Struct):
    """The specials that were left out, the first of them with reasons, and those that failed."""

    count: int = 0
    first: list[tuple[str, str]] = msgspec.field(default_factory=list)
    failures: list[Failure] = msgspec.field(default_factory=list)

    def add(self, path: str, reason: str) -> None:
        """Count a special that was left out."""
        self.count += 1
        if len(self.first) < MAX_FAILURES:
            self.first.append((path, reason))


def make_specials(plan: Plan, *, links: LinkPolicy, retry: Retry, skipped: Skipped) -> bool:
    """Make the specials of a plan; return False if a stop was requested before the last.

    Specials that are left out and failures are added to ``skipped``. Raises
    ``InfrastructureError``.
    """
    for count, (route, special) in enumerate(plan.specials(), start=1):
        if retry.stop.is_lost or (count % _SPECIALS_PER_LOOK == 0 and retry.stop.is_set()):
            return False
        path = route.source.url_of(special.path)
        try:
            if not _make(route, special, path, links, retry):
                skipped.add(path, described(special))
        except FileError as error:
            skipped.failures.append(Failure(path=path, error=error))
    return True


def _make(route: Route, special: Special, path: str, links: LinkPolicy, retry: Retry) -> bool:
    """Make a special; return False if it is left out, to be reported."""
    destination, fate = route.destination, fate_of(route, special, path, links)
    if fate == "made" and supports(destination, Specials):
        retry.call(partial(destination.make_special, special))
    return fate != "left-out"


def fate_of(route: Route, special: Special, path: str, links: LinkPolicy) -> Fate:
    """Return what a transfer does with a special, by the path or URL of its source.

    ``left-out`` is reported. ``nothing`` is an empty folder at a destination without folders.
    Raises ``FileError`` for a link to keep that the destination can't hold.
    """
    destination = route.destination
    can = supports(destination, Specials) and special.what in destination.specials
    if special.what == "link" and links == "keep":
        if not can:
            raise FileError(
                f"{quote(path)} is a link, and {quote(destination.url)} can't hold one. "
                "Use --links follow or --links skip."
            )
    elif special.what != "empty-folder":
        return "left-out"
    return "made" if can else "nothing"


def described(special: Special) -> str:
    """Return what a special is that is left out."""
    if special.what == "link":
        return f"a link to {quote(special.target or '')}, and --links skip was asked for"
    return f"a {special.what}, which holds no data"
