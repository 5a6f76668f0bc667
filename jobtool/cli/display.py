"""A display on a terminal that counts."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Self

from rich.console import Console as RichConsole
from rich.progress import Progress, SpinnerColumn, TextColumn
from rich.text import Text

from jobtool.names import is_utf8


class CountDisplay:
    """Counts things as they are done, in one line at the bottom; other lines scroll above it."""

    def __init__(self, noun: str) -> None:
        spinner = "dots" if is_utf8(sys.stdout.encoding) else "line"
        self._console = RichConsole(highlight=False)
        self._progress = Progress(
            SpinnerColumn(spinner),
            TextColumn("{task.completed} {task.description}"),
            console=self._console,
            transient=True,
            refresh_per_second=5,
        )
        self._task = self._progress.add_task(noun, total=None)

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

    def show(self, count: int) -> None:
        """Draw how many are done."""
        self._progress.update(self._task, completed=count)

    def write(self, text: str) -> None:
        """Print lines above the display."""
        self._console.print(Text(text), soft_wrap=True)
