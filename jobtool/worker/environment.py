"""Where a worker runs: its host, its rank.

Rank and size come from MPI under mpirun, else from the scheduler. Without either, the worker is
alone. MPI spreads work and saves scans; correctness doesn't depend on it.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import socket
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from jobtool.names import filename_of

#: Set by mpirun or srun for the processes of an MPI job: Open MPI, PMI and PMIx (MPICH, Slurm).
_MPI_SIZES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE")
_MPI_RANKS = ("OMPI_COMM_WORLD_RANK", "PMI_RANK", "MV2_COMM_WORLD_RANK", "PMIX_RANK")

#: Tasks that are independent of each other, by scheduler: Slurm, PBS, LSF, SGE.
_ARRAY_INDEXES = ("SLURM_ARRAY_TASK_ID", "PBS_ARRAY_INDEX", "LSB_JOBINDEX", "SGE_TASK_ID")

#: What identifies a run: PMIx's name, Slurm's cluster, job, step and how often it was requeued.
_RUN_NAMES = (
    "PMIX_NAMESPACE",
    "SLURM_CLUSTER_NAME",
    "SLURM_JOB_ID",
    "SLURM_STEP_ID",
    "SLURM_RESTART_COUNT",
)

#: A rank, a size or an index; a longer number is invalid.
_NUMBER = re.compile(r"[0-9]{1,10}")

_GOLDEN_RATIO = 0.618034


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """A worker's place.

    ``run`` names the run whose ranks were started together, None for a single worker. ``is_mpi`` is
    True if mpirun started it. ``communicator`` is MPI's, None without MPI or without other ranks.
    """

    rank: int = 0
    size: int = 1
    host: str = "localhost"
    pid: int = 0
    array_index: int = 0
    run: str | None = None
    is_mpi: bool = False
    communicator: Any = None

    @property
    def worker(self) -> str:
        """The worker's name in logs and receipts."""
        return f"{self.host}:{self.pid}"

    def start_of(self, count: int, *, others: int = 0) -> int:
        """Return the index of the job, of ``count`` jobs, at which this worker begins.

        Ranks are spread evenly. Array tasks, whose number isn't known, and workers started by hand,
        ``others`` of them before this one, are spread by the golden ratio.
        """
        if not count:
            return 0
        spread = self.rank / self.size + (self.array_index or others) * _GOLDEN_RATIO
        return int(spread % 1 * count)

    def without_mpi(self) -> Environment:
        """Agree on a name for this run and leave MPI, which no rank uses afterwards.

        All ranks call this once, at the start, when all are alive. Later, ranks know of each other
        by the joblist alone, so that no rank hangs because another has died.
        """
        if self.communicator is None:
            return self
        from mpi4py import MPI

        run = self.communicator.bcast(secrets.token_hex(8), root=0)
        MPI.Finalize()
        return replace(self, run=run, communicator=None)


def launched_size(environ: Mapping[str, str]) -> int:
    """Return how many processes the launcher started together, 1 without a launcher.

    Reads environment variables only and doesn't load MPI.
    """
    return _mpi_size(environ) or _step_size(environ)


def detect(environ: Mapping[str, str]) -> Environment:
    """Return the environment of this process; initialise MPI under mpirun."""
    place = _place(environ)
    size = _mpi_size(environ)
    if size is None:
        return _in_a_step(environ, place)
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError):  # mpi4py is missing, or finds no MPI library
        rank = _first_number(environ, _MPI_RANKS) or 0
        return _one_of(size, rank, environ, {**place, "is_mpi": True})
    communicator = MPI.COMM_WORLD
    return Environment(
        rank=communicator.Get_rank(),
        size=communicator.Get_size(),
        is_mpi=True,
        communicator=communicator if communicator.Get_size() > 1 else None,
        **place,
    )


