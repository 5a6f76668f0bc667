"""The part of a batch script that is the same under every scheduler."""

from __future__ import annotations

import shlex

from jobtool.batch.request import BatchRequest

_MPIRUN = """\
# --continuous: if a node is lost, Open MPI leaves the workers on other nodes alive. Other kinds of
# mpirun don't have this option; remove it there.
# --bind-to none: the threads of a worker may use any core of the job."""

_SRUN = """\
# --kill-on-bad-exit=0: if a node is lost, srun leaves the workers on other nodes alive."""

_STOPS = """\
# Somebody may stop the workers (`jobtool stop`). Then this script must not come back.
last_stop() { sed -n '/"stop": {/,/}/p' "$joblist/control.json" 2> /dev/null; }
stop_before=$(last_stop)
"""

#: Lines for before the workers start: ``drain`` hands a signal on to them, once there are any.
DRAIN = """\
workers=
is_draining=no
is_cancelled=no
drain() { is_draining=yes; [ -z "$workers" ] || kill -USR1 "$workers" 2> /dev/null; }
"""

_WAIT = """\
workers=$!
[ "$is_draining" = no ] || drain        # the signal came before $workers was known

# `wait` returns early when a signal comes: call it again until the workers have really ended. Then
# it returns their exit code.
while kill -0 "$workers" 2> /dev/null; do wait "$workers"; done
wait "$workers"
code=$?
[ "$(last_stop)" = "$stop_before" ] || is_cancelled=yes
"""


def joblist_lines(request: BatchRequest) -> str:
    """Return the assignment of the joblist, safe for any name."""
    return f"joblist={shlex.quote(request.joblist)}\n"


def run_lines(request: BatchRequest, *options: str) -> str:
    """Return the lines that start the workers in the background and wait for their end.

    ``options`` are for each worker, in addition to those that every script gives. Afterwards
    ``code`` is the exit code. ``workers`` is the process to which signals must be sent.
    """
    worker = ["transfer-worker", "-i", '"$joblist"', "--grace", str(request.grace_seconds)]
    worker += map(shlex.quote, (*options, *request.worker_options))
    comment, launcher = _launcher(request)
    lines = ["# In the background, so that this shell can take signals meanwhile.", *comment]
    start = " ".join([*launcher, *worker]) + " &"
    return "\n".join([_STOPS, *lines, start, _WAIT])


def _launcher(request: BatchRequest) -> tuple[list[str], list[str]]:
    """Return the comments and the words that start ``request.tasks`` workers."""
    launcher = request.launcher or ("mpirun" if request.tasks > 1 else None)
    if launcher == "mpirun":
        return [_MPIRUN], ["mpirun", "--continuous", "--bind-to", "none", "-n", str(request.tasks)]
    if launcher == "srun":
        words = ["srun", "--kill-on-bad-exit=0", f"--ntasks={request.tasks}"]
        if request.cpus_per_task is not None:  # srun no longer takes it from the job (22.05)
            words.append(f"--cpus-per-task={request.cpus_per_task}")
        return [_SRUN], words
    return [], []
