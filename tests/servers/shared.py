"""Servers that start slowly: one for all test processes of a run."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def shared_server(
    folder: Path, start: Callable[[], dict[str, Any]], *, data: str
) -> Iterator[dict[str, Any]]:
    """Start a server for a folder, or use the one that another process has started for it.

    ``start`` returns what is to be known of the server, as JSON can hold it, with the group leaders
    of its ``processes``. The users count themselves by locks. The last one kills the server and
    removes the folder ``data`` in its folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "users").open("wb") as users:
        with _locked(folder / "lock"):
            fcntl.flock(users, fcntl.LOCK_SH)
            ready = folder / "ready.json"
            if not ready.exists():
                ready.write_text(json.dumps(start()))
            found = json.loads(ready.read_text())
        try:
            yield found
        finally:
            with _locked(folder / "lock"):
                try:
                    fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    pass  # others use it
                else:
                    ready.unlink()
                    stop_processes(found["processes"])
                    shutil.rmtree(folder / data, ignore_errors=True)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def stop_processes(processes: list[int]) -> None:
    """Kill groups of processes, whose data is thrown away."""
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process, signal.SIGKILL)
