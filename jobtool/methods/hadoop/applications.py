"""What distcp leaves behind when it is killed: its application in YARN, its temporary files.

Both are found by what distcp printed: the logs of all attempts at a job are read.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import time
from collections.abc import Iterable

import msgspec

from jobtool.errors import JobtoolError
from jobtool.methods.hadoop.programs import Hadoop, earlier_lines
from jobtool.stop import Stop
from jobtool.stores.store import Child, Store

#: Lines of Hadoop's "YarnClientImpl" and "Job", which name the job.
_STARTED = re.compile(
    r".*\bINFO (?:\S+\.)?(?:YarnClientImpl: Submitted application application|"
    r"Job: Running job: job)_((?:local)?\d+_\d+)"
)

#: Our own lines.
_TARGET = "[distcp writes temporary files into "
_ENDED = re.compile(r"\[the job ((?:local)?\d+_\d+) has ended\]")

#: What YARN says of an application that it doesn't know any more: it has ended long ago, or YARN
#: was started anew. Hadoop, "ApplicationCLI".
_UNKNOWN = "doesn't exist in RM"

#: How long a program may take to end an application, in seconds.
_KILL_SECONDS = 60.0


class Started(msgspec.Struct):
    """Jobs that were started: their numbers, and the folders of their temporary files."""

    jobs: set[str] = msgspec.field(default_factory=set)
    folders: set[str] = msgspec.field(default_factory=set)

    def read(self, line: str) -> None:
        """Take in a line of a log."""
        if found := _STARTED.fullmatch(line):
            self.jobs.add(found.group(1))
        elif ended := _ENDED.fullmatch(line):
            self.jobs.discard(ended.group(1))
        elif line.startswith(_TARGET):
            with contextlib.suppress(ValueError):
                self.folders.add(str(json.loads(line.removeprefix(_TARGET).removesuffix("]"))))


def target_line(folder: str) -> str:
    """Return the log's line for the folder, at the destination, of a call's temporary files."""
    return f"{_TARGET}{json.dumps(folder)}]"


def ended_line(job: str) -> str:
    """Return the log's line for a job that has ended."""
    return f"[the job {job} has ended]"


def left_by_others(log_path: str) -> Started:
    """Return what earlier attempts have started and not ended, by their logs."""
    found = Started()
    for line in sorted(
        earlier_lines(log_path), key=lambda each: _ENDED.fullmatch(each) is not None
    ):
        found.read(line)
    return found


def end_all(hadoop: Hadoop, started: Started, destination: Store) -> None:
    """End jobs that may still run, and remove their temporary files.

    What can't be done is left to the next attempt.
    """
    for job in sorted(started.jobs):
        if job.startswith("local") or _kill(hadoop, job):
            _remove_temporary(job, started.folders, destination)
            hadoop.log.add(ended_line(job))
    started.jobs.clear()


def _kill(hadoop: Hadoop, job: str) -> bool:
    """Have YARN end an application. Return True if it has ended."""
    commands = (
        ["yarn", "application", "-kill", f"application_{job}"],
        ["mapred", "job", "-kill", f"job_{job}"],
    )
    for command in commands:
        if shutil.which(command[0]) is not None:
            stop = Stop(at=time.monotonic() + _KILL_SECONDS)  # the worker's own may be set
            is_ended = hadoop.call(command, stop=stop, stall_seconds=_KILL_SECONDS)
            return is_ended or hadoop.says(_UNKNOWN)
    hadoop.log.add(f"[neither yarn nor mapred is on PATH to end the job {job}]")
    return False


def _remove_temporary(job: str, folders: Iterable[str], destination: Store) -> None:
    """Remove the temporary files of a job. distcp does so itself unless it is killed."""
    prefix = f".distcp.tmp.attempt_{job}_"
    for folder in folders:
        with contextlib.suppress(JobtoolError):
            for child in [*destination.children(folder)]:
                if isinstance(child, Child) and child.name.startswith(prefix):
                    destination.delete(f"{folder}/{child.name}" if folder else child.name)
