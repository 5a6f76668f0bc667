"""The overview of a joblist as lines for people."""

from __future__ import annotations

from collections.abc import Sequence

from jobtool.cli.console import DONE, FAILED, INFO, WARNING
from jobtool.cli.page import FIXED_SPACE, Line, Page
from jobtool.jobs.job import JobStatus
from jobtool.jobs.stamps import stamp_of
from jobtool.jobs.workerstates import SeenState
from jobtool.names import quote, shell_word, visible
from jobtool.report.hints import hint_parts
from jobtool.report.jobline import JobLine
from jobtool.report.overview import Overview
from jobtool.report.shown import shown_name, shown_text
from jobtool.units import duration_text, rate_text, size_text

#: How many of each are shown.
MOST_CAUSES = 10
MOST_WORKERS = 20
MOST_VALUES = 40
_MOST_NAMED = 3

_BAR_COLUMNS, _LEAST_BAR_COLUMNS = 30, 5

_COUNTED = (
    (INFO, "Todo", JobStatus.TODO, ""),
    (INFO, "Ongoing", JobStatus.ONGOING, ""),
    (DONE, "Success", JobStatus.SUCCESS, "green"),
    (FAILED, "Error", JobStatus.ERROR, "red"),
)


class View:
    """An overview on a page. Each method returns the lines of one part, none if it is empty."""

    def __init__(self, overview: Overview, page: Page) -> None:
        self.overview = overview
        self.page = page

    def counts(self) -> list[Line]:
        """Return how many jobs have which status, a line each."""
        counts = self.overview.counts
        lines = self.page.sentence(f"Total jobs: {self.overview.total}", mark=INFO)
        for mark, word, status, style in _COUNTED:
            count = counts[status]
            text = f"{word} jobs: {count}"
            lines += self.page.sentence(text, mark=mark, style=style if count else "")
        if counts[None]:
            text = f"Invalid jobs: {counts[None]}"
            lines += self.page.sentence(text, mark=WARNING, style="red")
        return lines

    def bar(self) -> list[Line]:
        """Return a bar of what is done, with files and bytes."""
        found = self.overview.estimate
        if not found.jobs:
            return []
        if found.bytes_total:
            fraction = found.bytes_done / found.bytes_total
        else:
            fraction = found.jobs_done / found.jobs
        is_all = found.jobs_done == found.jobs
        fraction = 1.0 if is_all else min(fraction, 0.999)
        parts = [f"{int(100 * fraction)}%"]
        about = "about " if found.is_estimated else ""
        if found.bytes_total is not None:
            of = "" if is_all else f" of {about}{size_text(found.bytes_total)}"
            parts.append(f"{size_text(found.bytes_done)}{of}")
        if found.files_total is not None:
            of = "" if is_all else f" of {about}{found.files_total:,}"
            files = "file" if is_all and found.files_done == 1 else "files"
            parts.append(f"{found.files_done:,}{of} {files}")
        text = "  ".join([parts[0], ", ".join(parts[1:])]).rstrip()
        width, mark = _BAR_COLUMNS, self.page.shown(f"{INFO} ")
        if self.page.width is not None:
            width = min(width, self.page.width - len(text) - len(mark) - 2)
        if width < _LEAST_BAR_COLUMNS:
            return self.page.sentence(text, mark=INFO, indent=3)
        return [((mark, ""), *self.page.bar(fraction, width), (f" {text}", ""))]

    def rate(self) -> list[Line]:
        """Return the rates and the time that is left, as far as they are known."""
        found = self.overview.estimate
        left = found.left_text()
        told = []
        if left:
            told.append(left[0].upper() + left[1:])
        elif found.rate_now is not None:
            now = rate_text(found.rate_now) if found.rate_now else "Nothing moves"
            told.append(f"{now} now")
        if found.rate_mean is not None:
            told.append(f"{rate_text(found.rate_mean)} on average")
        return self.page.sentence("; ".join(told), mark=INFO, indent=3) if told else []

    def since(self) -> list[Line]:
        """Return what has happened since the time that was asked for."""
        found = self.overview.since
        if found is None:
            return []
        local = found.time.astimezone().strftime("%Y-%m-%d %H:%M")
        text = (
            f"Since {local}: {found.succeeded} job(s) succeeded, {found.failed} failed, "
            f"{size_text(found.bytes)} moved in {found.attempts} attempt(s)"
        )
        return self.page.sentence(text, mark=INFO, indent=3)

    def causes(self) -> list[Line]:
        """Return the errors by cause: how many, one example, and what deals with them."""
        lines: list[Line] = []
        causes = self.overview.causes
        for cause in causes[:MOST_CAUSES]:
            mark = FAILED if cause.status == "error" else WARNING
            what = "invalid: " if cause.status == "invalid" else ""
            if cause.requires_intervention:
                what += "requires intervention: "
            job = shown_name(cause.jobs[0])
            many = len(cause.jobs) > 1
            head = f"{len(cause.jobs)} jobs: " if many else f"{job}: "
            text = head + what + shown_text(cause.text)
            lines += self.page.sentence(text, mark=mark, style="red", indent=3)
            such = f"Such as {job}. " if many else ""
            parts = [visible(part) for part in hint_parts(cause, self.overview.path)]
            parts[1::2] = [part.replace(" ", FIXED_SPACE) for part in parts[1::2]]
            lines += self.page.sentence(f"{such}{''.join(parts)}", mark="  ", indent=3)
        if len(causes) > MOST_CAUSES:
            jobs = sum(len(cause.jobs) for cause in causes[MOST_CAUSES:])
            text = (
                f"{jobs} more jobs by {len(causes) - MOST_CAUSES} more causes: see --status error"
            )
            lines += self.page.sentence(text, mark=FAILED, style="red", indent=3)
        return lines

    def abandoned(self) -> list[Line]:
        """Return the ongoing jobs that nobody holds."""
        jobs = self.overview.abandoned
        if not jobs:
            return []
        text = (
            f"{len(jobs)} ongoing job(s) that no worker seems to hold; the next worker takes them "
            "over:"
        )
        lines = self.page.sentence(text, mark=WARNING, style="yellow", indent=3)
        for job in jobs[:_MOST_NAMED]:
            lines += self.page.sentence(f"  {quote(job.job)} ({visible(job.note)})", indent=4)
        if len(jobs) > _MOST_NAMED:
            lines.append(((f"  and {len(jobs) - _MOST_NAMED} more (-v 2 shows all)", ""),))
        return lines

    def workers(self, most: int = MOST_WORKERS) -> list[Line]:
        """Return the workers that are alive: what each does, and when it last moved a byte."""
        workers = self.overview.workers
        if not workers:
            return []
        shown = sorted(workers, key=_most_telling)[:most]
        headings = ("worker", "job", "doing", "done", "rate", "last byte")
        table = self.page.table(
            headings,
            [_worker_row(seen) for seen in shown],
            right=frozenset({3, 4, 5}),
            flexible=(2, 1, 0),
            least={1: 16, 2: 9},
            styles=["yellow" if seen.is_late else "" for seen in shown],
        )
        lines = [*self.page.sentence(f"Workers alive: {len(workers)}", mark=INFO), *table]
        if len(workers) > len(shown):
            lines.append(((f"and {len(workers) - len(shown)} more", ""),))
        return lines

    def values(self) -> list[Line]:
        """Return the jobs by the values of a layout field."""
        values, name = self.overview.values, self.overview.field
        if name is None:
            return []
        # Those with unfinished jobs first, if there are too many.
        shown = sorted(values, key=lambda each: each.done == each.jobs)[:MOST_VALUES]
        shown.sort(key=lambda each: each.value)
        rows = [
            (
                *(shown_name(each.value), f"{each.done}/{each.jobs}"),
                *(str(each.ongoing or ""), str(each.error or "")),
                size_text(each.bytes_done) if each.bytes_done else "",
            )
            for each in shown
        ]
        lines = self.page.table(
            (shown_text(name), "done", "ongoing", "error", "size"),
            rows,
            right=frozenset({1, 2, 3, 4}),
            flexible=(0,),
            styles=["red" if each.error else "" for each in shown],
        )
        if len(values) > len(shown):
            lines.append(((f"and {len(values) - len(shown)} more", ""),))
        return lines

    def steps(self) -> list[Line]:
        """Return how far packages are, by step and route."""
        steps = self.overview.steps
        if not steps:
            return []
        rows = []
        for line in steps:
            counts = (line.ongoing, line.error, line.waiting, line.elsewhere)
            size = size_text(line.bytes_done) if line.bytes_done else ""
            route = quote(line.route) if line.route else ""
            done = f"{line.done}/{line.jobs}"
            rows.append((line.step, route, done, size, *(str(count or "") for count in counts)))
        return self.page.table(
            ("step", "route", "done", "bytes", "ongoing", "error", "waiting", "for other sites"),
            rows,
            flexible=(1,),
        )

    def further(self) -> list[Line]:
        """Return what else there is to know, and how to go on."""
        found, page = self.overview, self.page
        lines: list[Line] = []
        if found.rows_done is not None:
            of = "" if found.rows_total is None else f" of {found.rows_total:,}"
            lines += page.sentence(f"Rows of finished jobs: {found.rows_done:,}{of}", mark=INFO)
        if found.excluded:
            command = f"jobtool excluded {shell_word(found.path)}".replace(" ", FIXED_SPACE)
            text = f"Left out by filters: {found.excluded:,} ({command} lists it)"
            lines += page.sentence(text, mark=INFO, indent=3)
        if found.waiting:
            files = sum(job.waiting_files for job in found.waiting)
            first = found.waiting[0]
            text = (
                f"Todo jobs that wait for {files} file(s) that can't be read yet: "
                f"{len(found.waiting)}, as {quote(first.job)}: {visible(first.note)}"
            )
            lines += page.sentence(text, mark=INFO, indent=3)
        if found.needing_newer:
            why = found.needing_newer[0]
            text = (
                f"Jobs that need a newer version: {len(found.needing_newer)}, as "
                f"{quote(why.job)}: {visible(why.note)}"
            )
            lines += page.sentence(text, mark=WARNING, indent=3)
        if page.width is not None and self._lacks_workers():
            start = f"jobtool transfer {shell_word(found.path)}".replace(" ", FIXED_SPACE)
            text = f"No worker is at work. Start as many as you like: {start}"
            lines += page.sentence(text, mark=INFO, indent=3)
        if found.counts[JobStatus.ERROR]:
            again = f"jobtool retry {shell_word(found.path)}".replace(" ", FIXED_SPACE)
            text = f"To try them again once that is fixed: {again}"
            lines += page.sentence(text, mark=INFO, indent=3)
        return lines

    def _lacks_workers(self) -> bool:
        """Whether jobs can be done now, and nobody seems to do any."""
        found = self.overview
        held = found.counts[JobStatus.ONGOING] - len(found.abandoned)
        can_be_done = found.counts[JobStatus.TODO] > len(found.waiting) or found.abandoned
        return bool(can_be_done) and not (found.workers or held or found.pauses.parts)

    def jobs(self, jobs: Sequence[JobLine], *, is_export: bool) -> list[Line]:
        """Return a line for each job."""
        has_routes = any(job.package for job in jobs)
        rows_heading = ("rows",) if is_export else ()
        route_heading = ("route",) if has_routes else ()
        headings = ("job", "status", "files", "size", *rows_heading, *route_heading, "note")
        rows = []
        for job in jobs:
            files = "" if job.files_total is None else f"{job.files_done}/{job.files_total}"
            size = "" if job.bytes_total is None else size_text(job.bytes_total)
            note = visible(job.note)
            if job.requires_intervention:
                note = f"requires intervention: {note}"
            counted = (_rows_text(job),) if is_export else ()
            route = job.package.route if job.package is not None else None
            taken = (quote(route) if route else "",) if has_routes else ()
            status = job.status.value if job.status else "invalid"
            rows.append((quote(job.job), status, files, size, *counted, *taken, note))
        return self.page.table(
            headings,
            rows,
            right=frozenset({3}),
            flexible=(len(headings) - 1, 0),
            styles=["red" if row[1] in ("error", "invalid") else "" for row in rows],
        )

    def pauses(self) -> list[Line]:
        """Return what is paused, and how to go on."""
        lines: list[Line] = []
        for text in self.overview.pauses.lines(self.overview.path):
            lines += self.page.sentence(visible(text), mark=WARNING, style="yellow", indent=3)
        return lines

    def state(self) -> list[Line]:
        """Return what keeps the overview from being whole: a list that is gone, or unread jobs."""
        found, lines = self.overview, list[Line]()
        if found.trouble:
            text = f"As it was at {stamp_of(found.looked_at)}. {visible(found.trouble)}"
            lines += self.page.sentence(text, mark=WARNING, style="yellow", indent=3)
        if found.unread:
            total = found.total + found.unread
            text = f"Reading job files: {found.total:,} of {total:,} so far"
            lines += self.page.sentence(text, mark=INFO, style="yellow", indent=3)
        return lines


