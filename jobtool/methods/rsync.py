"""The method ``rsync``: from or to an SSH server, resumed within files.

rsync writes to a hidden folder of the destination (``methods.landing``), there under temporary
names. A file has its name in that folder once it is complete, with rsync's own checksum. Then the
store gives it its name. What is interrupted stays in a ``--partial-dir`` of that folder, and rsync
sends only what it lacks. ``--append-verify`` would write to files under their own names, and can't
be combined with that. Facts about rsync are from rsync(1) and rsyncd.conf(5), versions 3.1 to 3.5.
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
from jobtool.methods.rsyncexits import CONNECTION_ENDED, SOME_LEFT, failure_by
from jobtool.methods.ssh import (
    as_rsync_shell,
    remote_path,
    ssh_command,
)
from jobtool.names import in_one_line
from jobtool.redact import redact
from jobtool.stop import Stop
from jobtool.stores.store import Store

NAME = "rsync"

#: ``--info`` and ``--outbuf`` are there since this version.
_OLDEST = (3, 1)

#: Where rsync keeps what it has of a file that was interrupted, beside it.
_PARTIAL_FOLDER = ".jobtool-partial"

#: What a name begins with in the output, which no message of rsync or ssh begins with.
_MARK = ">"

#: Bytes that can't be shown are written as ``\#`` and three octal digits, and so is a backslash
#: before ``#`` (rsync(1), option ``--8-bit-output``).
_ESCAPE = re.compile(rb"\\#([0-7]{3})")

#: ``--info=progress2``: the bytes so far, in digits that a locale groups, their share, the speed
#: and the time. A message may come after it in the same line.
_PROGRESS = re.compile(
    r"\s*(\d[\d,.' \u00a0\u202f]*?)\s+\d+%\s+\S+/s\s+[\d:?]+\s*(?:\(xfr#[^)]*\))?\s*(.*)"
)

#: How many runs in a row may end by a lost connection without a file that has arrived.
_TRIES = 3

#: How often the wanted bandwidth is asked for, in seconds.
_BANDWIDTH_SECONDS = 5.0

#: From which difference on another bandwidth is worth a restart of rsync.
_DIFFERENCE = 0.02

_KIBIBYTE = 1024

#: How many of the last lines that aren't names are kept to explain a failure.
_LINES = 100
_TOLD_LINES = 3


class Rsync(ProgramOverSsh):
    """Copies by rsync over ssh."""

    name = NAME

    def explain(self, source: Store, destination: Store) -> str:
        """Return the command."""
        sides = sides_of(source, destination)
        assert not isinstance(sides, str)
        root = sides.destination_root(destination)
        return shlex.join(self._command(sides, source, os.path.join(root, "FOLDER"), None))

    def _copy(
        self,
        sides: Sides,
        landing: Landing,
        files: Sequence[MethodFile],
        context: MethodContext,
        log: ProgramLog,
    ) -> Iterator[int]:
        """Run rsync until no file is left or another run wouldn't help."""
        left = {file.source_path: file for file in files}
        tries = 0
        while left and not context.stop.is_set():
            once = _Run(landing, left, context)
            before = len(left)
            bandwidth = context.bandwidth()
            command = self._command(sides, context.source, landing.full_path, bandwidth)
            context.require_held()
            yield from once.run(command, log, bandwidth)
            if context.stop.is_set():
                return
            if once.is_to_be_slower_or_faster:
                continue
            if once.exit_code in CONNECTION_ENDED and not once.why_ended:
                tries = 1 if len(left) < before else tries + 1
                error = failure_over_ssh(once.said, once.failure, sides.target.host, NAME)
                if once.has_begun and tries < _TRIES:
                    context.note(str(error))
                    continue
                raise error
            if once.exit_code not in (0, *SOME_LEFT):
                raise failure_over_ssh(once.said, once.failure, sides.target.host, NAME)
            if left and once.why_left:
                context.note(once.why_left)
            return

    def _command(
        self, sides: Sides, source: Store, full_path: str, bandwidth: float | None
    ) -> list[str]:
        """Return the command that copies the files named by its input to a folder."""
        target = sides.target
        here = target.path if not sides.is_upload else source.url
        there = full_path
        command = [
            NAME,
            f"--rsh={as_rsync_shell(ssh_command(target, self._ssh))}",
            "--protect-args",  # no shell there sees a name
            "--files-from=-",
            "--from0",
            "--no-implied-dirs",
            "--times",  # what has landed already is told by its size and time
            f"--partial-dir={_PARTIAL_FOLDER}",
            f"--out-format={_MARK}%n",
            "--info=progress2",
            "--outbuf=L",
        ]
        if bandwidth is not None:
            command.append(f"--bwlimit={max(1, round(bandwidth / _KIBIBYTE))}")
        from_, to = here.rstrip("/") + "/", there.rstrip("/") + "/"
        if sides.is_upload:
            return [*command, "--", from_, remote_path(target, to)]
        return [*command, "--", remote_path(target, from_), to]

    def _why_too_old(self) -> str | None:
        found = re.search(r"^rsync\s+version\s+v?(\d+)\.(\d+)", version_of([NAME, "--version"]))
        if found is None:
            return "the program rsync isn't the one of samba.org, which is needed"
        if tuple(map(int, found.groups())) < _OLDEST:
            return f"rsync is of version {'.'.join(found.groups())}, and 3.1 or newer is needed"
        return None


