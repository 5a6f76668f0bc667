"""What the library tells: events, of which one definition gives the text and the JSON.

The library never prints. It calls an ``Emit`` with events; commands show them as lines for people
or as JSON lines, and a program may do anything else with them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from enum import IntEnum
from typing import Any, ClassVar


class Level(IntEnum):
    """How much a reader must ask for to see an event (``--verbosity``)."""

    ALWAYS = 0
    NORMAL = 1
    DETAIL = 2
    FILE = 3


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened. Subclasses add fields, ``kind`` and ``text``."""

    kind: ClassVar[str] = "event"
    level: ClassVar[Level] = Level.NORMAL
    symbol: ClassVar[str] = "💡"

    def text(self) -> str:
        """Return the event as a sentence for people, without its symbol."""
        raise NotImplementedError

    def json(self) -> dict[str, Any]:
        """Return the event as plain values; fields are only ever added."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {"event": self.kind, **values}


Emit = Callable[[Event], None]


def ignore(event: Event) -> None:
    """Drop an event: the ``Emit`` of a caller who doesn't want to know."""
