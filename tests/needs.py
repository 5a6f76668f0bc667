"""Programs that pip can't install: a test without them is skipped, or fails where all must be."""

from __future__ import annotations

import os
import shutil

import pytest

from tests.commands import BIN


def need(*programs: str, packages: str) -> None:
    """Skip the test, or fail it with ``CI=true``, unless all programs are on the path."""
    missing = [name for name in programs if shutil.which(name, path=search_path()) is None]
    if not missing:
        return
    reason = f"{', '.join(missing)} not found: apt-get install {packages}"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def search_path() -> str:
    """The path with this environment's programs, and with daemons, which not every user's has."""
    return os.pathsep.join((str(BIN), os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
