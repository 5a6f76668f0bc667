"""Lines with bars, as wide as a terminal: what doesn't fit is left out, the least needed first."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from rich.cells import cell_len, set_cell_size
from rich.text import Text

_LEAST_BAR = 6
_MOST_BAR = 40
_LEAST_NAME = 8
_GAP = "  "


class BarLine(msgspec.Struct, frozen=True, kw_only=True):
    """A line: a name, a bar of ``share`` (0 to 1, None if that isn't known), and texts.

    ``texts`` are in the order in which they stand, each with how much it is needed: of those that
    don't fit, the ones with the lowest numbers are left out.
    """

    name: str
    share: float | None
    texts: Sequence[tuple[int, str]] = ()
    style: str = "green"


def drawn(lines: Sequence[BarLine], width: int, *, is_ascii: bool) -> list[Text]:
    """Return the lines, none longer than ``width`` columns. Names and bars stand below each other.

    A last column stays free: some terminals wrap a line that fills it.
    """
    room = max(width - 1, 1)
    longest = max((cell_len(line.name) for line in lines), default=0)
    name_width = min(longest, max(_LEAST_NAME, room // 4))
    kept = [_kept(line, room - name_width - _LEAST_BAR - len(_GAP) - 6) for line in lines]
    tails = [_GAP.join(texts) for texts in kept]
    widest = max((cell_len(tail) for tail in tails), default=0)
    bar_width = room - name_width - len(_GAP) - 6 - (widest + len(_GAP) if widest else 0)
    bar_width = min(bar_width, _MOST_BAR)
    return [
        _line(line, tail, name_width, bar_width, room, is_ascii=is_ascii)
        for line, tail in zip(lines, tails, strict=True)
    ]


def _kept(line: BarLine, room: int) -> list[str]:
    """Return the texts of a line that fit, in their order."""
    texts = [(need, text) for need, text in line.texts if text]
    while texts and cell_len(_GAP.join(text for _, text in texts)) + len(_GAP) > room:
        texts.remove(min(texts, key=lambda each: each[0]))
    return [text for _, text in texts]


def _line(
    line: BarLine, tail: str, name_width: int, bar_width: int, room: int, *, is_ascii: bool
) -> Text:
    text = Text(no_wrap=True, overflow="crop")
    text.append(_shortened(line.name, name_width, is_ascii=is_ascii))
    if bar_width >= _LEAST_BAR:
        text.append(_GAP)
        done, rest = ("#", ".") if is_ascii else ("━", "─")
        filled = 0 if line.share is None else int(bar_width * min(max(line.share, 0.0), 1.0))
        text.append(done * filled, line.style)
        text.append(rest * (bar_width - filled), "bright_black")
    percent = "" if line.share is None else f"{int(100 * min(line.share, 1.0))} %"
    text.append(f" {percent:>5}")
    if tail:
        text.append(_GAP + tail)
    text.truncate(room, overflow="crop")
    return text


def _shortened(name: str, width: int, *, is_ascii: bool) -> str:
    """Return a name in just so many columns; of a long one the end is kept, which differs most."""
    if cell_len(name) <= width:
        return set_cell_size(name, width)
    sign = "..." if is_ascii else "…"
    end = name
    while end and cell_len(sign + end) > width:
        end = end[1:]
    return set_cell_size(sign + end, width)
