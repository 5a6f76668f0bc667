"""What a command costs: wall time, CPU time, memory, as the system accounts for them."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Cost(NamedTuple):
    """Seconds of ``wall`` time and of ``cpu`` time, and the largest memory of one process.

    The CPU time is that of a process and of its children that it has waited for. ``server`` is the
    CPU time of the server meanwhile, if there is one.
    """

    wall: float
    cpu: float
    mebibytes: float
    server: float = 0.0


def measured(command: Sequence[str], environment: Mapping[str, str]) -> tuple[Cost, str]:
    """Run a command; return its cost, and the end of its output if it failed."""
    with tempfile.TemporaryFile() as output:
        began = time.monotonic()
        process = subprocess.Popen(
            command, env={**os.environ, **environment}, stdout=output, stderr=output
        )
        _, status, used = os.wait4(process.pid, 0)
        wall = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        cost = Cost(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)
        if process.returncode == 0:
            return cost, ""
        output.seek(0)
        said = output.read().decode(errors="replace").strip()
        return cost, f"exit code {process.returncode}: {said[-500:]}"
