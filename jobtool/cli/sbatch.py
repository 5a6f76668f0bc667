"""``jobtool sbatch``: writes a batch script that runs workers until nothing is left."""

from __future__ import annotations

import os
import sys

import click

from jobtool.batch.request import (
    DEFAULT_GRACE_SECONDS,
    DEFAULT_JOB_NAME,
    BatchRequest,
    Launcher,
    Scheduler,
)
from jobtool.cli.options import comma_separated, command, input_option
from jobtool.cli.version import version_option
from jobtool.cli.wrongusage import sentence
from jobtool.errors import UsageError


@command(
    name="jobtool sbatch",
    example="jobtool sbatch source08 --array 0-7 --ntasks 4 --time 12:00:00 > transfer.sbatch",
    is_output_result=True,
)
@click.argument(
    "words", nargs=-1, type=click.UNPROCESSED, metavar="[JOBLIST] [-- WORKER_OPTION...]"
)
@input_option()
@click.option(
    "--scheduler",
    type=click.Choice(["slurm", "pbs"]),
    default="slurm",
    show_default=True,
    help="The scheduler whose directives to write.",
)
@click.option(
    "--array",
    metavar="RANGE",
    help="Elements of a job array, such as 0-15. Each runs --ntasks workers.",
)
@click.option(
    "--ntasks",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="Workers in the job, or in each element of the array.",
)
@click.option(
    "--cpus-per-task", type=click.IntRange(min=1), metavar="N", help="Cores for each worker."
)
@click.option(
    "--time", metavar="[D-]HH:MM:SS", help="The wall time. [default: Slurm's for the partition]"
)
@click.option(
    "--grace",
    "grace_seconds",
    type=click.IntRange(1, 65535),  # Slurm allows no more
    default=DEFAULT_GRACE_SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="How long before the end of the wall time the workers begin to stop.",
)
@click.option(
    "--requeue/--no-requeue",
    default=True,
    help="Whether to go back to the queue while work is left. [default: requeue]",
)
@click.option(
    "--job-name",
    default=DEFAULT_JOB_NAME,
    show_default=True,
    metavar="NAME",
    help="The job's name, and that of its log.",
)
@click.option("--partition", metavar="NAME", help="The partition; with PBS the queue.")
@click.option("--account", metavar="NAME", help="The account that the time is charged to.")
@click.option(
    "--launcher",
    type=click.Choice(["mpirun", "srun"]),
    help="What starts the workers. [default: mpirun for several, nothing for one]",
)
@click.option(
    "--mail-user", metavar="ADDRESS", help="Where the scheduler sends mail, by its own means."
)
@click.option(
    "--mail-type",
    "mail_types",
    callback=comma_separated,
    metavar="EVENTS",
    help="What it sends mail for: some of begin, end, fail, requeue, time-limit, array-tasks, all, "
    "none, separated by commas. [default: end,fail]",
)
@version_option
def cli(
    *,
    input_option: str | None,
    words: tuple[str, ...],
    scheduler: Scheduler,
    array: str | None,
    ntasks: int,
    cpus_per_task: int | None,
    time: str | None,
    grace_seconds: int,
    requeue: bool,
    job_name: str,
    partition: str | None,
    account: str | None,
    launcher: Launcher | None,
    mail_user: str | None,
    mail_types: tuple[str, ...] | None,
) -> int:
    """Print a batch script that works on a joblist until nothing is left.

    Before its time is up, the scheduler's job stops its workers. It goes back to the queue as long
    as they leave work. The script has comments and is meant to be read and edited. Options after --
    go to each worker.
    """
    from jobtool.api.places import opened
    from jobtool.batch.pbs import pbs_script
    from jobtool.batch.slurm import slurm_script

    joblist_path, worker_options = _told_apart(input_option, words)
    opened(joblist_path)
    request = BatchRequest(
        # Links stay as they are: a folder's real path here need not be its path on a node.
        joblist=os.path.abspath(os.path.expanduser(joblist_path)),
        scheduler=scheduler,
        tasks=ntasks,
        cpus_per_task=cpus_per_task,
        array=array,
        time=time,
        grace_seconds=grace_seconds,
        requeue=requeue,
        job_name=job_name,
        partition=partition,
        account=account,
        launcher=launcher,
        mail_user=mail_user,
        mail_types=mail_types or (),
        worker_options=worker_options,
    )
    _require_known(worker_options)
    script = slurm_script(request) if scheduler == "slurm" else pbs_script(request)
    # As bytes: a name that isn't UTF-8 must be written unchanged.
    sys.stdout.buffer.write(os.fsencode(script))
    sys.stdout.buffer.flush()
    return 0


def _told_apart(option: str | None, words: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """Return the joblist, from ``-i`` or the first word, and the workers' options."""
    if option is None and words and not words[0].startswith("-"):
        option, *rest = words
        words = tuple(rest)
    elif option is not None and words and not words[0].startswith("-"):
        raise UsageError(
            f"expected JOBLIST either as the argument or by -i/--input-path; found both "
            f"{words[0]} and {option}. Try --help."
        )
    if option is None:
        raise UsageError(
            "expected JOBLIST either as the argument or by -i/--input-path; found neither. "
            "Try --help."
        )
    return option, words


def _require_known(options: tuple[str, ...]) -> None:
    """Raise ``UsageError`` for options that would end each worker at its start."""
    from jobtool.cli.logfile import log_path
    from jobtool.cli.transfer import cli as worker
    from jobtool.worker.order import require_order

    after = "What stands after -- is for the workers: see transfer-worker --help."
    for word in options:
        if word in ("-h", "--help", "--version"):
            raise UsageError(f"expected options to work with; found {word}. {after}")
    try:
        found = worker.make_context("transfer-worker", list(options)).params
    except click.ClickException as error:
        raise UsageError(f"{sentence(error.format_message())} {after}") from None
    try:
        require_order(found["order"] or "name")
        if found["log_file"] is not None:
            log_path(found["log_file"], host="", pid=0, rank=0, size=1)
    except UsageError as error:
        raise UsageError(f"{error} {after}") from None
    if found["input_argument"] is not None:
        raise UsageError(f"expected options only; found {found['input_argument']}. {after}")
