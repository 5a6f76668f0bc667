"""A further worker of ``impala-transfer``, in a process of its own.

``python -m jobtool.cli.impala_transfer.helper TASK`` is a ``transfer-worker``, which the kernel
kills when the process that started it has ended, whatever ends it (prctl(2), PR_SET_PDEATHSIG).
TASK is a ``HelperTask`` as JSON.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

import msgspec

from jobtool import typed
from jobtool.cli.console import INFO, Console, print_error
from jobtool.cli.running import run_worker
from jobtool.cli.stopsignals import stop_signals, stopping
from jobtool.cli.utf8 import ensure_utf8
from jobtool.errors import JobtoolError
from jobtool.redact import redact_tracebacks
from jobtool.stop import Stop

_PR_SET_PDEATHSIG = 1

#: What the first worker prints for all.
_OF_THE_FIRST = frozenset({"jobs-found", "scanning", "claims", "limits"})


class HelperTask(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker is to do: ``number`` is its own, from 2, ``parent`` the process that counts."""

    parent: int
    number: int
    joblist: str
    methods: tuple[str, ...] | None
    verbosity: int
    as_json: bool


class _Console(Console):
    """One that leaves the first lines of a worker to the first of them."""

    def note(self, text: str, symbol: str = INFO) -> None:
        """Print warnings."""
        if symbol != INFO:
            super().note(text, symbol)


def main() -> None:
    """Run the worker."""
    ensure_utf8()
    redact_tracebacks()
    task = typed.decode(sys.argv[1], HelperTask)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != task.parent:
        os._exit(128 + signal.SIGKILL)
    console = _Console(
        verbosity=task.verbosity, as_json=task.as_json, place={"worker": task.number}
    )
    console.quiet_kinds = _OF_THE_FIRST
    stop, signals = Stop(), stop_signals()
    try:
        with stopping(stop, signals):
            code = run_worker(
                stop,
                signals,
                joblist_path=task.joblist,
                time_limit=None,
                grace=None,
                credentials={},
                trust=False,
                dry_run=False,
                verbosity=task.verbosity,
                as_json=task.as_json,
                chosen={"wait": True, "share": True, "methods": task.methods},
                console=console,
            )
    except JobtoolError as error:
        print_error(str(error))
        code = error.exit_code
    sys.exit(code)


if __name__ == "__main__":
    main()