def joined(environ: Mapping[str, str]) -> Environment:
    """Return the environment of a worker, which has the same name for its run as the other ranks.

    MPI is initialised only if the launcher's variables don't give such a name: it takes a second.
    """
    size, run = _mpi_size(environ), _certain_run(environ)
    if size is None or run is None:
        return detect(environ).without_mpi()
    found = _one_of(size, _first_number(environ, _MPI_RANKS) or 0, environ, _place(environ))
    return replace(found, is_mpi=True, run=run if found.size > 1 else None)


def alone(environ: Mapping[str, str]) -> Environment:
    """Return the environment of a worker without ranks, whatever started its process."""
    return Environment(**_place(environ))


def mpi_versions() -> str:
    """Return the versions of mpi4py and of the MPI library, or that they are missing.

    Call it only where ``is_mpi``.
    """
    try:
        import mpi4py
        from mpi4py import MPI
    except (ImportError, RuntimeError):
        return "no mpi4py, or no MPI library for it"
    library = re.split(r"[,\n\0]", MPI.Get_library_version())[0].strip()
    return f"mpi4py {mpi4py.__version__}, {library}"


def _place(environ: Mapping[str, str]) -> dict[str, Any]:
    return {
        "host": socket.gethostname().partition(".")[0],
        "pid": os.getpid(),
        "array_index": _first_number(environ, _ARRAY_INDEXES) or 0,
    }


def _mpi_size(environ: Mapping[str, str]) -> int | None:
    size = _first_number(environ, _MPI_SIZES)
    if size is None and "PMIX_RANK" in environ:  # srun --mpi=pmix sets no size of its own
        size = _first_number(environ, ("SLURM_STEP_NUM_TASKS",))
    return size


def _step_size(environ: Mapping[str, str]) -> int:
    # srun's tasks have a step. A batch script has none, though it has a SLURM_PROCID too.
    if "SLURM_STEP_ID" not in environ:
        return 1
    return _first_number(environ, ("SLURM_STEP_NUM_TASKS", "SLURM_NTASKS")) or 1


def _in_a_step(environ: Mapping[str, str], place: Mapping[str, Any]) -> Environment:
    size = _step_size(environ)
    if size == 1:
        return Environment(**place)
    rank = _first_number(environ, ("SLURM_PROCID",)) or 0
    return _one_of(size, rank, environ, place)


def _one_of(
    size: int, rank: int, environ: Mapping[str, str], place: Mapping[str, Any]
) -> Environment:
    # Variables that contradict each other, such as those inherited from an outer job, don't
    # describe ranks that this one would find.
    if rank >= size:
        return Environment(**place)
    return Environment(rank=rank, size=size, run=_name_of_run(environ), **place)


def _name_of_run(environ: Mapping[str, str]) -> str | None:
    """Return the launcher's name for its run, as a file name."""
    parts = [environ[name] for name in _RUN_NAMES if environ.get(name)]
    return filename_of("-".join(parts)) if parts else None


def _certain_run(environ: Mapping[str, str]) -> str | None:
    """Return a name that all ranks of a run find in their variables, and no other run has.

    PMIx's name is that of Slurm's job and step. Under mpirun it is made of the host and of the
    launcher's process ID, which may come again. With the address of its server it is unique, but
    that is the same for all ranks only if they are on one host. Else there is none.
    """
    namespace = environ.get("PMIX_NAMESPACE", "")
    if namespace.startswith("slurm."):
        return _name_of_run(environ)
    servers = [environ[name] for name in sorted(environ) if name.startswith("PMIX_SERVER_URI")]
    sizes = [_first_number(environ, (f"OMPI_COMM_WORLD_{it}SIZE",)) for it in ("", "LOCAL_")]
    if not namespace or not servers or sizes[0] is None or sizes[0] != sizes[1]:
        return None
    address = hashlib.sha256(" ".join(servers).encode("utf-8", "surrogateescape")).hexdigest()
    return filename_of(f"{namespace}-{address[:16]}")


def _first_number(environ: Mapping[str, str], names: tuple[str, ...]) -> int | None:
    for name in names:
        if _NUMBER.fullmatch(environ.get(name, "")):
            return int(environ[name])
    return None
