"""``jobtool COMMAND…``, killed at a step or at a random moment.

``python -m tests.staging.victim STEP NTH COMMAND…`` dies at a step. ``… anywhere NTH COMMAND…``
dies up to ``LONGEST_SECONDS`` after the NTH step of any kind: so it is killed in the middle of its
work however fast the machine is.
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import sys
import threading
import time

from jobtool.failpoints import Failpoint, install
from tests.faults.victim import STAGING_STEPS, STEPS, UNSTAGING_STEPS, arm, store_class

LONGEST_SECONDS = 0.02


def main() -> None:
    """Run the command, and die at the step."""
    step, nth, *command = sys.argv[1:]
    if step == "anywhere":
        die_after(int(nth))
    else:
        arm({**STEPS, **STAGING_STEPS, **UNSTAGING_STEPS}[step], int(nth), store_class("/"))
    from jobtool.cli import main as jobtool

    sys.argv = ["jobtool", *command]
    jobtool.main()


def die_after(nth: int) -> None:
    """Have this process killed soon after the ``nth`` step, while it goes on with its work."""
    counted = itertools.count(1)

    def die() -> None:
        time.sleep(random.uniform(0, LONGEST_SECONDS))
        os.kill(os.getpid(), signal.SIGKILL)

    def hook(point: Failpoint, *subjects: object) -> None:
        if next(counted) == nth:
            threading.Thread(target=die).start()  # the process waits for it before it ends

    install(hook)


if __name__ == "__main__":
    main()
