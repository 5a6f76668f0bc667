"""The method ``scp``: from or to an SSH server, by OpenSSH's scp over SFTP.

Files land under numbers in a hidden folder of the destination (``methods.landing``), and the store
gives each its name once it is whole. Files that go to a server are given to scp by links of those
numbers, hundreds at a time over one connection. For files that come from a server scp connects once
for each. It resumes nothing within a file.
"""

from __future__ import annotations

import os
import re
import shlex
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence

from jobtool.methods.landing import Landing
from jobtool.methods.method import MethodContext, MethodFile
from jobtool.methods.overssh import (
    ProgramOverSsh,
    Sides,
    failure_over_ssh,
    sides_of,
    version_of,
)
from jobtool.methods.program.log import ProgramLog
from jobtool.methods.program.running import Running
from jobtool.methods.program.surroundings import environment_for
from jobtool.methods.ssh import (
    SSH,
    remote_path,
    ssh_arguments,
    ssh_failure,
)
from jobtool.stores.store import Store

NAME = "scp"

#: ``-s`` chooses SFTP since this version of OpenSSH; it is the default since 9.0.
_OLDEST = (8, 7)

#: How many files one scp sends: its argument list stays far below the kernel's limit, and another
#: bandwidth holds from the next one on.
_FILES_AT_ONCE = 512

#: A call with more bytes than this ends with the file that exceeds it.
_BYTES_AT_ONCE = 1024 * 1024 * 1024

#: How often the file that is under way is looked at, in seconds.
_LOOK_SECONDS = 1.0

#: scp's bandwidths are in units of 1,024 bits (scp(1), option ``-l``, and its source).
_KILOBIT_BYTES = 128

#: Remote names are patterns (glob(7)), in which a backslash takes away a character's meaning.
_SPECIAL = re.compile(r"[\\*?\[\]{}~]")

_LINES = 100


class Scp(ProgramOverSsh):
    """Copies by scp."""

    name = NAME
    needs_empty_landing = True

    def explain(self, source: Store, destination: Store) -> str:
        """Return the command for one file."""
        sides = sides_of(source, destination)
        assert not isinstance(sides, str)
        there = remote_path(sides.target, os.path.join(sides.target.path, "FILE"))
        ends = (
            ["FILE", there] if sides.is_upload else [there, os.path.join(destination.url, "FILE")]
        )
        return shlex.join([*self._command(sides, None), "--", *ends])

    def _copy(
        self,
        sides: Sides,
        landing: Landing,
        files: Sequence[MethodFile],
        context: MethodContext,
        log: ProgramLog,
    ) -> Iterator[int]:
        """Copy many files by one scp to a server, each by its own from there."""
        for batch in _batches(files, _FILES_AT_ONCE if sides.is_upload else 1):
            yield from self._copy_batch(sides, landing, batch, context, log)
            if context.stop.is_set():
                return

    def _copy_batch(
        self,
        sides: Sides,
        landing: Landing,
        files: Sequence[MethodFile],
        context: MethodContext,
        log: ProgramLog,
    ) -> Iterator[int]:
        """Run scp for some files. Raise ``StoreError`` if it fails as a whole."""
        with tempfile.TemporaryDirectory(prefix="jobtool-scp-") as folder:
            batch = _Batch(landing, files, context, folder)
            if sides.is_upload:
                sources = [*_linked(files, folder)]
                target = remote_path(sides.target, landing.full_path + "/")
            else:
                (file,) = files
                path = os.path.join(sides.target.path, file.source_path)
                sources = [remote_path(sides.target, _SPECIAL.sub(r"\\\g<0>", path))]
                target = os.path.join(landing.full_path, _landed(file))
            command = self._command(sides, context.bandwidth())
            context.require_held()
            yield from batch.run([*command, "--", *sources, target], log)
        if context.stop.is_set() or not batch.left:
            return
        is_whole = batch.why_ended or ssh_failure(batch.said, sides.target.host)
        if is_whole or batch.exit_code not in (0, 1):
            raise failure_over_ssh(batch.said, batch.failure, sides.target.host, NAME)
        if batch.exit_code:
            context.note(batch.failure)

    def _command(self, sides: Sides, bandwidth: float | None) -> list[str]:
        command = [NAME, "-s", "-q", *ssh_arguments(sides.target, self._ssh)]
        if bandwidth is not None:
            command += ["-l", str(max(1, round(bandwidth / _KILOBIT_BYTES)))]
        return command

    def _why_too_old(self) -> str | None:
        found = re.search(r"OpenSSH_(?:for_Windows_)?(\d+)\.(\d+)", version_of([SSH, "-V"]))
        if found is None:
            return "the program scp isn't OpenSSH's, which is needed"
        if tuple(map(int, found.groups())) < _OLDEST:
            return f"OpenSSH is of version {'.'.join(found.groups())}, and 8.7 or newer is needed"
        return None


