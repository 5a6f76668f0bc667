"""Runs Hadoop's programs, and tells what came of it."""

from __future__ import annotations

import contextlib
import glob
import os
import re
import shutil
import stat
from collections import deque
from collections.abc import Iterator, Mapping, Sequence

from jobtool.errors import InfrastructureError, JobtoolError, StoreError, reason_of
from jobtool.jobs.safe_read import open_without_waiting
from jobtool.methods.hadoop.arrivals import Arrivals
from jobtool.methods.hadoop.settings import HadoopSettings, environment
from jobtool.methods.method import MethodContext
from jobtool.methods.program.log import ProgramLog
from jobtool.methods.program.running import Running
from jobtool.methods.program.surroundings import environment_for
from jobtool.names import in_one_line, quote
from jobtool.redact import redact
from jobtool.stop import Stop

#: The variables that Hadoop's programs read.
PREFIXES = ("HADOOP_", "HDFS_", "YARN_", "MAPRED_", "JAVA_")

#: The beginning of a line of Hadoop's own log: the time, the level and the class.
_LOG_HEAD = re.compile(r"^[\d/: ,.-]+\s+(?:\[[^]]*\]\s+)?(?:WARN|ERROR|FATAL|INFO)\s+\S+:\s*")

#: Lines that say what went wrong, and those of Java's stack traces and of counters.
_TELLING = re.compile(
    r"\b(?:\w+(?:Exception|Error)\b|ERROR|FATAL|Invalid|Illegal|Could not)|^-?[a-z]+: "
)
_GENERAL = re.compile(r"ExitException|Exiting with status|DistCp failure: Job \S+ has failed")
_NOISE = re.compile(r"^\s+at |^\s*\.\.\. \d+ more|^\s+\w[\w ]*=\d|NativeCodeLoader")

_TOLD_LINES = 2

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH

#: How much of a log is read.
_MOST_BYTES = 4 * 1024 * 1024


class Hadoop:
    """Hadoop's programs for one call of a method: their environment, their log.

    ``more_prefixes`` begin the names of further variables that the programs get, ``defaults`` are
    variables for them. ``name`` is the last program's, ``exit_code`` its result, ``why_ended`` why
    it was ended. ``came`` counts files that have come.
    """

    def __init__(
        self,
        hadoop: HadoopSettings,
        context: MethodContext,
        *,
        more_prefixes: tuple[str, ...] = (),
        defaults: Mapping[str, str] | None = None,
    ) -> None:
        kept = {**(defaults or {}), **environment_for((*PREFIXES, *more_prefixes))}
        self._environment = environment(hadoop, kept)
        self._context = context
        self.log = ProgramLog(context.log_path)
        self.came = 0
        self.exit_code: int | None = None
        self.why_ended: str | None = None
        self._telling: deque[str] = deque(maxlen=_TOLD_LINES)
        self._last = ""
        self.name = ""

    def run(
        self, arguments: Sequence[str], *, stop: Stop | None = None, stall_seconds: float = 0.0
    ) -> Iterator[tuple[str | None, Running]]:
        """Run a program. Yield its lines, and None several times a second; see ``Running.lines``.

        ``stop`` and ``stall_seconds`` are the context's, unless given. ``failure`` says afterwards
        what went wrong. Raises ``StoreError`` if no program can be started.
        """
        self._telling.clear()
        self._last = ""
        self.name = " ".join(arguments[:2])
        self.exit_code = self.why_ended = None
        if stop is None:
            self._context.require_held()
        try:
            program = Running(
                arguments,
                environment=self._environment,
                log=self.log,
                stop=stop or self._context.stop,
                stall_seconds=stall_seconds or self._context.stall_seconds,
            )
        except OSError as error:
            raise StoreError(f"{self.name} can't be started: {reason_of(error)}") from None
        with program:
            for line in program.lines():
                if line is not None:
                    self._note(line)
                yield line, program
        self.exit_code, self.why_ended = program.exit_code, program.why_ended

    def watch(self, arguments: Sequence[str], arrivals: Arrivals) -> Iterator[int]:
        """Run a program. Yield the numbers of the files that have come, while it runs and after."""
        for line, program in self.run(arguments):
            if line is None and arrivals.is_due:
                yield from seen(arrivals, program)
        if not self._context.stop.is_set():
            yield from arrivals.look(nothing)

    def call(
        self, arguments: Sequence[str], *, stop: Stop | None = None, stall_seconds: float = 0.0
    ) -> bool:
        """Run a program to its end. Return True if its exit code is 0."""
        for _ in self.run(arguments, stop=stop, stall_seconds=stall_seconds):
            pass
        return self.exit_code == 0

    def close(self) -> None:
        """Close the log."""
        self.log.close()

    @property
    def failure(self) -> str:
        """Why the last program failed, as a clause for a message."""
        if self.why_ended:
            return f"{self.name} was ended: {self.why_ended}"
        said = " / ".join(self._telling) or self._last or "it printed nothing"
        return f"{self.name} ended with exit code {self.exit_code}: " + in_one_line(redact(said))

    def says(self, text: str) -> bool:
        """Return True if what the last program said of its failure, or last, holds a text."""
        return any(text in line for line in (*self._telling, self._last))

    def _note(self, line: str) -> None:
        if _NOISE.search(line):
            return
        short = _LOG_HEAD.sub("", line).strip()
        is_telling = _TELLING.search(line) and not _GENERAL.search(line)
        if is_telling and short not in self._telling:
            self._telling.append(short)
        self._last = short or self._last


