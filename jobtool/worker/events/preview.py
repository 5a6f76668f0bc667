"""The events of a dry run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import msgspec

from jobtool.events import Event
from jobtool.jobs.limits import rate_text as rate_as_written
from jobtool.level import Level
from jobtool.names import quote
from jobtool.transfer.foresight import Problem
from jobtool.units import duration_text, size_text
from jobtool.worker.jobtext import What

_HEADINGS = {
    "job": "job(s) that would be in error",
    "name": "file(s) whose names the destination can't hold",
    "clash": "file(s) with the name of a folder",
    "case": "name(s) that differ from others only in case",
    "unreadable": "file(s) that you may not read",
    "link": "link(s) that can't be followed or kept",
    "missing": "file(s) that aren't there",
    "unlisted": "file(s) or folder(s) that can't be listed or transferred",
    "in-the-way": "file(s) whose place is taken, with --if-exists error",
    "left-out": "item(s) that are no files and are left out",
}


class WouldTransfer(Event, frozen=True, kw_only=True):
    """A dry run found a job that a worker would do. ``what`` is as in ``JobStarted``.

    ``after`` is the ID of a job that must be done before; None if it can be done now. ``files`` and
    ``bytes`` are the job's, ``send_files`` and ``send_bytes`` those that would be sent. They are
    None for a job whose files aren't known.
    """

    kind: ClassVar[str] = "would-transfer"
    job: str
    source: str
    destination: str
    what: What = "files"
    after: str | None = None
    files: int | None = None
    bytes: int | None = None
    send_files: int | None = None
    send_bytes: int | None = None

    def text(self) -> str:
        """Return the sentence."""
        if self.what not in ("files", "rows", "manifest"):
            ends = " -> ".join(quote(end) for end in (self.source, self.destination) if end)
            after = "" if self.after is None else f", after {self.after}"
            return f"Would do {quote(self.job)}: {ends}{after}"
        if self.what == "rows":
            return f"Would export {quote(self.job)}: {self.source} -> {quote(self.destination)}"
        if self.what == "manifest":
            return f"Would then write the manifest and _SUCCESS: {quote(self.destination)}"
        return (
            f"Would transfer {quote(self.job)}: {quote(self.source)} -> {quote(self.destination)}"
        )


class PreviewProgress(Event, frozen=True, kw_only=True):
    """A dry run goes on: of ``jobs`` it has looked at ``jobs_done``, which have so many files."""

    kind: ClassVar[str] = "dry-run-progress"
    jobs_done: int
    jobs: int
    files: int
    bytes: int

    def text(self) -> str:
        """Return the sentence."""
        return (
            f"Looking: {self.jobs_done}/{self.jobs} jobs, {self.files:,} files, "
            f"{size_text(self.bytes)}"
        )


class RoomFound(msgspec.Struct, frozen=True, kw_only=True):
    """How much room there is at a destination, and how much is needed.

    ``limit`` says what sets the bound. ``free_bytes`` and ``free_files`` are None where there is
    no bound, or none that is known. ``needed_bytes`` count each copy that the store makes.
    ``suffices`` is True if everything fits, as far as is known.
    """

    limit: str
    free_bytes: int | None
    free_files: int | None
    needed_bytes: int
    needed_files: int
    suffices: bool

    def text(self) -> str:
        """Return a sentence without its subject."""
        free = [] if self.free_bytes is None else [f"{size_text(self.free_bytes)} free"]
        if self.free_files is not None:
            free.append(f"{self.free_files:,} more files")
        needed = f"{size_text(self.needed_bytes)} in {self.needed_files:,} files"
        verdict = "enough" if self.suffices else "NOT ENOUGH"
        return f"{verdict} for {needed}: {', '.join(free)} ({self.limit})"


class TimeEstimate(msgspec.Struct, frozen=True, kw_only=True):
    """How long the rest takes. ``basis`` is ``given`` or ``measured``.

    ``bytes_per_second`` is the rate, ``jobs`` are those it was measured with. ``least_seconds``
    and ``most_seconds`` differ if files and bytes tell different things. ``held_by`` says which
    limit of the joblist takes longer than the rate; None if none does.
    """

    basis: Literal["given", "measured"]
    bytes_per_second: float
    least_seconds: float
    most_seconds: float
    jobs: int | None = None
    held_by: str | None = None

    def text(self) -> str:
        """Return the estimate with its reason."""
        times = list(dict.fromkeys(map(duration_text, (self.least_seconds, self.most_seconds))))
        rate = f"{size_text(self.bytes_per_second)}/s"
        if self.basis == "given":
            why = f"at {rate_as_written(round(self.bytes_per_second))}, as given"
        else:
            why = f"at {rate}, as measured with {self.jobs} job(s) of this joblist"
            if len(times) > 1:
                why += "; by bytes or by files"
        if self.held_by is not None:
            why += f", held by {self.held_by}"
        return f"about {' to '.join(times)} ({why})"


class Preview(Event, frozen=True, kw_only=True):
    """What a dry run has found: what a worker would do with the jobs that it could claim now.

    ``jobs`` would run. ``sized_jobs`` of them were looked at; the others export rows, do steps of
    packages, come after other jobs, or couldn't be looked at (``not_looked_at`` says why).

    ``files`` and ``bytes`` are those of the sized jobs, ``proven_…`` those with receipts that
    count. ``compare_…`` are at the destination already, of the same size, and would be compared.
    ``send_…`` would be sent; ``kept_bytes`` of them have arrived in parts. ``largest`` is the
    largest file and ``largest_bytes`` its size. ``small_…`` are files below ``small_below_bytes``.
    ``excluded`` counts what filters leave out.

    ``rooms`` are the bounds on what may be written, ``without_room`` the destinations that tell
    none. ``requests`` are about what the stores of both sides would be asked, as ``lists``,
    ``reads`` and ``writes``. ``estimate`` is None without a rate. ``problems`` are what wouldn't
    arrive, and what is worth knowing. ``paused`` are sentences about what is paused: workers wait
    with it. ``stopped`` says why the dry run ended early, None if it didn't.
    """

    kind: ClassVar[str] = "dry-run"
    level: ClassVar[Level] = Level.ALWAYS
    path: str
    jobs: int
    sized_jobs: int
    files: int
    bytes: int
    proven_files: int
    proven_bytes: int
    compare_files: int
    compare_bytes: int
    send_files: int
    send_bytes: int
    kept_bytes: int
    largest: str | None
    largest_bytes: int
    small_files: int
    small_bytes: int
    small_below_bytes: int
    excluded: int
    rooms: Sequence[RoomFound]
    without_room: Sequence[str]
    requests: Mapping[str, Mapping[str, int]]
    estimate: TimeEstimate | None
    problems: Sequence[Problem]
    paused: Sequence[str] = ()
    compression: str = "none"
    not_looked_at: str | None = None
    stopped: str | None = None
    exit_code: int = 0

    def mark(self) -> str:
        """Return the symbol that its line begins with."""
        return "❗" if self.exit_code else "✅"

    def json(self) -> dict[str, Any]:
        """Return plain values."""
        lists = {
            "rooms": [msgspec.to_builtins(one) for one in self.rooms],
            "problems": [msgspec.to_builtins(one) for one in self.problems],
            "estimate": None if self.estimate is None else msgspec.to_builtins(self.estimate),
            "largest": None if self.largest is None else quote(self.largest),
            "without_room": [quote(one) for one in self.without_room],
            "paused": [*self.paused],
            "requests": {side: dict(counts) for side, counts in self.requests.items()},
        }
        return {**super().json(), **lists}

    def text(self) -> str:
        """Return the lines."""
        unsized = self.jobs - self.sized_jobs
        what = f"{self.jobs} job(s) would run"
        if unsized:
            what += f", {unsized} of them without known sizes"
        early = f"Stopped early: {self.stopped}. Until then: " if self.stopped else ""
        lines = [f"{early}{what}: {_amount(self.files, self.bytes)}. Nothing was written."]
        lines += [f"  {line}" for line in self._lines()]
        return "\n".join(lines)

    def _lines(self) -> list[str]:
        lines = [*self.paused]
        if self.not_looked_at is not None:
            lines.append(f"Not looked at further: {self.not_looked_at}")
        if self.sized_jobs:
            lines += self._amounts()
            lines += [f"Room: {room.text()}" for room in self.rooms]
            if self.without_room:
                more = len(self.without_room) - 1
                others = f" and {more} more" if more else ""
                lines.append(f"Room: {quote(self.without_room[0])}{others}: its server tells none")
            lines += self._requests()
            lines.append(f"Time: {self._time()}")
        for problem in self.problems:
            least = " or more" if problem.at_least else ""
            mark = "❗" if problem.is_error else "💡"
            heading = _HEADINGS[problem.kind]
            lines.append(f"{mark} {problem.count:,}{least} {heading}, such as:")
            lines += [f"    {example}" for example in problem.examples]
        return lines

    def _amounts(self) -> list[str]:
        lines = []
        if self.proven_files:
            lines.append(f"Proven already: {_amount(self.proven_files, self.proven_bytes)}")
        if self.compare_files:
            compared = _amount(self.compare_files, self.compare_bytes)
            lines.append(f"There already, to be compared: {compared}")
        sent = _amount(self.send_files, self.send_bytes)
        if self.kept_bytes:
            sent += f", of which {size_text(self.kept_bytes)} have arrived in parts"
        if self.compression != "none":
            sent += f", before compression ({self.compression})"
        lines.append(f"To send: {sent}")
        if self.largest is not None:
            lines.append(f"Largest file: {size_text(self.largest_bytes)}, {quote(self.largest)}")
        if self.small_files:
            lines.append(
                f"Small files, below {size_text(self.small_below_bytes)}: {self.small_files:,} of "
                f"{self.files:,} files, {size_text(self.small_bytes)} of {size_text(self.bytes)}"
            )
        if self.excluded:
            lines.append(f"Left out by filters: {self.excluded:,}")
        return lines

    def _requests(self) -> list[str]:
        told = []
        for side, counts in self.requests.items():
            parts = [f"{count:,} {name}" for name, count in counts.items() if count]
            if parts:
                told.append(f"{side} {', '.join(parts)}")
        return [f"Requests, about: {'; '.join(told)}"] if told else []

    def _time(self) -> str:
        if not (self.send_files or self.compare_files):
            return "nothing is to be moved"
        if self.estimate is None:
            return (
                "not known: no job of this joblist has been done yet. Give a rate, such as "
                "--rate 200MB/s"
            )
        return self.estimate.text()


def _amount(files: int, size: int) -> str:
    return f"{files:,} files, {size_text(size)}"
