"""Where a worker runs: its rank among others, its host, and what the others share with it.

Rank and size come from MPI when started under it, else from the scheduler, else it is alone. MPI
spreads work and saves scans; nothing depends on it for correctness.
"""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")

#: Set by mpirun or srun for the processes of an MPI job: Open MPI, PMI and PMIx (MPICH, Slurm).
_MPI_SIZES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE")
_MPI_RANKS = ("OMPI_COMM_WORLD_RANK", "PMI_RANK", "MV2_COMM_WORLD_RANK")

#: Tasks that know nothing of each other, by scheduler: Slurm, PBS, LSF, SGE.
_ARRAY_INDEXES = ("SLURM_ARRAY_TASK_ID", "PBS_ARRAY_INDEX", "LSB_JOBINDEX", "SGE_TASK_ID")

_GOLDEN_RATIO = 0.618034
_POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """A worker's place.

    ``is_mpi`` says whether mpirun has started it, ``communicator`` is MPI's, None where there is no
    MPI or nobody to talk to.
    """

    rank: int = 0
    size: int = 1
    host: str = "localhost"
    pid: int = 0
    array_index: int = 0
    is_mpi: bool = False
    communicator: Any = None

    @property
    def worker(self) -> str:
        """The worker's name in logs and receipts."""
        return f"{self.host}:{self.pid}"

    def start_of(self, count: int) -> int:
        """Return at which of ``count`` jobs this worker begins.

        Ranks are spread evenly, array tasks, whose number isn't known, by the golden ratio.
        """
        if not count:
            return 0
        spread = self.rank / self.size + self.array_index * _GOLDEN_RATIO
        return int(spread % 1 * count)

    def share(self, make: Callable[[], T]) -> T:
        """Return what ``make`` returns, called once for all ranks; only before the work begins."""
        if self.communicator is None:
            return make()
        made: tuple[T | None, BaseException | None] = (None, None)
        if self.rank == 0:
            try:
                made = (make(), None)
            except Exception as error:  # the other ranks must hear of it too
                made = (None, error)
        result, failure = self.communicator.bcast(made, root=0)
        if failure is not None:
            raise failure
        return result  # type: ignore[no-any-return]

    def wait_for_others(self) -> None:
        """Return when all ranks are here.

        mpirun ends all ranks when one exits with an error, so none may exit before the others have
        finished. Polls, since MPI's own waiting keeps a core busy.
        """
        if self.communicator is None:
            return
        request = self.communicator.Ibarrier()
        while not request.Test():
            time.sleep(_POLL_SECONDS)


def detect(environ: Mapping[str, str]) -> Environment:
    """Return the environment that this process was started in; initialises MPI under mpirun."""
    place: dict[str, Any] = {
        "host": socket.gethostname().partition(".")[0],
        "pid": os.getpid(),
        "array_index": _first_number(environ, _ARRAY_INDEXES) or 0,
    }
    size = _first_number(environ, _MPI_SIZES)
    if size is None:
        return Environment(
            rank=int(environ.get("SLURM_PROCID", "0")),
            size=int(environ.get("SLURM_NTASKS", "1")) if "SLURM_PROCID" in environ else 1,
            **place,
        )
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError):  # no mpi4py, or no MPI library that it could load
        rank = _first_number(environ, _MPI_RANKS) or 0
        return Environment(rank=rank, size=size, is_mpi=True, **place)
    communicator = MPI.COMM_WORLD
    return Environment(
        rank=communicator.Get_rank(),
        size=communicator.Get_size(),
        is_mpi=True,
        communicator=communicator if communicator.Get_size() > 1 else None,
        **place,
    )


def mpi_versions() -> str:
    """Return the versions of mpi4py and of the MPI library; only where ``is_mpi``.

    Says so where there are none.
    """
    try:
        import mpi4py
        from mpi4py import MPI
    except (ImportError, RuntimeError):
        return "no mpi4py, or no MPI library for it"
    library = re.split(r"[,\n\0]", MPI.Get_library_version())[0].strip()
    return f"mpi4py {mpi4py.__version__}, {library}"


def _first_number(environ: Mapping[str, str], names: tuple[str, ...]) -> int | None:
    for name in names:
        if environ.get(name, "").isdigit():
            return int(environ[name])
    return None
