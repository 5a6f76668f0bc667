"""Lines of text for people at a given width: wrapped sentences, tables, bars.

Widths are in the columns of a terminal, of which an emoji or a Chinese character takes two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jobtool.cli.streams import as_printed
from jobtool.names import is_utf8

#: A line is pieces of text, each with a style of rich's, which may be empty.
Line = tuple[tuple[str, str], ...]

#: A space of a sentence at which no line ends, such as within a command.
FIXED_SPACE = "\ue000"

_GAP = "  "

#: A column is never narrower than this.
_LEAST = 6


def cell_len(text: str) -> int:
    """Return how many columns a text takes. rich is only loaded for more than ASCII."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len as length_of

    return length_of(text)


def _cut_to(text: str, width: int) -> str:
    """Return what fits in so many columns of the start of a text, filled up with spaces."""
    if text.isascii():
        return text[:width].ljust(width)
    from rich.cells import set_cell_size

    return set_cell_size(text, width)


class Page:
    """How lines are made: for a terminal of ``width`` columns, None for output without a width.

    ``encoding`` is that of the output, None for UTF-8: what it can't show is replaced here, since
    that may be wider. With ``is_hard`` even a word that is longer than a line is broken.
    """

    def __init__(
        self, width: int | None, *, encoding: str | None = None, is_hard: bool = False
    ) -> None:
        self.width = width
        self.is_utf8 = is_utf8(encoding)
        self._encoding = "utf-8" if encoding is None or self.is_utf8 else encoding
        self._is_hard = is_hard
        self._cut = "…" if self.is_utf8 else "..."

    def shown(self, text: str) -> str:
        """Return a text as the output shows it."""
        return text if self.is_utf8 else as_printed(text, self._encoding)

    def sentence(
        self, text: str, *, mark: str = "", style: str = "", indent: int = 2
    ) -> list[Line]:
        """Return a sentence after a mark, such as a symbol; further lines are indented."""
        first = self.shown(f"{mark} ") if mark else ""
        # A fixed space may not be in the encoding.
        text = FIXED_SPACE.join(map(self.shown, text.split(FIXED_SPACE)))
        if self.width is None:
            return [((first + text.replace(FIXED_SPACE, " "), style),)]
        lines: list[str] = []
        line, is_empty = first, True
        room = self.width
        for word in text.split(" "):
            joined = line + word if is_empty else f"{line} {word}"
            if not is_empty and cell_len(joined) > room:
                lines.append(line)
                line, room = " " * indent + word, self.width
            else:
                line = joined
            is_empty = False
            while self._is_hard and cell_len(line) > room:
                part = _cut_to(line, room).rstrip()
                lines.append(part)
                line, room = " " * indent + line[len(part) :], self.width
        lines.append(line)
        return [((each.replace(FIXED_SPACE, " "), style),) for each in lines]

    def fit(self, text: str, width: int) -> str:
        """Return a text of at most ``width`` columns; what is left out of it is in its middle."""
        if cell_len(text) <= width:
            return text
        room = max(width - len(self._cut), 1)
        head = _cut_to(text, room - room // 2).rstrip()
        tail = text[::-1]
        while cell_len(tail) > room // 2:
            tail = tail[:-1]
        return _cut_to(head + self._cut + tail[::-1], width).rstrip()

    def table(
        self,
        headings: Sequence[str],
        rows: Sequence[Sequence[str]],
        *,
        right: frozenset[int] = frozenset(),
        flexible: Sequence[int] = (),
        least: Mapping[int, int] | None = None,
        styles: Sequence[str] = (),
    ) -> list[Line]:
        """Return a table with its headings.

        The columns ``right`` are aligned to the right. If the table is too wide, the columns
        ``flexible`` get narrower, the first one first, though not below ``least``; then columns
        are left out from the right.
        """
        headings = [*map(self.shown, headings)]
        rows = [[*map(self.shown, row)] for row in rows]
        columns = list(range(len(headings)))
        widths = [
            max(cell_len(heading), *(cell_len(row[column]) for row in rows), 0)
            for column, heading in enumerate(headings)
        ]
        if self.width is not None:
            for column in flexible:
                excess = sum(widths) + len(_GAP) * (len(columns) - 1) - self.width
                widths[column] -= max(
                    min(excess, widths[column] - (least or {}).get(column, _LEAST)), 0
                )
            while (
                len(columns) > 1
                and sum(widths[c] for c in columns) + len(_GAP) * (len(columns) - 1) > self.width
            ):
                columns.pop()
        lines: list[Line] = []
        for number, row in enumerate([headings, *rows]):
            cells = []
            for column in columns:
                text = self.fit(row[column], widths[column])
                space = " " * (widths[column] - cell_len(text))
                cells.append(space + text if column in right else text + space)
            style = "bold" if not number else styles[number - 1] if styles else ""
            lines.append(((_GAP.join(cells).rstrip(), style),))
        return lines

    def bar(self, fraction: float, width: int, style: str = "green") -> Line:
        """Return a bar of ``width`` columns; it is full only for 1."""
        full = min(max(int(fraction * width), 0), width)
        signs = "█░" if self.is_utf8 else "#-"
        return ((signs[0] * full, style), (signs[1] * (width - full), "dim"))


def plain(line: Line) -> str:
    """Return a line as text."""
    return "".join(text for text, _ in line)
