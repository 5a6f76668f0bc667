"""How much is shown: the levels of events and of ``--verbosity``."""

from __future__ import annotations

from enum import IntEnum


class Level(IntEnum):
    """The ``--verbosity`` from which an event is shown."""

    ALWAYS = 0
    NORMAL = 1
    DETAIL = 2
    FILE = 3
