"""Batch scripts for PBS: PBS Professional, OpenPBS."""

from __future__ import annotations

from jobtool.batch.mail import pbs_mail_points
from jobtool.batch.request import BatchRequest
from jobtool.batch.shell import DRAIN, joblist_lines, run_lines
from jobtool.batch.walltime import as_clock, as_units
from jobtool.errors import UsageError

_HEADER = """\
# Written by `jobtool sbatch`. It is yours to edit. To run it, save it under this name and submit it
# from the same folder:
#
#     qsub {name}.pbs
#
# -l select: {tasks} worker(s), on as many nodes as the scheduler chooses. Torque needs
# -l nodes=1:ppn={tasks} in its place, and -t for -J.
# -V passes the environment of `qsub` on to the job, and so the PATH to transfer-worker. Where that
# isn't allowed, remove it and activate the environment below.
# -r {rerun}
"""

_SIGNALS = (
    """\
# PBS gives no early warning. At the end of the wall time it sends TERM and, a few seconds later,
# KILL. So --time-limit gives the workers the time that they have, and they stop by themselves.
#
# TERM: the job was deleted, or is out of time even so. USR1: a user asks it to stop
# (qsig -s USR1). The workers then finish what is in progress and hand their jobs back.
"""
    + DRAIN
    + """\
trap drain USR1
trap 'is_cancelled=yes; drain' TERM
"""
)

_AGAIN = """\
# 3 means: stopped in time, work is left. `qrerun` is for operators on most clusters, so submit the
# script again. An element of an array submits only itself, without the line that makes an array:
# otherwise each element would start all of them.
if [ "$code" -eq 3 ] && [ "$is_cancelled" = no ]; then
    echo "Work is left: $script is submitted again."
    if ! [ -r "$script" ] || ! sed '1,/^$/ { /^#PBS -J /d }' "$script" | qsub; then
        echo "Could not submit $script: submit it by hand." >&2
    fi
fi
"""

_REMAINS = """\
# 3 means: stopped in time, work is left. Submit the script again.
"""


def pbs_script(request: BatchRequest) -> str:
    """Return a script for ``qsub``; raise ``UsageError`` if the request has no time."""
    seconds = request.walltime_seconds
    if seconds is None:
        raise UsageError(
            "--scheduler pbs needs --time: PBS gives no early warning, so the workers must know "
            "when to stop"
        )
    cores = f"ncpus={request.cpus_per_task or 1}:mpiprocs=1"
    directives = {
        "-N": request.job_name,
        "-q": request.partition,
        "-A": request.account,
        "-J": request.array,
        "-l": f"select={request.tasks}:{cores}",
        "-l walltime": as_clock(seconds),
        "-j": "oe",
        "-r": "y" if request.requeue else "n",
        "-M": request.mail_user,
        "-m": pbs_mail_points(request.mails_for) if request.mails_for else None,
    }
    lines = [
        f"#PBS {name}{'=' if ' ' in name else ' '}{value}"
        for name, value in directives.items()
        if value is not None
    ]
    header = _HEADER.format(
        name=request.job_name,
        tasks=request.tasks,
        rerun="y lets PBS run the job again when its node fails."
        if request.requeue
        else "n: PBS doesn't run the job again by itself, whatever happens.",
    )
    place = [
        'cd "$PBS_O_WORKDIR" || exit 4\n',
        f"script={request.job_name}.pbs\n" if request.requeue else "",
        joblist_lines(request),
    ]
    pieces = ["\n".join(["#!/bin/bash", *lines, "#PBS -V"]) + "\n", header, "".join(place)]
    pieces += [_SIGNALS, run_lines(request, "--time-limit", as_units(seconds))]
    pieces += [_AGAIN if request.requeue else _REMAINS, 'exit "$code"\n']
    return "\n".join(pieces)
