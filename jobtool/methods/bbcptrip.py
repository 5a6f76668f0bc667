"""One file on its way by bbcp: its folder in the landing, and how much of it has arrived."""

from __future__ import annotations

import contextlib
import fnmatch
import hashlib
import os
from collections.abc import Sequence

from jobtool.errors import FileError
from jobtool.methods.bbcpoutput import Progress
from jobtool.methods.landing import Landing
from jobtool.methods.method import MethodContext, MethodFile
from jobtool.methods.program.log import ProgramLog
from jobtool.methods.program.running import Running
from jobtool.methods.program.surroundings import environment_for

#: What bbcp writes in a file's folder: the file, and its checkpoint, without which it can't resume.
DATA = "data"
_CHECKPOINTS = f"bbcp.*.{DATA}"


class Trip:
    """One file on its way: its folder in the landing, and how much of it has arrived."""

    def __init__(
        self, file: MethodFile, landing: Landing, log: ProgramLog, context: MethodContext
    ) -> None:
        self.file = file
        self.context = context
        self.progress = Progress(file.size)
        self._folder = folder_of(file)
        self._landing = landing
        self._log = log

    @property
    def data(self) -> str:
        """The absolute path of the file that bbcp writes."""
        return f"{self._landing.full_path}/{self._folder}/{DATA}"

    def prepare(self) -> None:
        """Make the folder. What a killed attempt has left is kept if bbcp can resume from it."""
        self._landing.make(self._folder)
        names = self._landing.names(self._folder)
        if DATA in names and not fnmatch.filter(names, _CHECKPOINTS):
            self.discard()
            self._landing.make(self._folder)

    def publish(self) -> None:
        """Give the file its name. Raises ``FileError`` if it isn't complete."""
        path = f"{self._folder}/{DATA}"
        if not self._landing.give(self.file, path):
            size = self._landing.size_of(path)
            found = "nothing has" if size is None else f"{size} bytes of {self.file.size} have"
            raise FileError(f"{found} arrived")
        self.discard()

    def discard(self) -> None:
        """Remove the folder. If that fails, it is removed with the others."""
        with contextlib.suppress(FileError):
            self._landing.remove(self._folder)

    def run(self, command: Sequence[str]) -> tuple[Running, list[str]]:
        """Run bbcp to its end. Return it and the lines that it printed."""
        context = self.context
        context.require_held()
        said: list[str] = []
        before = self.progress.arrived
        with Running(
            command,
            environment=environment_for(("bbcp_",)),
            log=self._log,
            stop=context.stop,
            stall_seconds=context.stall_seconds,
            is_progress=self.progress.note,
        ) as running:
            for line in running.lines():
                if line is None:
                    continue
                said.append(line)
                if self.progress.arrived > before:
                    context.arrived(self.file.number, self.progress.arrived - before)
                    before = self.progress.arrived
        return running, said


def folder_of(file: MethodFile) -> str:
    """Return the name of a file's folder in the landing, the same in each attempt."""
    return hashlib.sha256(os.fsencode(file.destination_path)).hexdigest()[:16]
