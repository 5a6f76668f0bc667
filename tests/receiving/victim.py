"""``jobtool receive`` that kills itself at a named point, as the kernel would: SIGKILL.

Run as ``python -m tests.receiving.victim POINT NTH ARGUMENT...``: it dies at the NTH time that
POINT is reached. One that never reaches it ends as the command does.
"""

from __future__ import annotations

import os
import signal
import sys

from jobtool.cli.main import main as jobtool
from jobtool.failpoints import install


def main() -> None:
    """Run the command."""
    point, nth, *arguments = sys.argv[1:]
    left = int(nth)

    def die(reached: str, *subjects: object) -> None:
        nonlocal left
        left -= reached == point
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)

    install(die)
    sys.argv = ["jobtool", "receive", *arguments]
    jobtool()


if __name__ == "__main__":
    main()
