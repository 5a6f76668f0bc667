"""A real server of Azure Blob Storage on loopback: Azurite, Microsoft's own emulator."""

from __future__ import annotations

import contextlib
import re
import secrets
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.needs import need
from tests.servers.installed import installed

if TYPE_CHECKING:
    from azure.storage.blob import BlobServiceClient

ACCOUNT = "devstoreaccount1"
#: Azurite's well-known key, which is public.
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

_MAIN = ("node_modules", "azurite", "dist", "src", "blob", "main.js")
_START_SECONDS = 60
_LIFETIME_SECONDS = 5400  # a server that outlives its test run ends itself after this


@dataclass(frozen=True, kw_only=True)
class AzureServer:
    """A running server."""

    url: str

    @property
    def account_url(self) -> str:
        """The URL of its account."""
        return f"{self.url}/{ACCOUNT}"

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs in its environment to use this server and nothing else."""
        return {"AZURE_STORAGE_CONNECTION_STRING": self.connection_string}

    def set_in(self, patch: pytest.MonkeyPatch) -> None:
        """Set its environment in this process."""
        for name, value in self.environment.items():
            patch.setenv(name, value)

    @property
    def connection_string(self) -> str:
        return (
            f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};"
            f"BlobEndpoint={self.account_url};"
        )

    @cached_property
    def client(self) -> BlobServiceClient:
        """A plain client, which shares nothing with the code under test."""
        from azure.storage.blob import BlobServiceClient

        credential = {"account_name": ACCOUNT, "account_key": KEY}
        return BlobServiceClient(self.account_url, credential=credential)

    def new_container(self) -> str:
        """Make an empty container of a new name."""
        name = f"container-{secrets.token_hex(6)}"
        self.client.create_container(name)
        return name


@contextlib.contextmanager
def azurite_server(
    folder: Path, *, certificate: Path | None = None, is_in_memory: bool = True
) -> Iterator[AzureServer]:
    """Run Azurite on a free port, with everything in memory or in ``folder``.

    With a ``certificate``, a PEM file that holds its key as well, it speaks TLS and takes the
    tokens of logins. It looks at their times and issuer, not at their signature.
    """
    need("node", packages="nodejs")
    log = folder / "azurite.log"
    command = [
        *("timeout", str(_LIFETIME_SECONDS), "node", installed("azurite", *_MAIN)),
        *("--blobHost", "127.0.0.1", "--blobPort", "0"),
        "--skipApiVersionCheck",  # it knows fewer versions of the API than the library
        *("--silent", "--disableTelemetry"),
    ]
    command += ["--inMemoryPersistence"] if is_in_memory else ["--location", str(folder)]
    if certificate is not None:
        command += ["--cert", str(certificate), "--key", str(certificate), "--oauth", "basic"]
    with (
        log.open("wb") as output,
        subprocess.Popen(command, stdout=output, stderr=output, cwd=folder) as process,
    ):
        try:
            yield AzureServer(url=_announced_url(process, log))
        finally:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()


def _announced_url(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        text = log.read_text()
        if match := re.search(r"successfully listens? on (https?://\S+)", text):
            return match.group(1)
        assert process.poll() is None, f"Azurite ended before it served: {text}"
        time.sleep(0.05)
    raise AssertionError(f"Azurite didn't serve within {_START_SECONDS} s: {log.read_text()}")
