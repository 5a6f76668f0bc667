"""The rank group: the ranks that one mpirun or srun started.

Each rank publishes its tally in a small file in the joblist. The others see by its membership
whether it is still running. So no rank waits for a message from a dead one.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterable

import msgspec

from jobtool import typed
from jobtool.jobs.job import JobStatus
from jobtool.jobs.membership import Membership
from jobtool.worker.environment import Environment

RUNS_FOLDER = "runs"

#: A rank that has published nothing after this many seconds has not started.
START_SECONDS = 60.0

_SCAN = "scan"
_POLL_SECONDS = 0.1

#: After this many looks for the scan, one look checks whether its rank is running, which costs
#: more.
_LOOKS_PER_CHECK = 10


class Tally(msgspec.Struct, kw_only=True):
    """What a worker has done since its start.

    The counts are of jobs that it claimed, of files, and of bytes. ``rows_read`` are those that the
    queries of exports gave, None if it did no export. ``retries`` counts what was tried again after
    an error. ``exit_code`` is the code of the error that ended it, else 0. ``is_over`` is True once
    it has ended. ``stop_seen`` is the token of the stop of the workers that was there at its start,
    empty for none, None if it isn't known.
    """

    name: str
    succeeded: int = 0
    failed: int = 0
    handed_back: int = 0
    lost: int = 0
    files_sent: int = 0
    bytes_sent: int = 0
    rows_read: int | None = None
    retries: int = 0
    exit_code: int = 0
    is_over: bool = False
    stop_seen: str | None = None

    @property
    def claimed(self) -> int:
        """The number of jobs that the worker has claimed."""
        return self.succeeded + self.failed + self.handed_back + self.lost


#: The jobs of a list by job ID: the status of jobs known to be finished, else None.
Scan = dict[str, JobStatus | None]


class RankGroup:
    """What a rank knows of the others. A worker alone is a group of one and writes no file."""

    def __init__(
        self,
        claims_path: str,
        environment: Environment,
        membership: Membership,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.is_alone = environment.run is None or environment.size == 1
        self.size = 1 if self.is_alone else environment.size
        self.rank = environment.rank
        self._folder = os.path.join(claims_path, RUNS_FOLDER, environment.run or "")
        self.membership = membership
        self._monotonic = monotonic
        self._started = monotonic()
        self._published_at = float("-inf")
        # All ranks together look about five hundred times a second at most.
        self._poll_seconds = max(_POLL_SECONDS, self.size / 500)
        # All ranks together write about fifty times a second at most.
        self.period_seconds = max(2.0, self.size / 50)

    def publish(self, tally: Tally, *, now: bool = False) -> None:
        """Write this rank's tally for the others; without ``now``, once in ``period_seconds``."""
        if self.is_alone:
            return
        time_ = self._monotonic()
        if not now and time_ - self._published_at < self.period_seconds:
            return
        self._published_at = time_
        self._write(str(self.rank), msgspec.json.encode(tally))

    def publish_end(self, exit_code: int | None, *, has_joined: bool) -> None:
        """Publish that this rank's worker has ended with ``exit_code``; None if it was killed.

        Its supervisor calls this. The worker's last tally stays if the worker ``has_joined``, which
        means that it has published one. Nothing is written if the group is closed. Raises
        ``OSError``.
        """
        if has_joined and self.is_closed:
            return
        tally = self._tally(self.rank) or Tally(name=f"rank {self.rank}")
        if exit_code is not None:
            tally.exit_code, tally.is_over = exit_code, True
        self._write(str(self.rank), msgspec.json.encode(tally), make_folder=not has_joined)

    def first(self) -> Tally | None:
        """Return the last tally of rank 0; None for a worker alone, or if there is none."""
        return None if self.is_alone else self._tally(0)

    def tallies(self) -> list[Tally]:
        """Return the last tally of each rank, including dead ones."""
        found = (self._tally(rank) for rank in range(self.size))
        return [tally for tally in found if tally is not None]

    def done_by_others(self, name: str) -> int:
        """Return how many files and jobs all ranks except ``name`` have done; -1 if it is alone."""
        if self.is_alone:
            return -1
        others = (tally for tally in self.tallies() if tally.name != name)
        return sum(tally.succeeded + tally.files_sent for tally in others)

    def share_scan(self, scan: Callable[[], Scan], is_stopped: Callable[[], bool]) -> Scan:
        """Return the result of ``scan``, which rank 0 calls for all ranks.

        This rank calls it too if rank 0 has ended or failed, or once ``is_stopped`` returns True.
        """
        path = os.path.join(self._folder, _SCAN)
        if self.is_alone:
            return scan()
        if self.rank == 0:
            found = scan()
            self._write(_SCAN, _encode(found))
            return found
        looks = 0
        while not is_stopped():
            with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
                return _decode(file.read())
            looks += 1
            if looks % _LOOKS_PER_CHECK == 0 and not self._is_scanning():
                break
            time.sleep(self._poll_seconds)
        return scan()

    def _is_scanning(self) -> bool:
        first = self._tally(0)
        return self._is_present(0) and (first is None or not first.exit_code)

    def is_lowest(self) -> bool:
        """Return True if no lower rank is running. This one then reports for all at the end."""
        return not self._is_any_present(range(self.rank))

    def must_wait(self) -> bool:
        """Return True if this rank reports for the others, and others still work."""
        return self.has_others() and self.is_lowest()

    def has_others(self) -> bool:
        """Return True if any other rank is still running."""
        return self._is_any_present(rank for rank in range(self.size) if rank != self.rank)

    @property
    def is_closed(self) -> bool:
        """Whether the group has no files: none yet, or none since a rank has reported for all."""
        return not os.path.isdir(self._folder)

    def close(self) -> None:
        """Remove the group's files, once all ranks have ended."""
        if not self.is_alone:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _is_any_present(self, ranks: Iterable[int]) -> bool:
        return not self.is_alone and any(self._is_present(rank) for rank in ranks)

    def _is_present(self, rank: int) -> bool:
        tally = self._tally(rank)
        if tally is None:
            return self._monotonic() - self._started < START_SECONDS
        return not tally.is_over and self.membership.is_present(tally.name)

    def _tally(self, rank: int) -> Tally | None:
        with (
            contextlib.suppress(OSError, msgspec.DecodeError),
            open(os.path.join(self._folder, str(rank)), "rb") as file,
        ):
            return typed.decode(file.read(), Tally)
        return None

    def _write(self, name: str, data: bytes, *, make_folder: bool = True) -> None:
        # Renamed into place, so that no rank reads half of it. It needn't survive a power failure.
        temporary = os.path.join(self._folder, f".{name}.tmp")
        try:
            with open(temporary, "wb") as file:
                file.write(data)
        except FileNotFoundError:
            if not make_folder:
                raise
            os.makedirs(self._folder, exist_ok=True)
            with open(temporary, "wb") as file:
                file.write(data)
        os.rename(temporary, os.path.join(self._folder, name))


def _encode(scan: Scan) -> bytes:
    # Names are bytes. NUL is the only byte that can't be in one.
    return b"".join(
        os.fsencode(job_id) + b"\0" + (status or "").encode() + b"\0"
        for job_id, status in scan.items()
    )


def _decode(data: bytes) -> Scan:
    words = iter(data.split(b"\0")[:-1])
    return {
        os.fsdecode(job_id): JobStatus(status.decode()) if status else None
        for job_id, status in zip(words, words, strict=True)
    }
