"""Which pauses a joblist has, for people who look at it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from jobtool.errors import JoblistError
from jobtool.jobs.control import Pause, read_control
from jobtool.jobs.jobchoice import job_name
from jobtool.jobs.joblist import JobList
from jobtool.jobs.stamps import stamp_of
from jobtool.names import quote, shell_word
from jobtool.report.steered import named


class PausedPart(msgspec.Struct, frozen=True, kw_only=True):
    """A joblist that is paused, or some of its jobs by their names; None for all.

    ``by`` is who paused it, on ``host``, ``since`` when, in UTC.
    """

    by: str
    host: str
    since: str
    jobs: tuple[str, ...] | None = None

    def text(self) -> str:
        """Return it as a sentence without a full stop."""
        what = "The joblist is paused"
        if self.jobs is not None:
            what = f"{named(self.jobs)} {'is' if len(self.jobs) == 1 else 'are'} paused"
            what = what[:1].upper() + what[1:]
        where = f" on {quote(self.host)}" if self.host else ""
        return f"{what}, by {quote(self.by)}{where} since {self.since}"

    def json(self) -> dict[str, Any]:
        """Return plain values."""
        jobs = None if self.jobs is None else [quote(job) for job in self.jobs]
        return {"by": self.by, "host": self.host, "since": self.since, "jobs": jobs}


class Pauses(msgspec.Struct, frozen=True, kw_only=True):
    """What is paused of a joblist. ``unreadable`` says why that isn't known, empty if it is."""

    parts: tuple[PausedPart, ...] = ()
    unreadable: str = ""

    def lines(self, joblist_path: str) -> Iterator[str]:
        """Yield what is paused, as sentences, with what to do."""
        if self.unreadable:
            yield self.unreadable
        for part in self.parts:
            yield f"{part.text()}. To go on: jobtool resume {shell_word(joblist_path)}"

    def of_job(self, name: str) -> PausedPart | None:
        """Return the pause of a job, by its name."""
        return next((each for each in self.parts if each.jobs is None or name in each.jobs), None)


def read_pauses(joblist: JobList) -> Pauses:
    """Read which pauses a joblist has. Never fails."""
    try:
        control = read_control(joblist)
    except JoblistError as error:
        return Pauses(unreadable=str(error))
    whole = [each for each in control.pauses if each.jobs is None]
    some = [each for each in control.pauses if each.jobs is not None]
    return Pauses(parts=tuple(_part(joblist, each) for each in (*whole, *some)))


def _part(joblist: JobList, pause: Pause) -> PausedPart:
    jobs = None
    if pause.jobs is not None:
        jobs = tuple(job_name(joblist, job_id) for job_id in sorted(pause.jobs))
    return PausedPart(by=pause.by, host=pause.host, since=stamp_of(pause.at), jobs=jobs)
