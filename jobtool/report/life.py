"""Signs that the worker of an ongoing job is running, read once without a claim.

Every worker keeps a marker in ``.claims/workers`` and touches it every third of a lease, whatever
the kind of claims. A worker that ends normally removes it last.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterable

from jobtool.jobs.claimpolicy import lease_seconds_of
from jobtool.jobs.joblist import WORKERS_FOLDER, JobList
from jobtool.jobs.process import is_process
from jobtool.jobs.workerstates import SeenState
from jobtool.units import duration_text

#: The number of leases without a touch after which a worker counts as dead; clocks may differ.
_LEASES = 2


class SignsOfLife:
    """The markers of a joblist's workers, read once. ``now`` is in seconds since 1970."""

    def __init__(self, joblist: JobList, now: Callable[[], float] = time.time) -> None:
        self._host = socket.gethostname().partition(".")[0]  # as in a worker's name
        self._patience_seconds = _LEASES * lease_seconds_of(joblist)
        self._ages: dict[str, float] | None = None
        self._doubts: dict[str, str | None] = {}
        moment = now()
        try:
            with os.scandir(os.path.join(joblist.claims_path, WORKERS_FOLDER)) as found:
                ages: dict[str, float] = {}
                for entry in found:
                    with contextlib.suppress(FileNotFoundError):  # its worker has just ended
                        ages[entry.name] = moment - entry.stat().st_mtime
                self._ages = ages
        except OSError:
            pass  # no worker of this version was here, or access is denied: nothing is known

    def doubt(self, worker: str) -> str | None:
        """Return why the worker ``HOST:PID`` seems to be dead; None if nothing suggests that."""
        if worker not in self._doubts:
            self._doubts[worker] = self._doubt(worker)
        return self._doubts[worker]

    def alive(self, states: Iterable[SeenState]) -> list[SeenState]:
        """Return the states of the workers that don't seem to be dead."""
        return [seen for seen in states if self.doubt(seen.state.worker) is None]

    def _doubt(self, worker: str) -> str | None:
        host, _, pid = worker.rpartition(":")
        if self._ages is None or not host or not (pid.isascii() and pid.isdigit()):
            return None
        ages = [age for name, age in self._ages.items() if name.startswith(f"{host}-{pid}-")]
        if not ages:
            return "that worker has ended"
        if host == self._host and not is_process(int(pid)):
            return "its process on this node has ended"
        if min(ages) > self._patience_seconds:
            return f"no sign of life for {duration_text(min(ages))}, by this node's clock"
        return None

    def running(self) -> int:
        """Return how many workers seem to be running, as seen from this node."""
        return sum(
            age <= self._patience_seconds and not self._has_ended_here(name)
            for name, age in (self._ages or {}).items()
        )

    def _has_ended_here(self, marker: str) -> bool:
        pid = marker.removeprefix(f"{self._host}-").partition("-")[0]
        is_here = marker.startswith(f"{self._host}-") and pid.isascii() and pid.isdigit()
        return is_here and not is_process(int(pid))
