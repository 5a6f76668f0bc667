"""The crew: the ranks that mpirun or srun started together.

They tell each other what they have done by small files in the joblist, and know by each one's
presence whether it is still there. So a rank that is killed is missed by nobody, and no rank ever
waits for a message that a dead one would have to send.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterable

import msgspec

from jobtool.jobs.job import JobStatus
from jobtool.jobs.membership import Membership
from jobtool.worker.environment import Environment

RUNS_FOLDER = "runs"

#: A rank that hasn't said a word after so long has not started.
START_SECONDS = 60.0

_SCAN = "scan"
_POLL_SECONDS = 0.1

#: How many looks for the scan there are to one at whether its rank lives, which costs many more.
_LOOKS_AT_RANK = 10


class Tally(msgspec.Struct, kw_only=True):
    """What a worker has done so far, counting from its start; ``exit_code`` is that of an error."""

    name: str
    succeeded: int = 0
    failed: int = 0
    handed_back: int = 0
    lost: int = 0
    files_sent: int = 0
    bytes_sent: int = 0
    exit_code: int = 0
    is_over: bool = False

    @property
    def taken(self) -> int:
        """How many jobs it has taken."""
        return self.succeeded + self.failed + self.handed_back + self.lost


#: The jobs of a list, by stem: their status where it is known that nothing is left to do.
Scan = dict[str, JobStatus | None]


class RankGroup:
    """What a rank knows of the others; a worker alone is a crew of one and writes no file."""

    def __init__(
        self,
        claims_path: str,
        environment: Environment,
        membership: Membership,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.is_alone = environment.run is None or environment.size == 1
        self.size = 1 if self.is_alone else environment.size
        self._rank = environment.rank
        self._folder = os.path.join(claims_path, RUNS_FOLDER, environment.run or "")
        self._membership = membership
        self._monotonic = monotonic
        self._started = monotonic()
        self._told_at = float("-inf")
        # So that all ranks together look some five hundred times a second at most.
        self._poll_seconds = max(_POLL_SECONDS, self.size / 500)
        # So that all ranks together write some fifty times a second at most.
        self.period_seconds = max(2.0, self.size / 50)

    def tell(self, tally: Tally, *, now: bool = False) -> None:
        """Let the others know; without ``now`` only if they haven't been told for a while."""
        if self.is_alone:
            return
        time_ = self._monotonic()
        if not now and time_ - self._told_at < self.period_seconds:
            return
        self._told_at = time_
        self._write(str(self._rank), msgspec.json.encode(tally))

    def tell_end(self, exit_code: int | None, *, has_told: bool) -> None:
        """Tell for this rank, whose worker can't any more, that it has ended, or None: was killed.

        What it ``has_told`` of its work stays. If it has, and the run is dismissed, nobody wants to
        know. Raises ``OSError``.
        """
        if has_told and self.is_dismissed:
            return
        tally = self._tally(self._rank) or Tally(name=f"rank {self._rank}")
        if exit_code is not None:
            tally.exit_code, tally.is_over = exit_code, True
        self._write(str(self._rank), msgspec.json.encode(tally), make_folder=not has_told)

    def tallies(self) -> list[Tally]:
        """Return what each rank has told last, dead ones too."""
        found = (self._tally(rank) for rank in range(self.size))
        return [tally for tally in found if tally is not None]

    def hand_over(self, look: Callable[[], Scan], stop: Callable[[], bool]) -> Scan:
        """Return what ``look`` returns, called by one rank for all.

        If that one is gone or has failed, or ``stop`` says so, this one looks itself.
        """
        path = os.path.join(self._folder, _SCAN)
        if self.is_alone:
            return look()
        if self._rank == 0:
            scan = look()
            self._write(_SCAN, _encode(scan))
            return scan
        looks = 0
        while not stop():
            with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
                return _decode(file.read())
            looks += 1
            if looks % _LOOKS_AT_RANK == 0 and not self._is_scanning():
                break
            time.sleep(self._poll_seconds)
        return look()

    def _is_scanning(self) -> bool:
        first = self._tally(0)
        return self._is_present(0) and (first is None or not first.exit_code)

    def is_lowest(self) -> bool:
        """Tell whether no rank below this one is there: then it speaks for all at the end."""
        return not self._is_any_present(range(self._rank))

    def has_others(self) -> bool:
        """Tell whether any other rank is still there."""
        return self._is_any_present(rank for rank in range(self.size) if rank != self._rank)

    @property
    def is_dismissed(self) -> bool:
        """Whether the run's files are gone: some rank has told all. Or there aren't any yet."""
        return not os.path.isdir(self._folder)

    def dismiss(self) -> None:
        """Remove the run's files, once all ranks have ended."""
        if not self.is_alone:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _is_any_present(self, ranks: Iterable[int]) -> bool:
        return not self.is_alone and any(self._is_present(rank) for rank in ranks)

    def _is_present(self, rank: int) -> bool:
        tally = self._tally(rank)
        if tally is None:
            return self._monotonic() - self._started < START_SECONDS
        return not tally.is_over and self._membership.is_present(tally.name)

    def _tally(self, rank: int) -> Tally | None:
        with (
            contextlib.suppress(OSError, msgspec.DecodeError),
            open(os.path.join(self._folder, str(rank)), "rb") as file,
        ):
            return msgspec.json.decode(file.read(), type=Tally)
        return None

    def _write(self, name: str, data: bytes, *, make_folder: bool = True) -> None:
        # Renamed into place, so that nobody reads half of it; it need not survive a power cut.
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
    # Names are bytes, and no byte but this can't be in one.
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
