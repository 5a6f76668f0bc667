"""Composite CRCs of files, by Hadoop's own command: ``hdfs dfs -checksum``.

A composite CRC is that of the whole file, so it doesn't depend on the sizes of blocks. WebHDFS
never returns one, whatever the cluster's configuration says: it asks for the MD5 of MD5s in any
case. Sources: Hadoop, ``DFSClient.getFileChecksum``, and "HDFS-13056", which describes
``dfs.checksum.combine.mode``.
"""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec

from jobtool.stores.hdfs.client import Checksummed

#: A run of the command takes three seconds of CPU. Two smaller files are read in less.
COMPOSITE_BYTES = 128 * 1024 * 1024

_OPTIONS = ("dfs", "-Ddfs.checksum.combine.mode=COMPOSITE_CRC", "-checksum")
_LINE = re.compile(r"(.*)\t(COMPOSITE-CRC32C?)\t([0-9a-f]{8})")

#: Characters of patterns, which the command would expand, and those that break its lines.
_NOT_ASKED = re.compile(r"[*?\[\]{}\\\x00-\x1f\x7f]")

_MOST_IN_RUN = 64
_OUTPUT_BYTES = 1024 * 1024
_RUN_SECONDS = 1800.0
_SLICE_SECONDS = 0.2
_END_SECONDS = 10.0  # from the end of its output to its own

#: After so many runs in a row that returned no checksum, the command isn't run again.
_MOST_VAIN_RUNS = 2


class _Question(msgspec.Struct, eq=False):
    """The URLs that one thread asks about, and the answers once they are there."""

    urls: Sequence[str]
    answers: list[Checksummed | None] | None = None


class Composites:
    """Asks for composite CRCs, for all threads of a process.

    A run of the command answers all who wait, so its cost is shared. ``program`` is the command;
    by default ``hdfs`` in ``bin`` of ``HADOOP_HOME``, or on the ``PATH``.
    """

    def __init__(self, program: str | None = None) -> None:
        self._program = program or _found_program()
        self._lock = threading.Lock()
        self._turn = threading.Lock()  # held by the thread that runs the command
        self._waiting: list[_Question] = []
        self._vain = 0

    @property
    def is_usable(self) -> bool:
        """Whether there is a command that answers."""
        return self._program is not None and self._vain < _MOST_VAIN_RUNS

    def of(
        self, urls: Sequence[str], require_going: Callable[[], None]
    ) -> list[Checksummed | None]:
        """Return the composite CRCs of files, asked now; None for those that aren't returned.

        ``require_going`` is called several times a second. What it raises ends the waiting, and
        the run if this thread does it.
        """
        if not self.is_usable or any(map(_NOT_ASKED.search, urls)):
            return [None] * len(urls)
        question = _Question(urls)
        with self._lock:
            self._waiting.append(question)
        try:
            while question.answers is None:
                require_going()
                if self._turn.acquire(timeout=_SLICE_SECONDS):
                    try:
                        if question.answers is None:
                            self._answer_those_who_wait(require_going)
                    finally:
                        self._turn.release()
        finally:
            with self._lock:
                if question in self._waiting:
                    self._waiting.remove(question)
        return question.answers

    def _answer_those_who_wait(self, require_going: Callable[[], None]) -> None:
        with self._lock:
            batch, self._waiting = self._waiting[:_MOST_IN_RUN], self._waiting[_MOST_IN_RUN:]
        found: dict[str, Checksummed] = {}
        try:
            if self.is_usable:
                asked = [url for question in batch for url in question.urls]
                found = _in(self._run(list(dict.fromkeys(asked)), require_going))
                self._vain = 0 if found else self._vain + 1
        finally:
            for question in batch:
                question.answers = [found.get(url) for url in question.urls]

    def _run(self, urls: Sequence[str], require_going: Callable[[], None]) -> bytes:
        """Run the command; return what it printed. That is nothing if it doesn't end by itself.

        Its exit code isn't looked at: it is 1 if it has no answer for one of the files.
        """
        assert self._program is not None, "is_usable says so"
        try:
            process = subprocess.Popen(
                [self._program, *_OPTIONS, *urls],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError:
            return b""
        with process:
            try:
                printed = b"".join(_output_of(process, require_going))
                process.wait(_END_SECONDS)
                return printed
            except subprocess.TimeoutExpired:
                return b""
            finally:
                if process.poll() is None:
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)


def _found_program() -> str | None:
    home = os.environ.get("HADOOP_HOME", "")
    return (shutil.which(os.path.join(home, "bin", "hdfs")) if home else None) or shutil.which(
        "hdfs"
    )


def _output_of(
    process: subprocess.Popen[bytes], require_going: Callable[[], None]
) -> Iterator[bytes]:
    """Yield what a process prints. Raises ``TimeoutExpired`` if that is too much, or too slow."""
    assert process.stdout is not None
    deadline, size = time.monotonic() + _RUN_SECONDS, 0
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            require_going()
            if time.monotonic() > deadline or size > _OUTPUT_BYTES:
                raise subprocess.TimeoutExpired(process.args, _RUN_SECONDS)
            if selector.select(_SLICE_SECONDS):
                printed = os.read(process.stdout.fileno(), 65536)
                if not printed:
                    return
                size += len(printed)
                yield printed


def _in(printed: bytes) -> dict[str, Checksummed]:
    """Return the composite CRCs in what the command printed, by URL. Other lines are skipped."""
    lines: Iterable[str] = printed.decode("utf-8", "replace").split("\n")
    matches = filter(None, map(_LINE.fullmatch, lines))
    return {match[1]: Checksummed(algorithm=match[2], value=match[3]) for match in matches}
