"""A real FTP server on loopback: pyftpdlib, with and without TLS."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.needs import lack, need

LOGIN, PASSWORD = "reader", "password-of-tests"

_LIFETIME_SECONDS = 5400

_PROGRAM = r"""
import logging, sys
from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler, TLS_FTPHandler
from pyftpdlib.servers import FTPServer

folder, login, password, log = sys.argv[1:]
logging.basicConfig(filename=log, level=logging.DEBUG)
authorizer = DummyAuthorizer()
authorizer.add_user(login, password, folder)
authorizer.add_anonymous(folder)

class Plain(FTPHandler):
    pass

class Tls(TLS_FTPHandler):
    pass

class Old(FTPHandler):
    proto_cmds = {k: v for k, v in FTPHandler.proto_cmds.items() if k not in ("MLSD", "MLST")}

class Few(FTPServer):
    max_cons_per_ip = 2

servers = []
for handler in (Plain, Tls, Old):
    handler.authorizer = authorizer
    handler.encoding, handler.unicode_errors = "utf-8", "surrogateescape"
    if handler is Tls:
        handler.certfile = folder + "/../pem"
        handler.tls_control_required = handler.tls_data_required = True
    servers.append(FTPServer(("127.0.0.1", 0), handler))
servers.append(Few(("127.0.0.1", 0), Plain))
print(*(server.address[1] for server in servers), flush=True)
servers[0].serve_forever()  # they share one loop
"""


@dataclass(frozen=True, kw_only=True)
class FtpServer:
    """A running server and its ports. ``old`` has no MLSD, ``few`` only two connections."""

    folder: Path
    plain: int
    tls: int
    old: int
    few: int

    @property
    def files(self) -> Path:
        return self.folder / "files"

    @property
    def certificate(self) -> str:
        return str(self.folder / "crt")

    def log(self) -> str:
        """What the server has logged so far: each command and its answer."""
        return (self.folder / "log").read_text(errors="replace")


@contextlib.contextmanager
def ftp_server(folder: Path) -> Iterator[FtpServer]:
    """Run pyftpdlib over ``folder``/files, for a user and for anonymous readers."""
    try:
        import OpenSSL  # noqa: F401 - pyftpdlib needs it for TLS
        import pyftpdlib  # noqa: F401
    except ImportError as error:
        lack(f"{error.name} is not installed: pip install pyftpdlib pyopenssl")
    need("openssl", "timeout", packages="openssl coreutils")
    (folder / "files").mkdir()
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"),
            *("-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", folder / "key", "-out", folder / "crt"),
        ],
        check=True,
        capture_output=True,
    )
    (folder / "pem").write_bytes((folder / "crt").read_bytes() + (folder / "key").read_bytes())
    command = ["timeout", str(_LIFETIME_SECONDS), sys.executable, "-c", _PROGRAM]
    command += [str(folder / "files"), LOGIN, PASSWORD, str(folder / "log")]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, "pyftpdlib didn't start"
            plain, tls, old, few = map(int, line.split())
            yield FtpServer(folder=folder, plain=plain, tls=tls, old=old, few=few)
        finally:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
