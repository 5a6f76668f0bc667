"""What bbcp prints: its progress, and why it failed.

Sources: its ``bbcp_ProgMon.C``, ``bbcp_Node.C``, ``bbcp_Network.C`` and ``bbcp_Protocol.C``. Older
versions print ``copy 20% complete`` for ``20% done``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from jobtool.errors import StoreError
from jobtool.methods.ssh import ssh_failure
from jobtool.names import in_one_line

_OFFSET = re.compile(r"Appending to .* at offset (\d+)$")
_REPORT = re.compile(
    r"(?:(\d+)%|not) (?:done|complete); ([\d.]+) \S*B/s(?P<average>, avg [\d.]+ \S*B/s)?"
)

_NOT_STARTED = re.compile(r"unexpectedly terminated on")
_NOT_FOUND = re.compile(r"not found|No such file or directory|Permission denied$|cannot execute")
_NO_DATA = re.compile(
    r"^bbcp: .*(?:unable to connect to|unable to find|Accept timed out on port|data streams)",
    re.IGNORECASE,
)
_NO_SPACE = re.compile(r"^bbcp: Insufficient space|No space left on device|[Qq]uota exceeded")


class Progress:
    """How many bytes of a file have arrived, by what bbcp prints. ``size`` is the file's."""

    def __init__(self, size: int) -> None:
        self.arrived = 0
        self._size = size
        self._offset = 0

    def note(self, line: str) -> bool:
        """Take a line; return whether it shows that bbcp gets on.

        A percentage is that of the bytes after the offset at which it began.
        """
        offset = _OFFSET.search(line)
        if offset is not None:
            self._offset = min(int(offset.group(1)), self._size)
            self.arrived = max(self.arrived, self._offset)
            return True
        report = _REPORT.search(line)
        if report is None:
            return True
        before = self.arrived
        percent = min(int(report.group(1) or 0), 100)
        there = self._offset + (self._size - self._offset) * percent // 100
        self.arrived = max(self.arrived, there)
        return self.arrived > before or (
            report.group("average") is not None and float(report.group(2)) > 0
        )


def connection_failure(
    lines: Iterable[str], hosts: Sequence[str], remote_program: str
) -> StoreError | None:
    """Return why bbcp can't move any file between these hosts; None if it may be one file.

    ``lines`` are what it and ssh have printed.
    """
    said = [in_one_line(line, most=200) for line in lines]
    host = " or ".join(dict.fromkeys(hosts))
    no_data = next((line for line in said if _NO_DATA.search(line)), None)
    if no_data is not None:
        return StoreError(
            f"no connection for bbcp's data ({no_data}). It goes to {host} directly, by default at "
            "ports from 5031 on: open them there, or name open ones by [methods.bbcp] ports."
        )
    no_space = next((line for line in said if _NO_SPACE.search(line)), None)
    if no_space is not None:
        return StoreError(f"there is no space for a file ({no_space})")
    failure = ssh_failure((line for line in said if not line.startswith("bbcp: ")), host)
    if failure is not None:
        return failure
    if any(_NOT_STARTED.search(line) for line in said):
        missing = [line for line in said if _NOT_FOUND.search(line)]
        return StoreError(
            f"{remote_program} can't be started at {host} ({(missing or said)[0]}). Install bbcp "
            "there, or name it by [methods.bbcp] remote_program."
        )
    return None
