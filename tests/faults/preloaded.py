"""Processes whose calls of the C library fail as configured, by ``faults.c``."""

from __future__ import annotations

import atexit
import errno
import functools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.commands import environment
from tests.needs import need

ALWAYS = -1


@functools.cache
def faults_library() -> str:
    """Compile ``faults.c``, once for all tests of this process; return the library's path."""
    need("cc", packages="gcc libc6-dev")
    folder = tempfile.mkdtemp(prefix="jobtool-faults-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    library = os.path.join(folder, "faults.so")
    source = Path(__file__).with_name("faults.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return library


def preloaded(
    library: str, *, call: str, where: str, code: str, skip: int = 0, times: int = ALWAYS
) -> dict[str, str]:
    """Return an environment in which a call on a path with ``where`` in it fails."""
    number = getattr(errno, code)
    fault = f"{call}:{where}:{number}:{skip}:{times}"
    return environment({"LD_PRELOAD": library, "FAULT": fault})
