"""Whether a process of this host is there."""

from __future__ import annotations

import os


def is_process(pid: int) -> bool:
    """Return True if this host has a process with this ID, whoever owns it."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True
