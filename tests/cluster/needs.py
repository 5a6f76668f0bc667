"""What a test needs of the machine: without it the test is skipped, in CI it fails."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest


def need(program: str, package: str) -> None:
    """Need a program on the path, which Debian has in ``package``."""
    if shutil.which(program) is None:
        lack(f"no {program}: install {package}")


def need_fuse() -> None:
    """Need bindfs and the device that it works with."""
    need("bindfs", "bindfs")
    need("fusermount", "fuse")
    if not os.access("/dev/fuse", os.W_OK):
        lack("no /dev/fuse that this user may use")


def need_hosts() -> None:
    """Need to give processes hostnames of their own, which root may."""
    need("unshare", "util-linux")
    need("hostname", "hostname")
    done = subprocess.run(["unshare", "--uts", "hostname", "node1"], capture_output=True)
    if done.returncode != 0:
        lack(f"this user may not name hosts: {done.stderr.decode().strip()}")


def lack(reason: str) -> None:
    """Skip, or fail in CI."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
