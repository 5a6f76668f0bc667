"""Events: one definition for both text and JSON.

The library never prints. It calls an ``Emit`` with events. Commands print them as lines of text or
as JSON lines; a program may do anything else with them.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

import msgspec

from jobtool.level import Level
from jobtool.redact import redact


class Amount(msgspec.Struct, frozen=True, kw_only=True):
    """What an event adds to the counts of the step that a worker does.

    ``files`` and ``bytes`` are those that are done and proven. ``sent_bytes`` were moved, whether
    or not they are proven later.
    """

    files: int = 0
    bytes: int = 0
    sent_bytes: int = 0
    retries: int = 0


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened. Subclasses add fields, ``kind`` and ``text``."""

    kind: ClassVar[str] = "event"
    level: ClassVar[Level] = Level.NORMAL
    symbol: ClassVar[str] = "💡"

    def mark(self) -> str:
        """Return the symbol at the start of the event's line."""
        return self.symbol

    def text(self) -> str:
        """Return the event as a sentence for people, without its symbol."""
        raise NotImplementedError

    def json(self) -> dict[str, Any]:
        """Return the event as plain values. New versions add fields and never remove any."""
        values = {name: getattr(self, name) for name in self.__struct_fields__}
        return {"event": self.kind, **values}

    def amount(self) -> Amount | None:
        """Return what metrics count of the event; None for nothing.

        It is counted for the step under way (``jobtool.metrics``). A step calls ``emit`` with such
        events for what it has done since the last one.
        """
        return None


Emit = Callable[[Event], None]


Told = TypeVar("Told")


def unfailing(callback: Callable[[Told], None]) -> Callable[[Told], None]:
    """Return a callback that suppresses exceptions of ``callback``, so that it can't fail the work.

    The first one is shown by ``warnings``. Anything that isn't an ``Exception``, such as
    ``KeyboardInterrupt``, is raised.
    """
    has_failed = False

    def call(value: Told) -> None:
        nonlocal has_failed
        try:
            callback(value)
        except Exception as error:
            if has_failed:
                return
            has_failed = True
            with contextlib.suppress(Warning):  # where warnings are errors
                warnings.warn(
                    redact(
                        f"{callback!r} raised {type(error).__name__}: {error}. The work continues. "
                        "Further exceptions of this callback aren't shown."
                    ),
                    RuntimeWarning,
                    stacklevel=2,
                )

    return call


def ignore(event: Event) -> None:
    """Discard an event: the default ``Emit``."""
