"""Batch scripts for Slurm."""

from __future__ import annotations

from jobtool.batch.mail import slurm_mail_types
from jobtool.batch.request import BatchRequest
from jobtool.batch.shell import DRAIN, joblist_lines, run_lines

_HEADER = """\
# Written by `jobtool sbatch`. It is yours to edit. To run it, save it and submit it:
#
#     sbatch {name}.sbatch
#
# --signal asks Slurm to warn this shell (B:) {grace} seconds before the time limit. Slurm checks
# only now and then, so the warning may come up to a minute earlier.
# --open-mode makes a job that runs again append to its log.
{requeue}
#
# Slurm passes the environment of `sbatch` on to the job. If transfer-worker isn't found, activate
# its environment here: module load ..., or source .../bin/activate
"""

_REQUEUES = """\
# --requeue allows the job to go back to the queue, which the end of this script does while work
# is left."""

_REMAINS = """\
# --no-requeue: if time runs out before the work does, submit the script again."""

_SIGNALS = (
    """\
# Ask the workers to finish what is in progress and hand their jobs back. Signals go to the process
# that started them; mpirun and srun pass USR1 on, whereas TERM makes mpirun kill its workers.
"""
    + DRAIN
    + """\
trap drain USR1                         # time is nearly up
trap 'is_cancelled=yes; drain' TERM     # scancel, preemption, the end
"""
)

_AGAIN = """\
# 3 means: stopped in time, work is left. A job that a user has cancelled must not come back,
# although Slurm would allow it.
if [ "$code" -eq 3 ] && [ "$is_cancelled" = no ]; then
    # An element by its index: the $SLURM_JOB_ID of one element is that of the whole array.
    self=${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}${SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}
    echo "Work is left: job $self goes back to the queue."
    scontrol requeue "$self" || echo "Could not requeue it: submit the script again." >&2
fi
"""


def slurm_script(request: BatchRequest) -> str:
    """Return a script for ``sbatch``."""
    log = f"{request.job_name}-{'%j' if request.array is None else '%A_%a'}.log"
    directives = {
        "job-name": request.job_name,
        "partition": request.partition,
        "account": request.account,
        "array": request.array,
        "ntasks": request.tasks,
        "cpus-per-task": request.cpus_per_task,
        "time": request.time,
        "signal": f"B:USR1@{request.grace_seconds}",
        "output": log,
        "open-mode": "append",
        "mail-user": request.mail_user,
        "mail-type": slurm_mail_types(request.mails_for) or None,
    }
    lines = [f"#SBATCH --{name}={value}" for name, value in directives.items() if value is not None]
    lines.append("#SBATCH --requeue" if request.requeue else "#SBATCH --no-requeue")
    header = _HEADER.format(
        name=request.job_name,
        grace=request.grace_seconds,
        requeue=_REQUEUES if request.requeue else _REMAINS,
    )
    pieces = ["#!/bin/bash\n" + "\n".join(lines) + "\n", header, joblist_lines(request), _SIGNALS]
    pieces += [run_lines(request), *([_AGAIN] if request.requeue else []), 'exit "$code"\n']
    return "\n".join(pieces)
