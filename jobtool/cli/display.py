"""Displays on a terminal."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any, Self

from rich.console import Console as RichConsole
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text

from jobtool.events import Event
from jobtool.names import is_utf8, quote
from jobtool.transfer.phases import Phase
from jobtool.units import count_text, rate_text, size_text
from jobtool.worker.events import JobPhase, JobProgress

_MEGABYTE = 1_000_000

#: From this number of columns on, a line has room for exact counts and both rates.
_WIDE = 120


class _Display:
    """One line at the bottom of a terminal; other lines scroll above it."""

    def __init__(self, *columns: ProgressColumn) -> None:
        self._console = RichConsole(highlight=False)
        self._progress = Progress(
            *columns, console=self._console, transient=True, refresh_per_second=5
        )
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def _draw(self, description: str, **fields: Any) -> None:
        # With all values from the start: a new task is drawn before it could be updated.
        if self._task is None:
            self._task = self._progress.add_task(description, **fields)
        else:
            self._progress.update(self._task, description=description, **fields)

    def write(self, text: str) -> None:
        """Print lines above the display."""
        self._console.print(Text(text), soft_wrap=True)


class _RateColumn(ProgressColumn):
    """The rate, in the units that are used everywhere else.

    For a task that counts rows its field ``byte_rate`` is the rate in bytes; it may be left out.
    """

    def render(self, task: Task) -> Text:
        """Return the text."""
        speed = task.finished_speed or task.speed
        byte_rate = task.fields.get("byte_rate")
        if byte_rate is None:
            shown = [rate_text(speed)] if speed else []
        else:
            shown = [byte_rate, *([f"{count_text(speed)} rows/s"] if speed else [])]
        return Text(" ".join(filter(None, shown)), style="progress.data.speed")


class CountDisplay(_Display):
    """Counts things as they are done."""

    def __init__(self, noun: str) -> None:
        spinner = "dots" if is_utf8(sys.stdout.encoding) else "line"
        super().__init__(SpinnerColumn(spinner), TextColumn("{task.completed} {task.description}"))
        self._task = self._progress.add_task(noun, total=None)

    def show(self, count: int) -> None:
        """Draw how many are done."""
        assert self._task is not None
        self._progress.update(self._task, completed=count)


class ProgressDisplay(_Display):
    """Draws the running job: its phase, files, bytes, rate and time left; for an export its rows.

    A terminal of fewer than ``_WIDE`` columns has no room for all that is known of an export.
    """

    def __init__(self) -> None:
        super().__init__(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[phase]}", markup=False, table_column=Column(no_wrap=True)),
            TextColumn("{task.fields[files]}", markup=False, table_column=Column(no_wrap=True)),
            TextColumn("{task.fields[sizes]}", markup=False, table_column=Column(no_wrap=True)),
            _RateColumn(table_column=Column(no_wrap=True)),
            TimeRemainingColumn(),
        )
        self._job: str | None = None

    def on_event(self, event: Event) -> None:
        """Draw the phase of a job while there is nothing to count yet."""
        if isinstance(event, JobPhase):
            self._begin(event.job)
            if self._task is None:
                self._draw(quote(event.job), total=None, files="", sizes="", phase=event.phase)
            else:
                self._draw(quote(event.job), phase=event.phase)

    def _begin(self, job: str) -> None:
        if self._job != job and self._task is not None:
            self._progress.remove_task(self._task)
            self._task = None
        self._job = job

    def show(self, progress: JobProgress) -> None:
        """Draw the progress of a job."""
        self._begin(progress.job)
        if progress.rows_done is not None:
            self._show_rows(progress, progress.rows_done)
            return
        self._draw(
            quote(progress.job),
            # A job of empty files has 0 bytes.
            total=progress.bytes_total or progress.files_total,
            completed=progress.bytes_done if progress.bytes_total else progress.files_done,
            files=f"{progress.files_done}/{progress.files_total} files",
            sizes=f"{size_text(progress.bytes_done)} of {size_text(progress.bytes_total)}",
            phase=progress.phase,
        )

    def _show_rows(self, progress: JobProgress, rows: int) -> None:
        is_wide = self._console.width >= _WIDE
        counted = (lambda number: f"{number:,}") if is_wide else count_text
        total = progress.rows_total
        of = "" if total is None else f"/{counted(total)}"
        is_moving = progress.phase == Phase.EXPORTING
        self._draw(
            quote(progress.job),
            total=total,
            completed=rows,
            files=f"{counted(rows)}{of} rows",
            sizes=f"{progress.files_done} chunks {size_text(progress.bytes_done)}",
            # Moving counts need no word for it.
            phase="" if is_moving and not is_wide else progress.phase,
            byte_rate=rate_text(progress.rate_mb_s * _MEGABYTE) if is_wide else "",
        )
