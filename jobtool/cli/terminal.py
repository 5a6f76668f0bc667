"""The terminal that a command has, if it has one."""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import IO, Any

#: Narrower terminals are treated as if they had so many columns.
LEAST_COLUMNS = 20


def is_terminal(stream: IO[Any] | None) -> bool:
    """Return True if a stream is a terminal that can move its cursor."""
    if stream is None:
        return False
    with contextlib.suppress(ValueError, OSError):
        return os.isatty(stream.fileno())
    return False


def output_width() -> int:
    """Return the number of columns of the terminal, by ``COLUMNS`` or as it says itself."""
    return max(shutil.get_terminal_size().columns, LEAST_COLUMNS)
