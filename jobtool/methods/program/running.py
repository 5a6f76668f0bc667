"""A running program: started without a shell, watched, ended with all that it has started."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Self

from jobtool.methods.program import guard
from jobtool.methods.program.log import ProgramLog
from jobtool.names import in_one_line
from jobtool.redact import redact
from jobtool.stop import Stop

#: How often a running program is looked at, in seconds.
TICK_SECONDS = 0.2

_READ_BYTES = 64 * 1024

#: A line of output without an end is taken as one when it is as long as this.
_MOST_LINE_BYTES = 64 * 1024

#: How many of the last lines explain a failure.
_TOLD_LINES = 3

#: How long the guard may take to end the program and itself, in seconds.
_END_SECONDS = guard.GRACE_SECONDS + 10.0


class Running:
    """A program and its output. Use it in a ``with`` statement, at whose end no process is left.

    ``arguments`` are the program's, the program first. They are no place for secrets: all users of
    a machine see them. No shell reads them. ``stdin`` is a file's descriptor, by default nothing.
    ``environment`` holds all variables that it gets (``surroundings.environment_for``).

    Its output goes to ``log``. The program is ended once ``stop`` is set, or when it has made no
    progress for ``stall_seconds``: when no new line of output came that ``is_progress``, and
    ``moved`` wasn't called. If the worker is killed, a guard ends the program.

    Raises ``OSError`` if no process can be started. A program that can't be found ends with the
    exit code 127.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str],
        log: ProgramLog,
        stop: Stop,
        stall_seconds: float,
        stdin: int | None = None,
        folder: str | None = None,
        is_progress: Callable[[str], bool] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.why_ended: str | None = None
        self._log = log
        self._stop = stop
        self._stall_seconds = stall_seconds
        self._is_progress = is_progress
        self._monotonic = monotonic
        self._name = os.path.basename(arguments[0])
        self._last: deque[str] = deque(maxlen=_TOLD_LINES)
        self._last_line = ""
        self._rest = b""
        log.add("$ " + " ".join(map(_shown, arguments)))
        theirs, ours = os.pipe()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", guard.__file__, str(theirs), *arguments],
                stdin=subprocess.DEVNULL if stdin is None else stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                cwd=folder,
                pass_fds=(theirs,),
                start_new_session=True,
            )
        except BaseException:
            os.close(ours)
            raise
        finally:
            os.close(theirs)
        self._pipe: int | None = ours
        self._began_at = self._moved_at = monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end()
        if self._process.stdout is not None:
            self._process.stdout.close()
        seconds = self._monotonic() - self._began_at
        why = f" ({self.why_ended})" if self.why_ended else ""
        self._log.add(f"[exit code {self._process.returncode} after {seconds:.1f} s{why}]")

    def moved(self) -> None:
        """Note that the program has made progress that its output doesn't show."""
        self._moved_at = self._monotonic()

    def lines(self) -> Iterator[str | None]:
        """Yield the lines of the program's output, and None several times a second.

        A line ends with a line feed or a carriage return. Bytes that aren't UTF-8 are surrogates.
        Ends when the program has ended. See ``exit_code``.
        """
        output = self._process.stdout
        assert output is not None
        os.set_blocking(output.fileno(), False)
        poll = select.poll()
        poll.register(output, select.POLLIN)
        is_open = True
        while is_open:
            if poll.poll(TICK_SECONDS * 1000):
                with contextlib.suppress(BlockingIOError):
                    data = os.read(output.fileno(), _READ_BYTES)
                    is_open = bool(data)
                    yield from self._lines_of(data)
            yield None
            self._look()
        while self._process.poll() is None:  # it has closed its output, but runs
            time.sleep(TICK_SECONDS)
            yield None
            self._look()
        yield from self._lines_of(b"\n" if self._rest else b"")

    def wait(self) -> int:
        """Wait until the program has ended. Return its exit code."""
        for _ in self.lines():
            pass
        return self.exit_code

    @property
    def exit_code(self) -> int:
        """The exit code; 128 and a signal's number if that has killed it."""
        code = self._process.poll()
        assert code is not None, "it still runs"
        return code if code >= 0 else 128 - code

    @property
    def failure(self) -> str:
        """Why it failed, as a clause for a message: its exit code and last lines."""
        if self.why_ended:
            return f"{self._name} was ended: {self.why_ended}"
        said = in_one_line(redact(" / ".join(self._last))) if self._last else "it printed nothing"
        return f"{self._name} ended with exit code {self.exit_code}: {said}"

    def _lines_of(self, data: bytes) -> Iterator[str]:
        pieces = (self._rest + data).replace(b"\r", b"\n").split(b"\n")
        self._rest = pieces.pop()
        if len(self._rest) > _MOST_LINE_BYTES:
            pieces.append(self._rest)
            self._rest = b""
        for piece in pieces:
            if not piece.strip():
                continue
            line = piece.decode(errors="surrogateescape")
            if line != self._last_line:
                self._last_line = line
                if self._is_progress is None or self._is_progress(line):
                    self.moved()
            self._last.append(line)
            self._log.add(line)
            yield line

    def _look(self) -> None:
        """End the program if it has to."""
        if self._stop.is_set():
            self.why_ended = self._stop.reason
        elif self._monotonic() - self._moved_at >= self._stall_seconds:
            self.why_ended = f"no progress for {self._stall_seconds:.0f} s"
        if self.why_ended:
            self._end()

    def _end(self) -> None:
        """Have the guard end the program, unless it has ended; wait for both."""
        if self._pipe is not None:
            pipe, self._pipe = self._pipe, None
            os.close(pipe)
        end = self._monotonic() + _END_SECONDS
        while self._process.poll() is None:
            self._drain()
            if self._monotonic() >= end:
                self._process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(TICK_SECONDS)

    def _drain(self) -> None:
        """Read what the program still prints, so that it doesn't wait for us."""
        output = self._process.stdout
        assert output is not None
        os.set_blocking(output.fileno(), False)
        with contextlib.suppress(OSError):
            for line in self._lines_of(os.read(output.fileno(), _READ_BYTES)):
                del line


def _shown(argument: str) -> str:
    """Return an argument in one line, so that the log shows where each begins and ends."""
    return argument if argument.isprintable() and " " not in argument else ascii(argument)
