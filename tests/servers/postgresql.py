"""A real PostgreSQL on loopback, for all test processes of a run."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.needs import lack, need, search_path
from tests.servers.hdfs import LIFETIME_SECONDS, free_ports

OWNER, PASSWORD = "owner", 'pass\'word \\ of "tests"'
READER, READER_PASSWORD = "reader", "password-of-reader"
DATABASE = "tests"

_START_SECONDS = 60

_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",
    "autovacuum": "off",
    "shared_buffers": "32MB",
    "max_connections": "40",
    "dynamic_shared_memory_type": "mmap",
}

_SETUP = f"""
CREATE DATABASE {DATABASE};
CREATE ROLE {READER} LOGIN PASSWORD '{READER_PASSWORD}';
"""

#: A table that only the owner may read, and types of users' own.
_OBJECTS = """
CREATE TABLE private AS SELECT 1 AS a;
CREATE TYPE mood AS ENUM ('sad', 'glad');
CREATE TYPE pair AS (a numeric(5,2), b text);
CREATE DOMAIN price AS numeric(12,3);
"""


@dataclass(frozen=True, kw_only=True)
class PostgresServer:
    """A running server, with a superuser and a user who may read nothing that isn't granted."""

    port: int
    programs: str

    def url(self, *, driver: str = "", user: str = OWNER, database: str = DATABASE) -> str:
        return f"postgresql{driver}://{user}@127.0.0.1:{self.port}/{database}"

    def run(self, sql: str, *, database: str = DATABASE) -> str:
        """Run statements by psql, which shares only libpq with the code under test."""
        done = subprocess.run(
            [
                *(f"{self.programs}/psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"),
                *("-h", "127.0.0.1", "-p", str(self.port), "-U", OWNER, "-d", database, "-f", "-"),
            ],
            input=sql.encode(),
            capture_output=True,
            env={**os.environ, "PGPASSWORD": PASSWORD},
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode().strip()


def _programs() -> str:
    """Return the folder of the server's programs: Debian has them outside of the path."""
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: p.parts[4])
    found = str(places[-1]) if places else shutil.which("initdb", path=search_path())
    if found is None:
        lack("initdb not found: apt-get install postgresql")
    return os.path.dirname(found)


@contextlib.contextmanager
def postgres_server(shared: Path) -> Iterator[PostgresServer]:
    """Run a server, or use the one that another process has noted in the folder ``shared``.

    The processes count themselves by locks. The last one stops the server.
    """
    programs = _programs()
    need("timeout", "setpriv", packages="coreutils util-linux")
    shared.mkdir(parents=True, exist_ok=True)
    with (shared / "users").open("wb") as users:
        with _locked(shared / "lock"):
            fcntl.flock(users, fcntl.LOCK_SH)
            ready = shared / "ready.json"
            if not ready.exists():
                ready.write_text(json.dumps(_start(programs)))
            found = json.loads(ready.read_text())
        try:
            yield PostgresServer(port=found["port"], programs=programs)
        finally:
            with _locked(shared / "lock"):
                try:
                    fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    pass  # others use it
                else:
                    ready.unlink()
                    _stop(found["process"], Path(found["folder"]))


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _start(programs: str) -> dict[str, object]:
    # pytest's folders are closed to other users, and the server refuses to run as root.
    folder = Path(tempfile.mkdtemp(prefix="jobtool-postgresql-"))
    other: list[str] = []
    password = folder / "password"
    password.write_text(PASSWORD + "\n")
    if os.geteuid() == 0:
        for path in (folder, password):
            shutil.chown(path, "postgres", "postgres")
        other = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
    try:
        subprocess.run(
            [
                *(*other, f"{programs}/initdb", "-D", str(folder / "data"), "-U", OWNER),
                *("-A", "scram-sha-256", f"--pwfile={password}", "--no-sync"),
                *("--encoding=UTF8", "--locale=C"),
            ],
            check=True,
            capture_output=True,
            cwd="/",
            timeout=_START_SECONDS,
        )
        (port,) = free_ports(1)
        settings = [part for item in _SETTINGS.items() for part in ("-c", "=".join(item))]
        command = ["timeout", "-s", "INT", str(LIFETIME_SECONDS), *other, f"{programs}/postgres"]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [*command, "-D", str(folder / "data"), "-p", str(port), *settings],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,
            )
        _wait_until_ready(process, port, folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    server = PostgresServer(port=port, programs=programs)
    server.run(_SETUP, database="postgres")
    server.run(_OBJECTS)
    return {"port": port, "process": process.pid, "folder": str(folder)}


def _wait_until_ready(process: subprocess.Popen[bytes], port: int, folder: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while b"ready to accept connections" not in (folder / "log").read_bytes():
        assert process.poll() is None, (folder / "log").read_text()
        assert time.monotonic() < deadline, "PostgreSQL doesn't start"
        time.sleep(0.02)
    socket.create_connection(("127.0.0.1", port), 5).close()


def _stop(process: int, folder: Path) -> None:
    deadline = time.monotonic() + 20
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGINT)  # `timeout` passes it on: a fast shutdown
    while (folder / "data" / "postmaster.pid").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    shutil.rmtree(folder, ignore_errors=True)
