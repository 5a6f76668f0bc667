"""A process that removes what a killed doctor has left.

Doctor cleans up after itself, even on Ctrl-C. But mpirun leaves its ranks a quarter of a second
between a signal and a kill, too little for a distant server. And no process can clean up after its
own ``kill -9``. So each rank that makes something first starts this process, in another session. On
its standard input, the rank writes what it is about to make, one JSON object to a line, and at the
end ``done``. If the input ends without that, this process removes what was named.
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import IO, Any

import msgspec

from jobtool import typed
from jobtool.jobs.settings import Settings

_DONE = "done\n"
_PATIENCE_SECONDS = 10.0

#: Writes that were under way when their sender was killed may arrive after a first removal.
_AGAIN_SECONDS = (0.0, 2.0)


class Janitor:
    """The process, in a ``with`` statement around everything that makes and removes something.

    If the process can't be started, doctor works without it; only a kill then leaves something.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Janitor:
        with contextlib.suppress(OSError):
            self._process = subprocess.Popen(
                [sys.executable, "-X", "utf8", "-m", __spec__.name],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                text=True,
                start_new_session=True,
            )
        return self

    def __exit__(self, *_: object) -> None:
        self._tell(_DONE)
        if self._process is not None:
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                self._process.communicate(timeout=_PATIENCE_SECONDS)

    def expect_folder(self, path: str) -> None:
        """Name a folder that is about to be made. It is removed with everything in it."""
        self._tell(json.dumps({"folder": path}) + "\n")

    def expect_destination(
        self,
        url: str,
        token: str,
        made_folders: Sequence[str],
        settings: Settings,
    ) -> None:
        """Name a destination that is about to be probed, and the settings of its joblist."""
        task = {
            "url": url,
            "token": token,
            "made_folders": list(made_folders),
            "settings": msgspec.to_builtins(settings),
        }
        self._tell(json.dumps(task) + "\n")

    def _tell(self, line: str) -> None:
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.write(line)
                self._process.stdin.flush()


def serve(lines: IO[str]) -> None:
    """Read what is about to be made, and remove it if the lines end without ``done``."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    tasks: list[dict[str, Any]] = []
    for line in lines:
        if line == _DONE:
            return
        with contextlib.suppress(ValueError):  # a line that a kill has cut off
            tasks.append(json.loads(line))
    for seconds in _AGAIN_SECONDS:
        time.sleep(seconds)
        for task in tasks:
            _remove(task)


def _remove(task: dict[str, Any]) -> None:
    # Imported only here: usually there is nothing to remove.
    from jobtool.doctor.destination import DestinationProbe
    from jobtool.doctor.folder import remove_probe
    from jobtool.transfer.stores_of import stores_by

    if "folder" in task:
        remove_probe(task["folder"])
        return
    stores = stores_by(typed.convert(task["settings"], Settings))
    probe = DestinationProbe(task["url"], stores, task["token"])
    probe.remove_for_another(task["made_folders"])


if __name__ == "__main__":
    serve(sys.stdin)
