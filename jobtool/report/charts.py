"""The charts of a report as SVG, drawn by matplotlib: they need no script and no network.

Colours are variables of the page's style sheet, so that the charts follow light, dark and print.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from jobtool.errors import UsageError
from jobtool.report.attempts import Outcome
from jobtool.report.collect import Report, Span
from jobtool.units import count_text, rate_text, size_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: More workers aren't drawn, and gaps shorter than this share of the whole time are closed.
MOST_WORKERS = 40
_SHORTEST_GAP = 1 / 250

#: The colours that matplotlib is given, and what stands for them in the page.
_COLOURS = {
    "#010101": "var(--ink)",
    "#020202": "var(--line)",
    "#030303": "var(--accent)",
    "#040404": "var(--success)",
    "#050505": "var(--error)",
    "#060606": "var(--todo)",
    "#070707": "var(--ongoing)",
}
_INK, _LINE, _ACCENT, _SUCCESS, _ERROR, _TODO, _ONGOING = _COLOURS
_OF_OUTCOME = {
    Outcome.SUCCESS: _SUCCESS,
    Outcome.ERROR: _ERROR,
    Outcome.HANDED_BACK: _TODO,
    Outcome.UNFINISHED: _ONGOING,
}

_WIDTH_INCHES = 6.0
_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text
    "text.parse_math": False,  # names may have a $
    "font.family": "sans-serif",
    "font.size": 10.5,
    "text.color": _INK,
    "axes.edgecolor": _LINE,
    "axes.labelcolor": _INK,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "xtick.color": _INK,
    "ytick.color": _INK,
    "grid.color": _LINE,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def require_matplotlib() -> None:
    """Raise ``UsageError`` unless matplotlib can be imported."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        raise UsageError(
            "the charts of an HTML report need the package matplotlib: pip install "
            "'jobtool[report]'. --markdown and --csv need no further package."
        ) from None


def throughput_chart(report: Report) -> str:
    """Return the rate over time; empty if no bytes are known to have moved."""
    if not report.rates:
        return ""
    times = [start for start, _ in report.rates]
    rates = [rate for _, rate in report.rates]

    def draw(axes: Axes) -> None:
        axes.stairs(rates, [*times, times[-1] + report.interval_seconds], fill=True, color=_ACCENT)
        axes.set_ylim(0)
        _size_axis(axes, rate_text)
        _time_axis(axes)

    return _drawn("throughput", "Bytes per second over time", 2.6, draw)


def sizes_chart(sizes: Mapping[int, int]) -> str:
    """Return how many files have which size; empty if no receipt is known.

    ``sizes`` counts files by the number of bits of their size.
    """
    if not sizes:
        return ""
    from matplotlib.ticker import MaxNLocator

    groups: dict[int, int] = {}
    for bits, files in sizes.items():
        group = (bits + 1) // 2  # sizes below 4 to this power
        groups[group] = groups.get(group, 0) + files
    first, last = min(groups), max(groups)

    def draw(axes: Axes) -> None:
        shown = range(first, last + 1)
        axes.bar(shown, [groups.get(each, 0) for each in shown], width=0.86, color=_ACCENT)
        step = 1 + len(shown) // 6
        axes.set_xticks([each - 0.5 for each in range(first, last + 2, step)])
        axes.xaxis.set_major_formatter(lambda at, _: _round_size(4 ** round(at - 0.5)))
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        axes.yaxis.set_major_formatter(lambda count, _: count_text(count))
        axes.set_ylabel("files")

    return _drawn("sizes", "Number of files by size", 2.6, draw)


