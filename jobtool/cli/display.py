"""Displays on a terminal."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

from rich.console import Console as RichConsole
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Column
from rich.text import Text

from jobtool.names import quote
from jobtool.worker.events import JobProgress


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
        # At once with what is known: a new task is drawn before it could be updated.
        if self._task is None:
            self._task = self._progress.add_task(description, **fields)
        else:
            self._progress.update(self._task, description=description, **fields)

    def write(self, text: str) -> None:
        """Print lines above the display."""
        self._console.print(Text(text), soft_wrap=True)


class CountDisplay(_Display):
    """Counts things as they are done."""

    def __init__(self, noun: str) -> None:
        super().__init__(SpinnerColumn(), TextColumn("{task.completed} {task.description}"))
        self._task = self._progress.add_task(noun, total=None)

    def show(self, count: int) -> None:
        """Draw how many are done."""
        assert self._task is not None
        self._progress.update(self._task, completed=count)


class ProgressDisplay(_Display):
    """Draws the job under way: files, bytes, rate, time left."""

    def __init__(self) -> None:
        super().__init__(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[files]}", markup=False),
            DownloadColumn(table_column=Column(no_wrap=True)),
            TransferSpeedColumn(table_column=Column(no_wrap=True)),
            TimeRemainingColumn(),
        )
        self._job: str | None = None

    def show(self, progress: JobProgress) -> None:
        """Draw how far a job is."""
        if self._job != progress.job and self._task is not None:
            self._progress.remove_task(self._task)
            self._task = None
        self._job = progress.job
        self._draw(
            quote(progress.job),
            # A job of empty files has no bytes to count.
            total=progress.bytes_total or progress.files_total,
            completed=progress.bytes_done if progress.bytes_total else progress.files_done,
            files=f"{progress.files_done}/{progress.files_total} files",
        )
