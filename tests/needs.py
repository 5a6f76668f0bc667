"""What a test needs of the machine: without it the test is skipped, or fails with ``CI=true``."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import NoReturn

import pytest


def need(*programs: str, packages: str) -> None:
    """Require programs on the path; Debian has them in ``packages``."""
    missing = [name for name in programs if shutil.which(name, path=search_path()) is None]
    if missing:
        lack(f"{', '.join(missing)} not found: apt-get install {packages}")


def need_fuse() -> None:
    """Require bindfs and its device."""
    need("bindfs", "fusermount", packages="bindfs fuse")
    if not os.access("/dev/fuse", os.W_OK):
        lack("no /dev/fuse that this user may use")


def need_hosts() -> None:
    """Require the right to give processes other hostnames, which root has."""
    need("unshare", "hostname", packages="util-linux hostname")
    done = subprocess.run(["unshare", "--uts", "hostname", "node1"], capture_output=True)
    if done.returncode != 0:
        lack(f"this user may not name hosts: {done.stderr.decode().strip()}")


def need_users() -> None:
    """Require the right to become other users and to give files to them, which root has."""
    need("setpriv", packages="util-linux")
    if os.geteuid() != 0:
        lack("only root may be other users and give files to them")


def lack(reason: str) -> NoReturn:
    """Skip the test because something is missing; in CI fail it."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def search_path() -> str:
    """The path with this environment's programs, and with daemons, which a user's may lack."""
    return os.pathsep.join(
        (os.path.dirname(sys.executable), os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin")
    )
