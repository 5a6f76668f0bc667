"""A request for a batch script."""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from jobtool.batch.mail import DEFAULT_MAIL_TYPES, require_mail_types
from jobtool.batch.walltime import walltime_seconds
from jobtool.errors import UsageError
from jobtool.names import quote

Scheduler = Literal["slurm", "pbs"]
Launcher = Literal["mpirun", "srun"]

DEFAULT_GRACE_SECONDS = 120
DEFAULT_JOB_NAME = "transfer"

# To the shell a directive is a comment, so its values can't be quoted. These patterns allow nothing
# that ends the line, opens a quote, begins an option or is a pattern of the scheduler, such as %j.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")
_LIST_OF_NAMES = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+,@:-]*")
# An address for mail, or a name of a user: none of the shell's and Slurm's special characters.
_ADDRESS = r"[A-Za-z0-9_][A-Za-z0-9_.+-]*(@[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?)?"
_ADDRESSES = re.compile(rf"{_ADDRESS}(,{_ADDRESS})*")
# \d and int() also accept digits of other scripts; a scheduler doesn't.
_N = "[0-9]{1,9}"
_RANGE = rf"{_N}(-{_N}(:{_N})?)?"
_ARRAYS = {
    "slurm": (re.compile(rf"{_RANGE}(,{_RANGE})*(%{_N})?"), "0-15, 0-15%4 or 1,3,5-9"),
    "pbs": (re.compile(rf"{_N}-{_N}(:{_N})?(%{_N})?"), "0-15 or 0-15:2"),
}
_ENDS = re.compile(r"([0-9]+)-([0-9]+)")
_ZERO = re.compile(r"([:%])0+(?![0-9])")

# The script itself passes these options to the worker.
_TAKEN = ("--input-path", "--input_path", "--grace", "--time-limit", "--time_limit")
_TAKEN_SHORT = "-i"


class BatchRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Workers on one joblist for a scheduler to start.

    ``joblist`` is a path of any name. ``tasks`` workers run in the job, or in each element of the
    ``array``, with ``cpus_per_task`` cores each, None for the cluster's default. ``time`` is the
    wall time as ``HH:MM:SS`` or ``D-HH:MM:SS``, None for the queue's own. Workers stop
    ``grace_seconds`` before its end. With ``requeue`` a job whose workers leave work goes back to
    the queue. ``launcher`` None means mpirun for several tasks, none for one. The scheduler sends
    mail to ``mail_user`` for the events ``mail_types``, which are empty for its end and its
    failure. ``worker_options`` are passed to each worker unchanged.

    Raises ``UsageError`` for values that can't be written into a script or contradict each other.
    """

    joblist: str
    scheduler: Scheduler = "slurm"
    tasks: int = 1
    cpus_per_task: int | None = None
    array: str | None = None
    time: str | None = None
    grace_seconds: int = DEFAULT_GRACE_SECONDS
    requeue: bool = True
    job_name: str = DEFAULT_JOB_NAME
    partition: str | None = None
    account: str | None = None
    launcher: Launcher | None = None
    mail_user: str | None = None
    mail_types: tuple[str, ...] = ()
    worker_options: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _match("--job-name", self.job_name, _NAME, "letters, digits and _.+-")
        _match("--partition", self.partition, _LIST_OF_NAMES, "a name")
        _match("--account", self.account, _LIST_OF_NAMES, "a name")
        _match("--array", self.array, *_ARRAYS[self.scheduler])
        _match("--mail-user", self.mail_user, _ADDRESSES, "addresses, such as me@example.org")
        require_mail_types(self.mail_types, self.scheduler)
        if self.mail_types and self.mail_user is None:
            raise UsageError("--mail-type needs --mail-user: the address that mail goes to")
        self._check_array()
        self._check_time()
        if self.scheduler == "pbs" and self.launcher == "srun":
            raise UsageError("--launcher srun is Slurm's; with --scheduler pbs use mpirun")
        for option in self.worker_options:
            # The value of a short option may follow without a space.
            if option.startswith(_TAKEN_SHORT) or option.partition("=")[0] in _TAKEN:
                raise UsageError(
                    f"the script gives {quote(option)} to its workers itself. Leave it out."
                )
        if self.worker_options and not self.worker_options[0].startswith("-"):
            raise UsageError(
                f"expected one joblist, and options for the workers after --; found "
                f"{quote(self.worker_options[0])}"
            )

    @property
    def walltime_seconds(self) -> int | None:
        """The wall time in seconds."""
        return None if self.time is None else walltime_seconds(self.time)

    @property
    def mails_for(self) -> tuple[str, ...]:
        """The events that mail is sent for; empty without an address."""
        if self.mail_user is None:
            return ()
        return self.mail_types or DEFAULT_MAIL_TYPES

    def _check_array(self) -> None:
        array = self.array or ""
        for found in _ENDS.finditer(array):
            if int(found[1]) > int(found[2]):
                raise UsageError(
                    f"--array: expected ranges from a lower to a higher number; found {found[0]} "
                    f"in {array}. Did you mean {found[2]}-{found[1]}?"
                )
        zero = _ZERO.search(array)
        if zero is not None:
            what = "step after :" if zero[1] == ":" else "number at a time after %"
            raise UsageError(f"--array: expected a {what} of at least 1; found 0 in {array}")

    def _check_time(self) -> None:
        seconds = self.walltime_seconds
        if seconds is not None and seconds <= self.grace_seconds:
            raise UsageError(
                f"--grace {self.grace_seconds} leaves nothing of --time {self.time}: expected a "
                "shorter grace or a longer time"
            )


def _match(option: str, value: str | None, pattern: re.Pattern[str], expected: str) -> None:
    if value is not None and not pattern.fullmatch(value):
        raise UsageError(f"{option}: expected {expected}; found {quote(value)}")
