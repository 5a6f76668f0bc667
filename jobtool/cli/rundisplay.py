"""What a worker shows at the bottom of a terminal: the whole list, its job, its large files."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections import deque
from types import TracebackType
from typing import Self

from rich.console import Console as RichConsole
from rich.console import Group
from rich.live import Live
from rich.text import Text

from jobtool.cli.bars import BarLine, drawn
from jobtool.cli.stopsignals import Said
from jobtool.events import Event
from jobtool.names import is_utf8, quote
from jobtool.report.estimate import about_text
from jobtool.units import count_text, rate_text, size_text
from jobtool.worker.events import (
    JobFailed,
    JobHandedBack,
    JobLost,
    JobPhase,
    JobProgress,
    JobSucceeded,
    RunProgress,
)

#: How many files have a bar of their own, and from how many lines of a terminal on.
_FILES = 4
_LINES_FOR_FILES = 12

#: From this number of columns on, numbers are exact.
_WIDE = 120

#: The rate of the job is that of this time.
_RATE_SECONDS = 10.0

_PAINT_SECONDS = 0.25

#: How long the lines of a job stay after its end: between small jobs they would flicker.
_LINGER_SECONDS = 1.0

_ENDS = (JobSucceeded, JobFailed, JobHandedBack, JobLost)


class RunDisplay:
    """Lines at the bottom of a terminal; other lines scroll above them. Any thread may call it.

    Nothing is drawn by the callers, who only note what is to be shown. ``said`` is what signal
    handlers say.
    """

    def __init__(self, said: Said | None = None) -> None:
        self._said = said or Said()
        self._console = RichConsole(highlight=False)
        self._is_ascii = not is_utf8(sys.stdout.encoding)
        self._lock = threading.Lock()
        # rich doesn't expect that several threads paint: one would erase what another has drawn.
        self._painting = threading.Lock()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._repaint, name="display", daemon=True)
        self._job: str | None = None
        self._ended_at: float | None = None  # if it isn't under way any more
        self._phase = ""
        self._progress: JobProgress | None = None
        self._run: RunProgress | None = None
        self._samples: deque[tuple[float, int]] = deque()
        self._live = Live(
            get_renderable=self._drawn,
            console=self._console,
            transient=True,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def __enter__(self) -> Self:
        self._live.start()
        self._said.is_shown = True
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._said.is_shown = False
        self._is_over.set()
        self._thread.join()
        self._write_said()
        with contextlib.suppress(Exception):  # the terminal may be gone
            self._live.stop()

    def _repaint(self) -> None:
        while not self._is_over.wait(_PAINT_SECONDS):
            self._write_said()
            with contextlib.suppress(Exception), self._painting:
                self._live.refresh()

    def _write_said(self) -> None:
        # The terminal may be gone: after SIGHUP that is what is said.
        with self._painting, contextlib.suppress(Exception):
            while self._said.texts:
                self._console.print(Text(self._said.texts.popleft()), soft_wrap=True)

    def write(self, text: str) -> None:
        """Print lines above the display."""
        self._write_said()
        with self._painting:
            self._console.print(Text(text), soft_wrap=True)

    def on_event(self, event: Event) -> None:
        """Note the phase of a job while there is nothing to count yet, and its end."""
        if isinstance(event, JobPhase):
            with self._lock:
                self._begin(event.job)
                self._phase = event.phase
        elif isinstance(event, _ENDS):
            with self._lock:
                self._ended_at = time.monotonic()

    def show(self, progress: JobProgress) -> None:
        """Note the progress of a job."""
        with self._lock:
            self._begin(progress.job)
            self._phase = progress.phase
            self._progress = progress
            now = time.monotonic()
            self._samples.append((now, progress.bytes_sent))
            while len(self._samples) > 2 and now - self._samples[1][0] >= _RATE_SECONDS:
                self._samples.popleft()

    def show_run(self, run: RunProgress) -> None:
        """Note the progress of the run and of the whole list."""
        with self._lock:
            self._run = run

    def _begin(self, job: str) -> None:
        self._ended_at = None
        if self._job != job:
            self._job, self._progress = job, None
            self._samples.clear()

    def _drawn(self) -> Group:
        with self._lock:
            lines = self._lines()
        width = self._console.width
        return Group(*drawn(lines, width, is_ascii=self._is_ascii))

    def _lines(self) -> list[BarLine]:
        lines = []
        if self._run is not None and (whole := _whole_line(self._run)) is not None:
            lines.append(whole)
        if self._job is None or self._is_job_gone:
            return lines
        if self._progress is None:
            return [*lines, BarLine(name=quote(self._job), share=None, texts=[(9, self._phase)])]
        lines.append(self._job_line(self._progress))
        if self._console.height >= _LINES_FOR_FILES:
            lines += [
                BarLine(
                    name=quote(file.path),
                    share=file.bytes_done / file.bytes_total if file.bytes_total else None,
                    texts=[(5, f"{size_text(file.bytes_done)} of {size_text(file.bytes_total)}")],
                    style="blue",
                )
                for file in self._progress.under_way[:_FILES]
            ]
        return lines

    @property
    def _is_job_gone(self) -> bool:
        """Whether the job has ended, and no other has begun soon: the worker waits."""
        return self._ended_at is not None and time.monotonic() - self._ended_at > _LINGER_SECONDS

    def _job_line(self, told: JobProgress) -> BarLine:
        rate = self._rate()
        phase = (7, told.phase)
        if told.rows_done is not None:
            return self._rows_line(told, told.rows_done, rate)
        done, total = told.bytes_done, told.bytes_total
        if not total:  # a job of empty files has 0 bytes
            done, total = told.files_done, told.files_total
        left = told.bytes_total - told.bytes_done
        return BarLine(
            name=quote(told.job),
            share=done / total if total else None,
            texts=[
                phase,
                (5, f"{told.files_done:,}/{told.files_total:,} files"),
                (6, f"{size_text(told.bytes_done)} of {size_text(told.bytes_total)}"),
                (8, rate_text(rate) if rate else ""),
                (4, f"{about_text(left / rate)} left" if rate and left else ""),
            ],
            style="cyan",
        )

    def _rows_line(self, told: JobProgress, rows: int, rate: float | None) -> BarLine:
        is_wide = self._console.width >= _WIDE
        counted = (lambda number: f"{number:,}") if is_wide else count_text
        of = "" if told.rows_total is None else f"/{counted(told.rows_total)}"
        per_second = told.rows_per_second
        return BarLine(
            name=quote(told.job),
            share=None if not told.rows_total else rows / told.rows_total,
            texts=[
                (7, told.phase),
                (8, f"{counted(rows)}{of} rows"),
                (5, f"{told.files_done:,} chunks"),
                (4, size_text(told.bytes_done)),
                (3, rate_text(rate) if rate else ""),
                (6, f"{count_text(per_second)} rows/s" if per_second else ""),
            ],
            style="cyan",
        )

    def _rate(self) -> float | None:
        if len(self._samples) < 2:
            return None
        (since, before), (now, sent) = self._samples[0], self._samples[-1]
        return max(sent - before, 0) / (now - since) if now > since else None


def _whole_line(run: RunProgress) -> BarLine | None:
    """Return the line of the whole list; None if nothing is known of it."""
    share = run.share_done
    if share is None or run.list_jobs is None:
        return None
    sizes = ""
    if run.list_bytes:
        about = "about " if run.is_estimated else ""
        sizes = f"{size_text(run.list_bytes_done or 0)} of {about}{size_text(run.list_bytes)}"
    rate, left = run.list_bytes_per_second, run.seconds_left
    return BarLine(
        name="whole list",
        share=share,
        texts=[
            (6, f"{run.list_jobs_done:,}/{run.list_jobs:,} jobs"),
            (5, sizes),
            (7, rate_text(rate) if rate else ""),
            (8, f"about {about_text(left)} left" if left else ""),
        ],
    )


def can_be_shown() -> bool:
    """Return True if standard output is a terminal on which lines can be drawn again."""
    return sys.stdout.isatty() and os.environ.get("TERM", "").lower() not in ("dumb", "unknown", "")
