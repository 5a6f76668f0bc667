"""jobtool as its users have it: in a virtual environment with nothing else, made by ``make bench``.

The environment of the tests has more packages, some of which botocore loads where they are: such a
start takes 0.1 s longer.
"""

from __future__ import annotations

import sys
from pathlib import Path

#: The programs of the environment of this process.
BIN = Path(sys.executable).parent


def jobtool_program(name: str) -> str:
    """Return the path of one of jobtool's programs, that of ``make bench`` if it is there."""
    found = BIN.parent / "users/bin" / name
    return str(found if found.exists() else BIN / name)
