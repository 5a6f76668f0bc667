"""The environment of the ranks: versions, MPI, scheduler, time left."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator, Mapping

from jobtool import __version__
from jobtool.doctor.checkresult import CheckResult, Subject, in_seconds, named
from jobtool.doctor.claims import View
from jobtool.worker.deadline import find_deadline
from jobtool.worker.environment import Environment, mpi_versions

#: The variable that holds the job's number, by scheduler. Other programs use SGE's name too, so it
#: counts only with SGE_ROOT.
_JOB_NUMBERS = (
    ("Slurm", "SLURM_JOB_ID", ""),
    ("PBS", "PBS_JOBID", ""),
    ("LSF", "LSB_JOBID", ""),
    ("SGE", "JOB_ID", "SGE_ROOT"),
)

_LITTLE_SECONDS = 10 * 60.0


def versions() -> str:
    """Return the versions of jobtool and Python."""
    return f"jobtool {__version__}, Python {platform.python_version()}"


def surrounding_results(
    environ: Mapping[str, str],
    environment: Environment,
    views: list[View],
    told_versions: list[str],
) -> Iterator[CheckResult]:
    """Yield the checks of rank 0's environment; ``told_versions`` are those of all ranks."""
    around = Subject("surroundings")
    if len(set(told_versions)) == 1:
        yield around.passed("versions", told_versions[0])
    else:
        yield around.warned(
            "versions",
            "ranks differ: " + named(sorted(set(told_versions))),
            "Start all ranks from one environment.",
        )
    yield _ranks(around, environment, views)
    yield from _scheduler(around, environ)


def _ranks(around: Subject, environment: Environment, views: list[View]) -> CheckResult:
    if environment.communicator is None and environment.size > 1:
        return around.warned(
            "ranks",
            f"{environment.size} processes that can't talk to each other: only rank 0 looked",
            "Install mpi4py with an MPI library that your launcher knows, or start two ranks on "
            "two nodes by mpirun.",
        )
    mpi = f" ({mpi_versions()})" if environment.is_mpi else ", not started by mpirun"
    by_host: dict[str, int] = {}
    for view in views:
        by_host[view.host] = by_host.get(view.host, 0) + 1
    shown = named([f"{count} on {host}" for host, count in sorted(by_host.items())])
    one = len(views) == 1
    return around.passed("ranks", f"{'one process' if one else shown}{mpi}")


def _scheduler(around: Subject, environ: Mapping[str, str]) -> Iterator[CheckResult]:
    seen = [
        (name, environ[variable])
        for name, variable, needed in _JOB_NUMBERS
        if environ.get(variable) and (not needed or needed in environ)
    ]
    if not seen:
        yield around.passed("scheduler", "none: only you stop the workers")
        return
    name, number = seen[0]
    yield around.passed("scheduler", f"{name}, job {number}")
    ignored: list[str] = []
    deadline = find_deadline(None, environ, now=time.time(), warn=ignored.append)
    if ignored:
        advice = "It may be left from another job. Correct or unset it, or use --time-limit."
        yield around.warned("time left", "; ".join(ignored), advice)
        return
    if deadline is None:
        yield around.passed(
            "time left", f"unknown, since {name} doesn't say; a worker that is killed is resumed"
        )
        return
    found = f"{in_seconds(deadline.seconds)} (by {deadline.source})"
    if deadline.seconds < _LITTLE_SECONDS:
        advice = "Ask for more time. What a worker has proven isn't lost when time runs out."
        yield around.warned("time left", found, advice)
    else:
        yield around.passed("time left", found)
