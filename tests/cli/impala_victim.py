"""``impala-transfer`` that is killed at a point, when it has been there a number of times.

``python -m tests.cli.impala_victim POINT COUNT OPTION…``. It isn't killed if COUNT is 0.
"""

from __future__ import annotations

import os
import signal
import sys

from jobtool.cli.impala_transfer.command import main as run
from jobtool.failpoints import install


def main() -> None:
    point, left = sys.argv[1], int(sys.argv[2])
    del sys.argv[1:3]

    def hook(reached: str, *subjects: object) -> None:
        nonlocal left
        if reached == point:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    install(hook)
    run()


if __name__ == "__main__":
    main()