def workers_chart(report: Report) -> str:
    """Return when each worker was at work; empty if none has begun."""
    if not report.workers:
        return ""
    workers = sorted(report.workers.items(), key=lambda each: each[1][0].start)[:MOST_WORKERS]
    starts = min(spans[0].start for _, spans in workers)
    ends = max(max(span.end for span in spans) for _, spans in workers)
    gap = max((ends - starts) * _SHORTEST_GAP, 1)

    def draw(axes: Axes) -> None:
        for row, (_, spans) in enumerate(workers):
            for outcome, colour in _OF_OUTCOME.items():
                bars = [
                    (span.start, max(span.end - span.start, gap / 2))
                    for span in merged(spans, gap)
                    if span.outcome is outcome
                ]
                if bars:
                    axes.broken_barh(bars, (row - 0.35, 0.7), color=colour, linewidth=0)
        axes.set_ylim(len(workers) - 0.4, -0.6)
        axes.set_yticks(range(len(workers)), [_ascii(name) for name, _ in workers])
        axes.set_xlim(starts, max(ends, starts + 1))
        _time_axis(axes)

    return _drawn("workers", "When each worker was at work", 0.8 + 0.26 * len(workers), draw)


def merged(spans: list[Span], gap: float) -> list[Span]:
    """Join neighbours of one outcome that are less than ``gap`` seconds apart."""
    found: list[Span] = []
    for span in spans:
        last = found[-1] if found else None
        if last and last.outcome is span.outcome and span.start - last.end < gap:
            found[-1] = Span(last.start, max(last.end, span.end), last.outcome)
        else:
            found.append(span)
    return found


def _drawn(name: str, title: str, height_inches: float, draw: Callable[[Axes], None]) -> str:
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({**_SETTINGS, "svg.hashsalt": name}):
        figure = Figure(figsize=(_WIDTH_INCHES, height_inches), layout="constrained")
        axes = figure.add_subplot()
        axes.tick_params(length=0)
        axes.tick_params(axis="x", pad=8)  # clear of the lowest label of the other axis
        draw(axes)
        return _svg(figure, name, title)


def _svg(figure: Figure, name: str, title: str) -> str:
    """Return a figure as an element for a page, with identifiers of its own."""
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", text)
    text = re.sub(
        r'^<svg [^>]*?(viewBox="[^"]*")[^>]*>', rf'<svg role="img" aria-label="{title}" \1>', text
    )
    for colour, variable in _COLOURS.items():
        text = text.replace(colour, variable)
    return re.sub(r"\n\s*", "\n", text)


def _size_axis(axes: Axes, text_of: Callable[[float], str]) -> None:
    """Put marks at round numbers of the binary units."""
    from matplotlib.ticker import MaxNLocator

    most = axes.get_ylim()[1]
    unit = 1
    while most >= 1024 * unit:
        unit *= 1024
    marks = MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]).tick_values(0, most / unit)
    axes.set_yticks([mark * unit for mark in marks if mark * unit <= most])
    axes.yaxis.set_major_formatter(lambda rate, _: text_of(rate))
    axes.grid(axis="y", linewidth=0.6)
    axes.set_axisbelow(True)


def _time_axis(axes: Axes) -> None:
    """Show seconds since 1970 as times in UTC, dates where there are several days."""
    from matplotlib.ticker import FixedLocator

    first, last = axes.get_xlim()
    step = next((each for each in _STEPS if (last - first) / each <= 6), None)
    step = step or _STEPS[-1] * -int(-(last - first) // (6 * _STEPS[-1]))
    marks = range(int(-(-first // step)) * step, int(last) + 1, step)
    form = "%Y-%m-%d" if step >= 86400 else "%m-%d\n%H:%M" if last - first > 86400 else "%H:%M"
    if step < 60:
        form = "%H:%M:%S"
    axes.xaxis.set_major_locator(FixedLocator(list(marks)))
    axes.xaxis.set_major_formatter(lambda at, _: datetime.fromtimestamp(at, UTC).strftime(form))


_STEPS = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400, 28800, 43200, 86400)


def _round_size(size_bytes: int) -> str:
    return size_text(size_bytes).replace(".0 ", " ")


def _ascii(name: str) -> str:
    """Return a worker's name for a label: the font needn't have other characters."""
    plain = "".join(letter if " " < letter <= "~" else "?" for letter in name)
    return plain if len(plain) <= 28 else f"{plain[:12]}..{plain[-13:]}"