class _Run:
    """One run of rsync. Files that have got their names leave ``left``."""

    def __init__(
        self, landing: Landing, left: dict[str, MethodFile], context: MethodContext
    ) -> None:
        self.said: deque[str] = deque(maxlen=_LINES)
        self.exit_code = 0
        self.failure = ""
        self.why_ended: str | None = None
        self.has_begun = False
        self.is_to_be_slower_or_faster = False
        self._landing = landing
        self._left = left
        self._context = context
        self._begun: deque[MethodFile] = deque()  # named by rsync, in its order
        self._bytes = 0

    @property
    def why_left(self) -> str:
        """Why rsync has left files, as a clause; empty if it says nothing."""
        told = [line for line in self.said if line.startswith(("rsync:", "skipping"))]
        return told[0] if told else self.failure if self.exit_code else ""

    def run(
        self, command: Sequence[str], log: ProgramLog, bandwidth: float | None
    ) -> Iterator[int]:
        """Run a command. Yield the number of each file once it has its name."""
        context = self._context
        stop = Stop(parent=context.stop)
        with tempfile.TemporaryFile() as names:
            names.writelines(map(_listed, self._left))
            names.seek(0)
            program = Running(
                command,
                environment=environment_for(),
                log=log,
                stop=stop,
                stall_seconds=context.stall_seconds,
                stdin=names.fileno(),
            )
            asked_at = time.monotonic()
            with program:
                for line in program.lines():
                    if line is not None:
                        self._read(line)
                        continue
                    yield from self._take_begun()
                    if time.monotonic() - asked_at >= _BANDWIDTH_SECONDS:
                        asked_at = time.monotonic()
                        if _is_another(context.bandwidth(), bandwidth):
                            self.is_to_be_slower_or_faster = True
                            stop.set("another bandwidth is wanted")
        self.exit_code, self.why_ended = program.exit_code, program.why_ended
        if self.why_ended:
            self.failure = program.failure
        else:  # that of the program would show names and progress
            said = in_one_line(redact(" / ".join([*self.said][-_TOLD_LINES:])))
            self.failure = failure_by(self.exit_code, said)
        if not context.stop.is_set():
            yield from self._take([*self._left.values()])

    def _read(self, line: str) -> None:
        if not line.startswith(_MARK):
            found = _PROGRESS.match(line)
            if found is None:
                self.said.append(line)
                return
            self._arrived(int(re.sub(r"\D", "", found.group(1))))
            if found.group(2):
                self._read(found.group(2))
            return
        file = self._left.get(_name_of(line.removeprefix(_MARK)))
        if file is not None:
            self.has_begun = True
            self._begun.append(file)

    def _arrived(self, total: int) -> None:
        """Count bytes as those of the file that was named last."""
        more, self._bytes = total - self._bytes, total
        if self._begun and more > 0:
            file = self._begun[-1]
            self._context.arrived(file.number, min(more, file.size))

    def _take_begun(self) -> Iterator[int]:
        """Take files in rsync's order, up to the first that isn't complete."""
        while self._begun:
            file = self._begun[0]
            if not self._landing.take(file, file.source_path):
                return
            self._begun.popleft()
            del self._left[file.source_path]
            yield file.number

    def _take(self, files: Sequence[MethodFile]) -> Iterator[int]:
        """Take those that are complete. rsync doesn't name files that it needn't copy."""
        for file in files:
            if self._landing.take(file, file.source_path):
                del self._left[file.source_path]
                yield file.number


def _is_another(wanted: float | None, now: float | None) -> bool:
    """Return True if a bandwidth differs so much that it is worth a restart."""
    if wanted is None or now is None:
        return wanted is not now
    return abs(wanted - now) > _DIFFERENCE * now


def _listed(path: str) -> bytes:
    """Return a path for ``--files-from``. With ``./`` before it, it is no comment."""
    return b"./" + os.fsencode(path) + b"\0"


def _name_of(shown: str) -> str:
    """Return the name that rsync shows in one line."""
    data = shown.encode(errors="surrogateescape")
    return os.fsdecode(_ESCAPE.sub(lambda match: bytes([int(match.group(1), 8)]), data))
