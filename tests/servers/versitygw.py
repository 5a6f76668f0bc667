"""versitygw, an S3 server that checks conditions and computes checksums as AWS does.

It is written in Go: ``go install github.com/versity/versitygw/cmd/versitygw@v1.8.0``. It keeps an
object's metadata in extended attributes.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands import unused_port, wait_for
from tests.servers.s3 import ACCESS_KEY, SECRET_KEY, S3Server


@contextlib.contextmanager
def versitygw_server(folder: Path) -> Iterator[S3Server]:
    """Run versitygw over ``folder`` on a free port; a test is skipped where it isn't installed."""
    program = shutil.which("versitygw", path=f"{os.environ['PATH']}:{Path.home() / 'go/bin'}")
    if program is None:
        pytest.skip("expected versitygw in PATH or ~/go/bin; found none")
    data, port = folder / "data", unused_port()
    data.mkdir(parents=True)
    keys = {"ROOT_ACCESS_KEY": ACCESS_KEY, "ROOT_SECRET_KEY": SECRET_KEY}
    command = [program, "--port", f"127.0.0.1:{port}", "--quiet", "posix", str(data)]
    with (
        open(folder / "versitygw.log", "wb") as log,
        subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **keys}) as process,
    ):
        try:
            wait_for(lambda: process.poll() is not None or _listens(port))
            assert process.returncode is None, "versitygw ended before it served"
            yield S3Server(endpoint_url=f"http://127.0.0.1:{port}", folder=data, pid=process.pid)
        finally:
            process.terminate()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True