class _Batch:
    """One run of scp. Files that have got their names leave ``left``.

    A file may have its size and yet not its bytes: scp sets it after an error. So a file is taken
    only once scp is known to be done with it, without having complained of it.
    """

    def __init__(
        self,
        landing: Landing,
        files: Sequence[MethodFile],
        context: MethodContext,
        folder_of_links: str,
    ) -> None:
        self.left = deque(files)
        self.said: deque[str] = deque(maxlen=_LINES)
        self.exit_code = 0
        self.failure = ""
        self.why_ended: str | None = None
        self._landing = landing
        self._context = context
        self._arrived = (-1, 0)  # of the file that is under way
        self._done = 0  # how many of ``left`` scp was done with at the last look
        self._link = re.compile(re.escape(folder_of_links) + r"/(\d+)\b")
        self._failed: set[int] = set()  # by what scp says of their links

    def run(self, command: Sequence[str], log: ProgramLog) -> Iterator[int]:
        """Run a command. Yield the number of each file once it has its name."""
        context = self._context
        program = Running(
            command,
            environment=environment_for(),
            log=log,
            stop=context.stop,
            stall_seconds=context.stall_seconds,
        )
        looked_at = time.monotonic()
        with program:
            for line in program.lines():
                if line is not None:
                    self.said.append(line)
                    self._failed.update(map(int, self._link.findall(line)))
                elif time.monotonic() - looked_at >= _LOOK_SECONDS:
                    before = len(self.left), self._arrived
                    yield from self._take(self._done)
                    self._look()
                    if before != (len(self.left), self._arrived):
                        program.moved()
                    looked_at = time.monotonic()
        self.exit_code, self.failure = program.exit_code, program.failure
        self.why_ended = program.why_ended
        # An exit code may come with some failed files. Without their names any may have failed.
        if not context.stop.is_set() and (not self.exit_code or self._failed):
            yield from self._take(len(self.left))

    def _take(self, count: int) -> Iterator[int]:
        """Take the first files of those that are left. What isn't complete goes to the end."""
        for _ in range(count):
            file = self.left.popleft()
            if file.number not in self._failed and self._landing.take(file, _landed(file)):
                yield file.number
            else:
                self.left.append(file)
        self._done = 0

    def _look(self) -> None:
        """Find out how far scp is: it begins a file when it is done with the one before.

        What it says of a file comes before it begins the next, and is read before the next look.
        """
        if not self.left:
            return
        while self._done + 1 < len(self.left) and self._has_begun(self.left[self._done + 1]):
            self._done += 1
        self._look_at(self.left[self._done])

    def _has_begun(self, file: MethodFile) -> bool:
        return file.number not in self._failed and (
            self._landing.size_of(_landed(file)) is not None
        )

    def _look_at(self, file: MethodFile) -> None:
        """Report how much of a file has arrived."""
        size = min(self._landing.size_of(_landed(file)) or 0, file.size)
        number, known = self._arrived
        if number != file.number:
            known = 0
        if size > known:
            self._context.arrived(file.number, size - known)
            self._arrived = file.number, size


def _batches(files: Sequence[MethodFile], most: int) -> Iterator[list[MethodFile]]:
    """Yield files by the call that they go with."""
    batch: list[MethodFile] = []
    size = 0
    for file in files:
        batch.append(file)
        size += file.size
        if len(batch) == most or size > _BYTES_AT_ONCE:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _linked(files: Sequence[MethodFile], folder: str) -> Iterator[str]:
    """Make a link to each file in a folder, and yield its path. scp keeps the last name."""
    for file in files:
        path = os.path.join(folder, _landed(file))
        os.symlink(file.source, path)
        yield path


def _landed(file: MethodFile) -> str:
    return f"{file.number}"
