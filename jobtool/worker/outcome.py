"""How an attempt at a job ended."""

from __future__ import annotations

from enum import Enum


class Outcome(Enum):
    """How an attempt ended."""

    SUCCESS = "success"
    ERROR = "error"
    HANDED_BACK = "handed-back"
    DOUBTFUL = "doubtful"
    WAITING = "waiting"
    LOST = "lost"
