"""Further workers beside this process: their output is printed here, and they end with it."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from typing import IO

import msgspec

from jobtool.cli.console import Console
from jobtool.cli.impala_transfer.helper import HelperTask
from jobtool.stop import Stop

_HELPER = "jobtool.cli.impala_transfer.helper"

_LOOK_SECONDS = 0.2

#: What a worker writes when it is asked to stop; this process has written it already.
_STOPPING = "finishing files in progress"


#: How often a worker has met an error.
_JOBS = re.compile(r"\b\d+ job\(s\)")


class Helpers:
    """Workers in processes of their own, each of which takes jobs until none is left.

    ``stop`` asks them to stop, too. What they print is printed by ``console``; their errors are
    kept in ``errors``, each once, since workers that fail alike say the same.
    """

    def __init__(self, tasks: Iterable[HelperTask], console: Console, stop: Stop) -> None:
        self._console = console
        self._stop = stop
        self._over = threading.Event()
        self._lock = threading.Lock()
        self.errors: list[str] = []
        self._threads: list[threading.Thread] = []
        self._processes = [self._start(task) for task in tasks]
        self._watch = threading.Thread(target=self._forward, name="stops", daemon=True)
        self._watch.start()

    def wait(self) -> list[int]:
        """Wait until all have ended; return their exit codes."""
        codes = [process.wait() for process in self._processes]
        for thread in self._threads:
            thread.join()
        self._over.set()
        self._watch.join()
        return codes

    def ask_to_stop(self) -> None:
        """Ask all to finish their files in progress and to end."""
        for process in self._processes:
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(signal.SIGTERM)

    def _start(self, task: HelperTask) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", _HELPER, msgspec.json.encode(task).decode()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="surrogateescape",
            env={**os.environ, "PYTHONIOENCODING": "utf-8:surrogateescape"},
            process_group=0,  # Ctrl-C is for this process, which passes it on
        )
        assert process.stdout is not None
        assert process.stderr is not None
        for stream, is_error in ((process.stdout, False), (process.stderr, True)):
            thread = threading.Thread(
                target=self._read, args=(stream, is_error), name="output", daemon=True
            )
            thread.start()
            self._threads.append(thread)
        return process

    def _read(self, stream: IO[str], is_error: bool) -> None:
        """Print the lines of one worker until it ends. It never waits for its output to be read."""
        for line in _lines(stream):
            with contextlib.suppress(Exception):  # output that can't be printed stops no work
                if is_error:
                    self._keep_error(line)
                else:
                    self._console.result(line)

    def _keep_error(self, line: str) -> None:
        with self._lock:
            if (
                line
                and _STOPPING not in line
                and not any(is_alike(line, one) for one in self.errors)
            ):
                self.errors.append(line)

    def _forward(self) -> None:
        while not self._over.wait(_LOOK_SECONDS):
            if self._stop.is_set():
                self.ask_to_stop()
                return


def _lines(stream: IO[str]) -> Iterator[str]:
    with stream:
        for line in stream:
            yield line.rstrip("\n")


def is_alike(line: str, other: str | None) -> bool:
    """Return True for errors that differ by the number of jobs that met them at most."""
    return other is not None and _JOBS.sub("", line) == _JOBS.sub("", other)
