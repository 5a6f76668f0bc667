"""A joblist with one job between this machine and an SSH server, for tests of scp and rsync."""

from __future__ import annotations

import os
import signal
import stat
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import jobtool
from tests import commands
from tests.commands import wait_for
from tests.servers.sftp import SftpServer
from tests.trees import contents, events, receipts

LIARS = Path(__file__).parent / "liars.py"

#: What a program that exits with 0 may have done instead of what it was asked.
LIES = ("nothing", "half", "wrong", "other-names")

#: Names that a shell, a program's options or its patterns could take for something else.
ODD_NAMES = (
    *("-rf", "--help", "a b", "$(touch x)", ";ls", "*", "?", "[a]", "{a,b}", "~", "new\nline"),
    *("not UTF-8 \udcff", "'\"`", "é", "#c", ";c", "back\\slash", r"\#101", "a:b", "cr\rx", " "),
)


class Lab:
    """A source, a destination, a joblist. ``is_upload``: the destination is on the server."""

    def __init__(
        self,
        folder: Path,
        sftp: SftpServer,
        *,
        is_upload: bool,
        port: int | None = None,
        **settings: object,
    ) -> None:
        self.folder, self.sftp = folder, sftp
        self.source, self.out, self.joblist = folder / "in", folder / "out", folder / "list"
        self.is_upload = is_upload
        self.settings = {**sftp.settings(), **settings}
        self._port = port or sftp.ports["shell"]

    def add(self, path: str, data: bytes) -> None:
        """Add a file of the job ``item``."""
        full = os.path.join(os.fsencode(self.source), b"item", os.fsencode(path))
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "wb") as file:
            file.write(data)

    def add_odd_names(self) -> None:
        """Add files with odd names, some in folders with such names."""
        for number, name in enumerate(ODD_NAMES):
            self.add(name, b"%d" % number * 100)
            self.add(f"below/{name} /{name}", b"%d" % number * 50)
        self.add("empty", b"")
        self.add(".zgroup", b"{}")  # metadata, which goes last

    def url_of(self, folder: Path) -> str:
        """The URL of a folder of the server."""
        return f"sftp://{self.sftp.user}@127.0.0.1:{self._port}{folder}"

    def generate(self, toml: str = "") -> Path:
        """Make the joblist; return the job's file."""
        jobtool.generate_joblist(
            str(self.source) if self.is_upload else self.url_of(self.source),
            str(self.joblist),
            destination=self.url_of(self.out) if self.is_upload else str(self.out),
            layout="tree",
            stores={"sftp": self.settings},
        )
        with (self.joblist / "joblist.toml").open("a") as file:
            file.write(toml)
        return self.joblist / "item.txt"

    def transfer(self, *methods: str, **options: object) -> jobtool.Transferred:
        """Transfer in this process."""
        return jobtool.transfer_jobs(str(self.joblist), methods=methods, **options)

    def assert_done(self, **counts: int) -> None:
        """All files have arrived, proven, by these methods; nothing else is there."""
        assert contents(self.out) == contents(self.source), self.told()
        found = Counter(receipt.method or "stream" for receipt in receipts(self.joblist))
        assert found == counts, self.told()
        assert not [*self.left_behind()]

    def left_behind(self) -> Iterator[str]:
        """What programs have left at the destination."""
        for path, folders, _ in os.walk(self.out):
            yield from (f"{path}/{name}" for name in folders if name.startswith(".jobtool-"))

    def told(self) -> list[str]:
        """What the job's log says of methods."""
        return events(self.joblist / "item.txt", "method")

    def hidden_sizes(self) -> dict[str, int]:
        """The sizes of files in hidden folders of the destination."""
        found = {}
        for folder in self.left_behind():
            for path in Path(folder).rglob("*"):
                try:
                    status = path.lstat()
                except FileNotFoundError:
                    continue
                if stat.S_ISREG(status.st_mode):
                    found[str(path)] = status.st_size
        return found

    def kill_mid_way(self, method: str, *, enough: int, number: signal.Signals) -> int:
        """Run a worker until hidden files have some bytes, end it, and return its exit code.

        No file of that size may be under its name by then.
        """
        before = {*_sessions(self.sftp), *_naming(str(self.folder))}
        worker = commands.start(
            "transfer-worker", "-i", self.joblist, "--methods", method, "-v", "0"
        )
        wait_for(lambda: max(self.hidden_sizes().values(), default=0) >= enough)
        large = [name for name, data in sizes(self.out).items() if data >= enough]
        worker.send_signal(number)
        done = commands.finish(worker)
        assert not large
        # On neither side is anything left of the worker.
        wait_for(lambda: {*_sessions(self.sftp), *_naming(str(self.folder))} <= before)
        return done.exit_code


def sizes(root: Path) -> dict[str, int]:
    """The size of every file below a folder that isn't in a hidden one."""
    return {
        str(path): path.stat().st_size
        for path in root.rglob("*")
        if path.is_file() and "/.jobtool-" not in str(path)
    }


def liar(folder: Path, program: str, lie: str) -> str:
    """Put a program on a PATH of its own that tells a lie of ``liars``; return that PATH."""
    folder.mkdir(exist_ok=True)
    path = folder / program
    path.write_text(f'#!/bin/sh\nexec {sys.executable} {LIARS} {program} {lie} "$@"\n')
    path.chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


def _sessions(sftp: SftpServer) -> Iterator[int]:
    """Processes that the server has started for its clients."""
    parents, commands_of = {}, {}
    for process, parent, command in _processes():
        parents[process], commands_of[process] = parent, command
    for process, parent in parents.items():
        above = parent
        while above in parents:
            if f"{sftp.folder}/sshd_config" in commands_of[above]:
                if "timeout" not in commands_of[above].split("/")[0]:
                    yield process
                break
            above = parents[above]


def _naming(text: str) -> Iterator[int]:
    own = os.getpid()
    return (process for process, _, command in _processes() if text in command and process != own)


def _processes() -> Iterator[tuple[int, int, str]]:
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            command = Path(f"/proc/{name}/cmdline").read_bytes()
            state, parent = Path(f"/proc/{name}/stat").read_bytes().rpartition(b")")[2].split()[:2]
        except OSError:
            continue
        if state not in (b"Z", b"X"):
            yield int(name), int(parent), command.replace(b"\0", b" ").decode(errors="replace")