def _most_telling(seen: SeenState) -> tuple[bool, str]:
    """Sort workers that have a job before the others."""
    return seen.state.job is None, seen.state.worker


def _worker_row(seen: SeenState) -> tuple[str, ...]:
    state = seen.state
    doing = state.phase or state.state
    if state.state not in ("working", "idle"):
        doing = f"{state.state}: {state.phase}" if state.phase else state.state
    done = ""
    if state.rows_total and state.rows_done is not None:
        done = f"{100 * state.rows_done // state.rows_total}%"
    elif state.bytes_total and state.bytes_done is not None:
        share = min(state.bytes_done / state.bytes_total, 1.0)
        done = f"{int(100 * share)}% of {size_text(state.bytes_total)}"
    rate = state.bytes_per_second
    still = seen.still_seconds
    return (
        visible(state.worker),
        "" if state.job is None else quote(state.job),
        visible(doing),
        done,
        rate_text(rate) if rate else "",
        "" if still is None else f"{_whole(still)} ago",
    )


def _whole(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 60 else duration_text(seconds)


def _rows_text(job: JobLine) -> str:
    if job.rows_done is None:
        return "" if job.rows_total is None else f"0/{job.rows_total:,}"
    total = "?" if job.rows_total is None else f"{job.rows_total:,}"
    return f"{job.rows_done:,}/{total}"
