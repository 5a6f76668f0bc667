"""The making of packages that kills itself, as the kernel would, at the NTH time of a point.

Run as ``python -m tests.bundling.victim POINT NTH SOURCE JOBLIST DESTINATION``.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
from typing import Any

import jobtool
from jobtool.failpoints import install


def main() -> None:
    point, nth, source, joblist, destination = sys.argv[1:]
    counter = itertools.count(1)

    def hook(reached: str, *subjects: Any) -> None:
        if reached == point and next(counter) == int(nth):
            os.kill(os.getpid(), signal.SIGKILL)

    install(hook)
    jobtool.generate_packages(source, joblist, destination=destination, package_bytes=100)


if __name__ == "__main__":
    main()