def seen(arrivals: Arrivals, program: Running) -> Iterator[int]:
    """Look at the destination while a program runs. A failed look is made up for by the next."""
    try:
        found = arrivals.look(program.moved)
    except InfrastructureError:
        raise
    except JobtoolError:
        return
    yield from found


def judge(hadoop: Hadoop, context: MethodContext, *, came: int, missing: int) -> None:
    """Tell why files of a program's run haven't come.

    Raises ``StoreError`` if the program failed and no file has come by this call of the method: it
    won't go better with others.
    """
    hadoop.came += came
    if context.stop.is_set() or not missing:
        return
    if hadoop.exit_code == 0:
        context.note(
            f"{hadoop.name} ended with exit code 0, but {missing} files aren't at the destination"
        )
    elif hadoop.came:
        context.note(hadoop.failure)
    else:
        raise StoreError(hadoop.failure)


@contextlib.contextmanager
def work_folder(log_path: str) -> Iterator[str]:
    """Make a folder for lists, beside the log. Remove it afterwards, and those of killed workers.

    Raises ``StoreError`` if it can't be made.
    """
    for other in earlier_paths(log_path, ".work"):
        shutil.rmtree(other, ignore_errors=True)
    path = log_path.removesuffix(".log") + ".work"
    shutil.rmtree(path, ignore_errors=True)
    try:
        os.makedirs(path)
    except OSError as error:
        raise StoreError(f"can't make the folder {quote(path)}: {reason_of(error)}") from None
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def earlier_paths(log_path: str, suffix: str) -> list[str]:
    """Return the paths of earlier attempts at the same job by the same method."""
    folder, name = os.path.split(log_path)
    job_id, attempt, method = name.removesuffix(".log").rsplit(".", 2)
    pattern = f"{glob.escape(job_id)}.*.{glob.escape(method)}{suffix}"
    found = []
    for path in sorted(glob.glob(os.path.join(glob.escape(folder), pattern))):
        number = os.path.basename(path)[len(job_id) + 1 : -len(f".{method}{suffix}")]
        if number.isdigit() and number != attempt:
            found.append(path)
    return found


def earlier_lines(log_path: str) -> list[str]:
    """Return the lines of the logs of earlier attempts that no other user could have written."""
    lines: list[str] = []
    for path in earlier_paths(log_path, ".log"):
        with contextlib.suppress(OSError):
            lines += _read_own(path).decode(errors="surrogateescape").split("\n")
    return lines


def _read_own(path: str) -> bytes:
    """Return the beginning of a file; nothing if another user could have written it."""
    descriptor = open_without_waiting(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        found = os.fstat(descriptor)
        is_own = found.st_uid == os.geteuid() and not found.st_mode & _OTHERS_WRITE
        return os.read(descriptor, _MOST_BYTES) if is_own and stat.S_ISREG(found.st_mode) else b""
    finally:
        os.close(descriptor)


def nothing() -> None:
    """Do nothing: no program runs any more."""
