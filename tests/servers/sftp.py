"""OpenSSH's server on loopback: one process, one port for each way that a site may set it up."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.commands import unused_port
from tests.needs import need, search_path

_START_SECONDS = 30
_LIFETIME_SECONDS = 5400  # a server that outlives its test run ends itself after this

#: What a port's sessions get: a shell, or sftp-server with these options.
_PORTS = {
    "shell": None,
    "sftp_only": "",
    "plain": "-P posix-rename,hardlink,fsync,statvfs,lsetstat,limits",  # no extension of OpenSSH
    "read_only": "-R",
    "silent": None,  # of which no session is ever answered
}

_CONFIG = """
ListenAddress 127.0.0.1
HostKey {folder}/host
AuthorizedKeysFile {folder}/authorized
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
StrictModes no
UsePAM no
PidFile none
MaxStartups 100
LogLevel VERBOSE
Subsystem sftp internal-sftp
"""


@dataclass(frozen=True, kw_only=True, eq=False)
class SftpServer:
    """A running server. ``folder`` holds its keys and its log, ``ports`` the port of each kind."""

    folder: Path
    user: str
    ports: dict[str, int]

    @property
    def config(self) -> Path:
        """An ssh_config with the identity file, and the Host ``lab`` for the port with a shell."""
        return self.folder / "ssh_config"

    @property
    def identity(self) -> Path:
        """The private key that logs in."""
        return self.folder / "id"

    @property
    def known_hosts(self) -> Path:
        """The file with the host's key, for each port."""
        return self.folder / "known_hosts"

    @property
    def log(self) -> str:
        """What the server has logged."""
        return (self.folder / "sshd.log").read_text(errors="replace")

    def authority(self, kind: str = "shell") -> str:
        """The part of a URL after ``sftp://``."""
        return f"{self.user}@127.0.0.1:{self.ports[kind]}"

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs in its environment to use this server: its configuration's home."""
        home = self.folder / "home"
        (home / ".ssh").mkdir(parents=True, exist_ok=True)
        (home / ".ssh" / "config").write_text(self.config.read_text())
        return {"HOME": str(home)}

    def trust_port(self, port: int) -> None:
        """Make the host's key known for another port of this machine, such as a proxy's."""
        line = self.known_hosts.read_text().splitlines()[0]
        with self.known_hosts.open("a") as file:
            file.write(f"[127.0.0.1]:{port} {line.partition(' ')[2]}\n")

    def settings(self) -> dict[str, str]:
        """The table ``[sftp]`` with which this server can be used, and no file in ``~/.ssh``."""
        return {
            "config": str(self.config),
            "known_hosts": str(self.known_hosts),
            "identity_file": str(self.identity),
        }


@contextlib.contextmanager
def sftp_server(folder: Path) -> Iterator[SftpServer]:
    """Run sshd with its keys in ``folder``. Any other user of this machine is refused."""
    need("sshd", "ssh-keygen", packages="openssh-server openssh-client")
    folder.chmod(0o700)
    ports = {kind: unused_port() for kind in _PORTS}
    server = SftpServer(folder=folder, user=getpass.getuser(), ports=ports)
    for name in ("host", "id", "other"):
        new_key(folder / name)
    (folder / "authorized").write_text((folder / "id.pub").read_text())
    kind, key, *_ = (folder / "host.pub").read_text().split()
    lines = [f"[127.0.0.1]:{port} {kind} {key}\n" for port in ports.values()]
    server.known_hosts.write_text("".join(lines))
    server.config.write_text(
        f"Host lab\n  HostName 127.0.0.1\n  Port {ports['shell']}\n  User {server.user}\n"
        f"Host *\n  IdentityFile {server.identity}\n  IdentitiesOnly yes\n"
        f"  UserKnownHostsFile {server.known_hosts}\n"
    )
    config = folder / "sshd_config"
    config.write_text(_config(folder, ports))
    if os.geteuid() == 0:
        os.makedirs("/run/sshd", mode=0o755, exist_ok=True)  # where sshd drops its privileges
    program = shutil.which("sshd", path=search_path())
    command = ["timeout", str(_LIFETIME_SECONDS), str(program), "-D", "-e", "-f", str(config)]
    with (
        (folder / "sshd.log").open("wb") as log,
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log) as process,
    ):
        try:
            for port in ports.values():
                _wait_for_greeting(server, process, port)
            yield server
        finally:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()


def new_key(path: Path) -> None:
    """Make a key pair without a passphrase."""
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", path.name, "-f", str(path)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


def _config(folder: Path, ports: dict[str, int]) -> str:
    listening = "".join(f"Port {port}\n" for port in ports.values())
    blocks = "".join(
        f"Match LocalPort {ports[kind]}\n  ForceCommand internal-sftp {options}\n"
        for kind, options in _PORTS.items()
        if options is not None
    )
    silent = f"Match LocalPort {ports['silent']}\n  ForceCommand cat > /dev/null\n"
    return listening + _CONFIG.format(folder=folder) + blocks + silent


def _wait_for_greeting(server: SftpServer, process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, f"sshd ended before it served: {server.log}"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5) as made:
            if made.recv(4) == b"SSH-":
                return
        time.sleep(0.02)
    raise AssertionError(f"sshd didn't serve within {_START_SECONDS} s: {server.log}")
