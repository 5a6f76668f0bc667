"""Where `.ci/install-test-servers` has put the servers that pip can't bring."""

from __future__ import annotations

import os

from tests.needs import lack


def installed(name: str, *path: str) -> str:
    """Return the absolute path of a file or folder of the server ``name``.

    Without it the test is skipped, or fails in CI.
    """
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    base = os.environ.get("JOBTOOL_TEST_SERVERS") or os.path.join(cache, "jobtool-test-servers")
    found = os.path.join(base, name, *path)
    if not os.path.exists(found):
        lack(f"{found} not found: .ci/install-test-servers {name}")
    return found
