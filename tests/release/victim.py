"""A ``jobtool release`` that kills itself at a named point, as the kernel would: SIGKILL.

Run as ``python -m tests.release.victim POINT NTH JOBLIST [--empty-trash]``: it dies at the NTH time
that POINT is reached, or ends with the command's exit code.
"""

from __future__ import annotations

import itertools
import sys

from jobtool.failpoints import Failpoint, install
from tests.faults.victim import die

#: The points of a release, with those that only ``--empty-trash`` reaches.
MOVING: tuple[Failpoint, ...] = (
    "before a deletion's record",
    "after a deletion's record",
    "before files are moved to the trash",
    "before a file is moved to the trash",
    "after a file is moved to the trash",
)
REMOVING: tuple[Failpoint, ...] = (
    "before a deletion's record",
    "after a deletion's record",
    "before a file is removed from the trash",
    "after a file is removed from the trash",
)


def main() -> None:
    """Release a joblist, and die at the point."""
    point, nth, joblist, *options = sys.argv[1:]
    number = itertools.count(1)

    def hook(reached: Failpoint, *subjects: object) -> None:
        if reached == point and next(number) == int(nth):
            die()

    install(hook)
    from jobtool.cli.release import cli

    cli.main([joblist, "--yes", "--keep-days", "0", *options], standalone_mode=False)


if __name__ == "__main__":
    main()
