"""Kills `jobtool verify --repair` before each of its writes, by SIGKILL.

Run as ``python -m tests.faults.repair_victims JOBLIST...``: the first joblist's command dies before
its first write, the second's before its second, until one ends before its turn. Prints ``killed``
or the exit code of each. All are forks of one process, which has loaded everything.
"""

from __future__ import annotations

import functools
import itertools
import os
import signal
import sys
from typing import Any

from jobtool.audit import verify as _verify  # noqa: F401 - loaded once
from jobtool.cli.verify import cli
from jobtool.stores import registry as _registry  # noqa: F401

WRITES = ("write", "fsync", "rename", "unlink", "rmdir", "utime")


def arm(nth: int) -> None:
    """Kill this process before the ``nth`` of its writes to the joblist."""
    number = itertools.count(1)

    def armed(original: Any) -> Any:
        @functools.wraps(original)
        def call(*arguments: Any, **named: Any) -> Any:
            is_output = original.__name__ == "write" and arguments[0] in (1, 2)
            if not is_output and next(number) == nth:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*arguments, **named)

        return call

    for name in WRITES:
        setattr(os, name, armed(getattr(os, name)))


def main() -> None:
    import pyarrow.parquet  # noqa: F401

    for nth, joblist in enumerate(sys.argv[1:], start=1):
        pid = os.fork()
        if not pid:
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115
            arm(nth)
            try:
                cli.main([joblist, "--deep", "--repair"], standalone_mode=False)
            except SystemExit as end:
                os._exit(int(end.code or 0))
            os._exit(100)
        _, status = os.waitpid(pid, 0)
        if not os.WIFSIGNALED(status):
            print(os.waitstatus_to_exitcode(status))
            return
        print("killed")


if __name__ == "__main__":
    main()
